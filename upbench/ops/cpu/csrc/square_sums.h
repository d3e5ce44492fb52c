/* Included for each type: what convolutions with 3x3 taps are made of, two by two outputs at a time (Winograd's F(2x2, 3x3)).
 *
 * Of the 4x4 pixels that a square of outputs reads, sums and differences are taken; each of these 16 is multiplied by one matrix, which
 * is made of the taps; and the outputs are sums of the products: 4 products for an output and channel instead of 9. */

/* Some lanes of outputs, a constant, at a number of squares, a constant too, `pitch` apart. Weights of the next lanes are `step` further. */
static ALWAYS_INLINE void NAME(squares_summed)(const REAL *from, long pitch, long channels, const REAL *weights, long step, REAL *RESTRICT to,
                                               long apart, const int count, const int lanes) {
    NAME(Lanes) sum[16][2];
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = (NAME(Lanes)){0};
    for (long c = 0; c < channels; c++) {
        NAME(Lanes) by[2];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + l * step + c * SOME);
        for (int m = 0; m < count; m++)
            for (int l = 0; l < lanes; l++) sum[m][l] = NAME(plus)(sum[m][l], from[m * pitch + c], by[l]);
    }
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++) *(NAME(Lanes) *)(to + m * apart + l * SOME) = sum[m][l];
}

/* The outputs o to o + SOME of one square, from its 16 products, `step` apart: v[row][column]. */
static ALWAYS_INLINE void NAME(put_together)(const REAL *from, long step, NAME(Lanes) begin, NAME(Lanes) v[2][2]) {
    NAME(Lanes) s[2][4];
    for (int j = 0; j < 4; j++) {
        NAME(Lanes) m[4];
        for (int i = 0; i < 4; i++) m[i] = *(const NAME(Lanes) *)(from + (4 * i + j) * step);
        s[0][j] = m[0] + m[1] + m[2], s[1][j] = m[1] - m[2] - m[3];
    }
    for (int i = 0; i < 2; i++) {
        v[i][0] = begin + (s[i][0] + s[i][1] + s[i][2]);
        v[i][1] = begin + (s[i][1] - s[i][2] - s[i][3]);
    }
}
