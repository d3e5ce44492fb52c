/* Included by map_kinds.h for each type: the gradient of a convolution with 3x3 taps in its taps, two by two outputs at a time.
 *
 * The transpose of square_sums.h: the four gradients of a square become 16, each of the 16 sums of the pixels of the map is multiplied
 * by its own, and what the 16 matrices are made of is left to the caller. */

#undef TAPS_AT_ONCE /* outputs whose sums stay in registers, two vectors of channels each */
#define TAPS_AT_ONCE (REGISTERS >= 32 ? 9 : SOME * sizeof(REAL) <= REGISTER ? 6 : 3)

/* Four of the 16 gradients of each square of a strip, [4, SQUARES, pitch]: those of row i. at: where the gradients of its two rows lie. */
static ALWAYS_INLINE void NAME(spread_apart)(const REAL *const *at, long outputs, long pitch, REAL *RESTRICT to, const int i) {
    const REAL *const *one = at + (i == 3 ? 2 * SQUARES : 0), *const *other = at + 2 * SQUARES;
    const long apart = SQUARES * pitch;
    for (long n = 0; n < SQUARES; n++)
        for (long c = 0; c < outputs; c += SOME) {
            NAME(Lanes) v[2];
            for (int j = 0; j < 2; j++) {
                v[j] = *(const NAME(Lanes) *)(one[2 * n + j] + c);
                if (i == 1) v[j] += *(const NAME(Lanes) *)(other[2 * n + j] + c);
                if (i == 2) v[j] -= *(const NAME(Lanes) *)(other[2 * n + j] + c);
                if (i == 3) v[j] = -v[j];
            }
            REAL *into = to + n * pitch + c;
            *(NAME(Lanes) *)into = v[0];
            *(NAME(Lanes) *)(into + apart) = v[0] + v[1];
            *(NAME(Lanes) *)(into + 2 * apart) = v[0] - v[1];
            *(NAME(Lanes) *)(into + 3 * apart) = -v[1];
        }
}

static APART void NAME(spread_apart_row)(const REAL *const *at, long outputs, long pitch, REAL *to, int i) {
    if (i == 0) NAME(spread_apart)(at, outputs, pitch, to, 0);
    if (i == 1) NAME(spread_apart)(at, outputs, pitch, to, 1);
    if (i == 2) NAME(spread_apart)(at, outputs, pitch, to, 2);
    if (i == 3) NAME(spread_apart)(at, outputs, pitch, to, 3);
}

/* Products of TAPS_AT_ONCE gradients with some vectors of channels, a constant, summed over `count` squares, added to rows of `to`. */
static ALWAYS_INLINE void NAME(taps_summed)(const REAL *grads, long pitch, const REAL *from, long channels, long count, REAL *RESTRICT to,
                                            const int lanes) {
    NAME(Lanes) sum[TAPS_AT_ONCE][2];
    for (int o = 0; o < TAPS_AT_ONCE; o++)
        for (int l = 0; l < lanes; l++) sum[o][l] = *(const NAME(Lanes) *)(to + o * channels + l * SOME);
    for (long m = 0; m < count; m++, grads += pitch, from += channels) {
        NAME(Lanes) by[2];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(from + l * SOME);
        for (int o = 0; o < TAPS_AT_ONCE; o++)
            for (int l = 0; l < lanes; l++) sum[o][l] = NAME(plus)(sum[o][l], grads[o], by[l]);
    }
    for (int o = 0; o < TAPS_AT_ONCE; o++)
        for (int l = 0; l < lanes; l++) *(NAME(Lanes) *)(to + o * channels + l * SOME) = sum[o][l];
}

/* What a strip of squares of group g adds: sums [16, outputs in steps of TAPS_AT_ONCE, channels]. */
static ALWAYS_INLINE void NAME(strip_of_taps)(const SquareTaps *job, long tile, long left, long g, const NAME(Rows) * x, const NAME(Rows) * grad,
                                              REAL *apart, REAL *grads, long pitch, REAL *sums, REAL *biases) {
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, outputs = (long)job->outputs;
    const long groups = (long)job->groups, steps = (outputs + TAPS_AT_ONCE - 1) / TAPS_AT_ONCE * TAPS_AT_ONCE;
    const long rest = (wide - left + 1) / 2, count = rest < SQUARES ? rest : SQUARES;
    const REAL *at[4][2 * SQUARES + 2], *of[2][2 * SQUARES];
    NAME(strip_pixels)(x, high, wide, groups, g, 2 * tile - 1, left - 1, at[0], 4, 2 * SQUARES + 2);
    NAME(strip_pixels)(grad, high, wide, groups, g, 2 * tile, left, of[0], 2, 2 * SQUARES);
    for (long n = 0; n < 16; n++) {
        const REAL *from = apart + n % 4 * SQUARES * channels, *by = grads + n % 4 * SQUARES * pitch;
        if (n % 4 == 0) NAME(taken_apart_row)((const REAL *const(*)[2 * SQUARES + 2])at, channels, apart, (int)n / 4);
        if (n % 4 == 0) NAME(spread_apart_row)((const REAL *const *)of[0], outputs, pitch, grads, (int)n / 4);
        for (long o = 0; o < steps; o += TAPS_AT_ONCE)
            for (long c = 0; c < channels; c += 2 * SOME) {
                REAL *to = sums + (n * steps + o) * channels + c;
                if (c + SOME < channels)
                    NAME(taps_summed)(by + o, pitch, from + c, channels, count, to, 2);
                else
                    NAME(taps_summed)(by + o, pitch, from + c, channels, count, to, 1);
            }
        /* Here the four gradients of a square are summed. */
        for (long m = 0; n == 5 && m < count; m++)
            for (long o = 0; o < outputs; o++) biases[o] += by[m * pitch + o];
    }
}

/* Bands of rows of squares start to stop. */
static int NAME(square_taps)(const void *given, long start, long stop) {
    const SquareTaps *job = given;
    const long channels = (long)job->channels, outputs = (long)job->outputs, high = (long)job->height, wide = (long)job->width;
    const long groups = (long)job->groups, band = (long)job->band, rows = (high + 1) / 2;
    const long steps = (outputs + TAPS_AT_ONCE - 1) / TAPS_AT_ONCE * TAPS_AT_ONCE;
    const long pitch = (steps + SOME - 1) / SOME * SOME;
    const size_t held = (size_t)(3 * (channels + pitch) + 4 * SQUARES * (channels + pitch) + 16 * steps * channels);
    REAL *memory = calloc(held, sizeof(REAL));
    if (!memory) return 0;
    REAL *apart = memory + 3 * (channels + pitch), *grads = apart + 4 * SQUARES * channels, *sums = grads + 4 * SQUARES * pitch;
    const NAME(Rows) x = NAME(rows_of)(job->x, high * wide * groups, channels, channels, memory);
    const NAME(Rows) grad = NAME(rows_of)(job->grad, high * wide * groups, outputs, pitch, memory + 3 * channels);
    for (long tile = start; tile < stop; tile++) {
        REAL *taps = (REAL *)job->taps + tile * 16 * outputs * channels, *biases = (REAL *)job->biases + tile * outputs;
        memset(sums, 0, sizeof(REAL) * (size_t)(16 * steps * channels));
        memset(biases, 0, sizeof(REAL) * (size_t)outputs);
        for (long row = tile * band; row < (tile + 1) * band && row < rows; row++)
            for (long left = 0; left < wide; left += 2 * SQUARES)
                for (long g = 0; g < groups; g++)
                    NAME(strip_of_taps)(job, row, left, g, &x, &grad, apart, grads, pitch, sums, biases);
        for (long n = 0; n < 16; n++)
            memcpy(taps + n * outputs * channels, sums + n * steps * channels, sizeof(REAL) * (size_t)(outputs * channels));
    }
    free(memory);
    return 1;
}
