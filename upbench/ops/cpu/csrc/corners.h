/* Included by slopes.h: rows of a tile against the rows of a map at the four corners of points, their products and sums. */

/* The products of rows of the source with the four corners of points p to p + taps of each of `count` pixels, added to
 * [count, taps, 4], whose memory is for whole lanes. Of `lanes` channels, a constant: 4 points at a time. */
static ALWAYS_INLINE void NAME(dots)(const REAL *source, const REAL *x, const NAME(Corners) * corners, long p, long count,
                                     long taps, REAL *RESTRICT to, const int lanes) {
#if SOME == 8 && !WIDE
    /* Two points at a time, whose eight sums stay in registers. */
    const REAL *row = source;
    for (long n = 0, t = 0; n < count * taps; n += 2, p += 2, to += SOME) {
        const REAL *left = row, *at[8];
        if (++t == taps) t = 0, row += lanes * SOME;
        const long more = n + 1 < count * taps; /* without another point the last one is taken twice */
        const REAL *right = more ? row : left;
        if (++t == taps) t = 0, row += lanes * SOME;
        for (int k = 0; k < 4; k++) {
            at[k] = x + (long)corners->at[k][p] * lanes * SOME;
            at[k + 4] = x + (long)corners->at[k][p + more] * lanes * SOME;
        }
        NAME(Lanes) both[8] = {{0}};
        for (int l = 0; l < lanes; l++) {
            const NAME(Lanes) a = *(const NAME(Lanes) *)(left + l * SOME), b = *(const NAME(Lanes) *)(right + l * SOME);
            for (int k = 0; k < 4; k++) both[k] += a * *(const NAME(Lanes) *)(at[k] + l * SOME);
            for (int k = 4; k < 8; k++) both[k] += b * *(const NAME(Lanes) *)(at[k] + l * SOME);
        }
        *(NAME(Lanes) *)to += NAME(sums)(both);
    }
    return;
#endif
    NAME(Lanes) some[SOME] = {{0}};
    int filled = 0;
    for (long m = 0; m < count; m++, source += lanes * SOME) {
        NAME(Lanes) row[2 * MANY / SOME];
        for (int n = 0; n < lanes; n++) row[n] = *(const NAME(Lanes) *)(source + n * SOME);
        for (long t = 0; t < taps; t++, p++) {
            const REAL *k0 = x + (long)corners->at[0][p] * lanes * SOME, *k1 = x + (long)corners->at[1][p] * lanes * SOME;
            const REAL *k2 = x + (long)corners->at[2][p] * lanes * SOME, *k3 = x + (long)corners->at[3][p] * lanes * SOME;
            NAME(Lanes) s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
            for (int n = 0; n < lanes; n++) {
                s0 += row[n] * *(const NAME(Lanes) *)(k0 + n * SOME), s1 += row[n] * *(const NAME(Lanes) *)(k1 + n * SOME);
                s2 += row[n] * *(const NAME(Lanes) *)(k2 + n * SOME), s3 += row[n] * *(const NAME(Lanes) *)(k3 + n * SOME);
            }
            some[filled] = s0, some[filled + 1] = s1, some[filled + 2] = s2, some[filled + 3] = s3;
            filled += 4;
            if (filled < SOME && (m + 1 < count || t + 1 < taps)) continue;
            *(NAME(Lanes) *)to += NAME(sums)(some);
            to += SOME, filled = 0;
        }
    }
}

/* The same of any number of channels. */
static ALWAYS_INLINE void NAME(dots_of)(const REAL *source, const REAL *x, const NAME(Corners) * corners, long p, long count,
                                        long taps, REAL *RESTRICT to, long n) {
    for (long m = 0; m < count; m++, source += n)
        for (long t = 0; t < taps; t++, p++, to += 4)
            for (int k = 0; k < 4; k++) {
                const REAL *row = x + (long)corners->at[k][p] * n;
                REAL sum = 0;
                for (long c = 0; c < n; c++) sum += source[c] * row[c];
                to[k] += sum;
            }
}

/* A row of the source added to the four corners of some points. Of `lanes` channels, a constant: the row stays in registers. */
static ALWAYS_INLINE void NAME(add)(const REAL *source, REAL *map, const NAME(Corners) * corners, long p, const REAL *by,
                                    long taps, const int lanes) {
    NAME(Lanes) row[2 * MANY / SOME];
    for (int n = 0; n < lanes; n++) row[n] = *(const NAME(Lanes) *)(source + n * SOME);
    for (const long end = p + taps; p < end; p++) {
        const REAL right = corners->right[p], down = corners->down[p], below = by[p] * down, above = by[p] - below;
        const REAL w1 = above * right, w3 = below * right, weights[4] = {above - w1, w1, below - w3, w3};
        /* One after another: corners outside the map share a row. */
        for (int k = 0; k < 4; k++) {
            REAL *to = map + (long)corners->at[k][p] * lanes * SOME;
            for (int n = 0; n < lanes; n++)
                *(NAME(Lanes) *)(to + n * SOME) = NAME(plus)(*(const NAME(Lanes) *)(to + n * SOME), weights[k], row[n]);
        }
    }
}

/* The same of any number of channels. */
static ALWAYS_INLINE void NAME(add_of)(const REAL *RESTRICT source, REAL *map, const NAME(Corners) * corners, long p,
                                       const REAL *by, long taps, long n) {
    for (const long end = p + taps; p < end; p++) {
        const REAL right = corners->right[p], down = corners->down[p], below = by[p] * down, above = by[p] - below;
        const REAL w1 = above * right, w3 = below * right, weights[4] = {above - w1, w1, below - w3, w3};
        for (int k = 0; k < 4; k++) {
            REAL *to = map + (long)corners->at[k][p] * n;
            INDEPENDENT
            for (long c = 0; c < n; c++) to[c] += weights[k] * source[c];
        }
    }
}
