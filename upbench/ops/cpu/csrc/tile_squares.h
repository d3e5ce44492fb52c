/* Included by tile.h: the last convolution of a predictor of offsets with 3x3 taps at a tile, see square_sums.h. */

enum { NAME(FOURTH) = TILE / 2, NAME(SQUARES) = TILE / 2 * (TILE / 2), NAME(AT_A_TIME) = REGISTERS >= 32 ? 16 : 4 };

/* Numbers that `predict_squares` needs beside those of the tile. */
static ALWAYS_INLINE long NAME(room_for_squares)(long each, long outputs) { return NAME(SQUARES) * (4 * each + 16 * outputs); }

/* Four of the 16 sums of each square, [4, SQUARES, each]: those of row i, a constant. in: [side, side, each]. */
static ALWAYS_INLINE void NAME(tile_apart)(const REAL *in, long side, long each, REAL *RESTRICT to, const int i) {
    const long one = i == 0 ? 0 : i == 2 ? 2 : 1, other = i == 3 ? 3 : i == 2 ? 1 : 2, apart = NAME(SQUARES) * each;
    for (long n = 0; n < NAME(SQUARES); n++) {
        const REAL *from = in + (n / NAME(FOURTH) * 2 * side + n % NAME(FOURTH) * 2) * each;
        for (long c = 0; c < each; c += SOME) {
            NAME(Lanes) v[4];
            for (int j = 0; j < 4; j++) {
                const NAME(Lanes) a = *(const NAME(Lanes) *)(from + (one * side + j) * each + c);
                const NAME(Lanes) b = *(const NAME(Lanes) *)(from + (other * side + j) * each + c);
                v[j] = i == 1 ? a + b : a - b;
            }
            REAL *into = to + n * each + c;
            *(NAME(Lanes) *)into = v[0] - v[2];
            *(NAME(Lanes) *)(into + apart) = v[1] + v[2];
            *(NAME(Lanes) *)(into + 2 * apart) = v[2] - v[1];
            *(NAME(Lanes) *)(into + 3 * apart) = v[1] - v[3];
        }
    }
}

/* The products of position n of the 16, of all lanes of outputs. weights: [lanes, 16, each, SOME]. */
static ALWAYS_INLINE void NAME(tile_products)(const REAL *apart, long each, const REAL *weights, long n, long whole, REAL *to) {
    const long step = 16 * each * SOME;
    for (long o = 0; o < whole; o += 2 * SOME)
        for (long m = 0; m < NAME(SQUARES); m += NAME(AT_A_TIME) / (REGISTERS >= 32 && o + SOME < whole ? 2 : 1)) {
            const REAL *from = apart + m * each, *by = weights + o / SOME * step + n * each * SOME;
            REAL *into = to + m * whole + o;
            if (o + SOME >= whole)
                NAME(squares_summed)(from, each, each, by, step, into, whole, NAME(AT_A_TIME), 1);
            else
                NAME(squares_summed)(from, each, each, by, step, into, whole, REGISTERS >= 32 ? 8 : 4, 2);
        }
}

/* The first `whole` outputs, whole vectors of them, at all pixels of a tile, from its products [16, SQUARES, whole]. */
static ALWAYS_INLINE void NAME(put_tile)(const REAL *products, const REAL *bias, long whole, REAL *to, long apart) {
    for (long n = 0; n < NAME(SQUARES); n++)
        for (long o = 0; o < whole; o += SOME) {
            NAME(Lanes) v[2][2];
            NAME(put_together)(products + n * whole + o, NAME(SQUARES) * whole, *(const NAME(Lanes) *)(bias + o), v);
            for (long i = 0; i < 2; i++)
                for (long j = 0; j < 2; j++) {
                    const long pixel = (n / NAME(FOURTH) * 2 + i) * TILE + n % NAME(FOURTH) * 2 + j;
                    *(NAME(Lanes) *)(to + pixel * apart + o) = v[i][j];
                }
        }
}

/* The first `whole` outputs, whole vectors of them, at all pixels of a tile, which are `apart` in `to`. */
static ALWAYS_INLINE void NAME(predict_squares)(const REAL *in, long side, long each, const REAL *weights, const REAL *bias,
                                                long whole, REAL *to, long apart, REAL *room) {
    REAL *products = room + 4 * NAME(SQUARES) * each;
    for (int i = 0; i < 4; i++) {
        if (i == 0) NAME(tile_apart)(in, side, each, room, 0);
        if (i == 1) NAME(tile_apart)(in, side, each, room, 1);
        if (i == 2) NAME(tile_apart)(in, side, each, room, 2);
        if (i == 3) NAME(tile_apart)(in, side, each, room, 3);
        for (int j = 0; j < 4; j++)
            NAME(tile_products)(room + j * NAME(SQUARES) * each, each, weights, 4 * i + j, whole, products + (4 * i + j) * NAME(SQUARES) * whole);
    }
    NAME(put_tile)(products, bias, whole, to, apart);
}
