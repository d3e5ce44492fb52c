/* Included by affinities.h for float32 in vectors of 16: filters and means of planes of bfloat16, by the instruction that adds two
 * products of it to a float32 at once. Two neighbouring columns share the 32 bits of a lane as they lie in memory, and at stride 2 the
 * lanes are the columns of the output. */

#if BY_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16")

/* What `taps_of_row` does, for the pairs of a row of both filters. */
static ALWAYS_INLINE void NAME(pairs_of_row)(const uint32_t *row, long pairs, const uint32_t *upper, const uint32_t *lower, long filter,
                                             __m512 (*sum)[2][NAME(ABREAST)], const int has_upper, const int has_lower,
                                             const int lanes) {
    for (long s = 0; s < pairs; s++) {
        __m512bh v[NAME(ABREAST)];
        for (int l = 0; l < lanes; l++) v[l] = (__m512bh)_mm512_loadu_si512(row + s + l * SOME);
        for (int f = 0; f < 2; f++) {
            if (has_upper)
                for (int l = 0; l < lanes; l++)
                    sum[0][f][l] = _mm512_dpbf16_ps(sum[0][f][l], v[l], (__m512bh)_mm512_set1_epi32((int)upper[f * filter + s]));
            if (has_lower)
                for (int l = 0; l < lanes; l++)
                    sum[1][f][l] = _mm512_dpbf16_ps(sum[1][f][l], v[l], (__m512bh)_mm512_set1_epi32((int)lower[f * filter + s]));
        }
    }
}

/* Two rows of outputs of both filters, [2, kernel, pairs], as `filter_rows` makes them. */
static ALWAYS_INLINE void NAME(filter_row_pairs)(const NAME(Filter) * at, const uint32_t *rows, const uint32_t *filters, long kernel,
                                                 long pairs, float *to, long apart, const int lanes) {
    __m512 sum[2][2][NAME(ABREAST)];
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) sum[n / 2][n % 2][l] = _mm512_setzero_ps();
    const long size = kernel * pairs;
    for (long r = 0; r < kernel + 2; r++) {
        const uint32_t *row = rows + r * at->pitch, *upper = filters + r * pairs, *lower = upper - 2 * pairs;
        if (r >= 2 && r < kernel)
            NAME(pairs_of_row)(row, pairs, upper, lower, size, sum, 1, 1, lanes);
        else if (r < kernel)
            NAME(pairs_of_row)(row, pairs, upper, lower, size, sum, 1, 0, lanes);
        else if (r >= 2)
            NAME(pairs_of_row)(row, pairs, upper, lower, size, sum, 0, 1, lanes);
    }
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) _mm512_storeu_ps(to + n % 2 * apart + n / 2 * at->padded + l * SOME, sum[n / 2][n % 2][l]);
}

/* What `filter_block` does, of a plane of bfloat16. */
static APART void NAME(filter_block_pairs)(const Affinity *job, const NAME(Filter) * at, const uint16_t *plane, long first, long block,
                                           long rows, float *maps, long apart) {
    const long high = 2 * (long)job->height, wide = 2 * (long)job->width, kernel = (long)job->kernel, pairs = (long)job->pairs;
    uint32_t *halves = (uint32_t *)at->halves;
    for (long n = 0; n < block; n++) {
        uint32_t *to = halves + n * at->pitch + at->left;
        if (first + n < 0 || first + n >= high)
            memset(to, 0, sizeof(uint16_t) * (size_t)wide);
        else
            memcpy(to, plane + (first + n) * wide, sizeof(uint16_t) * (size_t)wide);
    }
    for (long y = 0; y < rows; y += 2) {
        const uint32_t *from = halves + 2 * y * at->pitch;
        float *to = maps + y * at->padded;
        long j = 0;
        for (; j + NAME(ABREAST) * SOME <= at->padded; j += NAME(ABREAST) * SOME)
            NAME(filter_row_pairs)(at, from + j, job->filters, kernel, pairs, to + j, apart, NAME(ABREAST));
        for (; j < at->padded; j += SOME)
            NAME(filter_row_pairs)(at, from + j, job->filters, kernel, pairs, to + j, apart, 1);
    }
}

/* The sums of the pairs of columns of some rows: line [wide / 2]. */
static APART void NAME(sum_pairs)(const uint16_t *x, long rows, long wide, float *line) {
    enum { MANY_LANES = 8 };
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    const long pairs = wide / 2;
    long j = 0;
    for (; j + MANY_LANES / 2 * SOME <= pairs; j += MANY_LANES * SOME) {
        __m512 sum[MANY_LANES];
        __mmask16 mask[MANY_LANES];
        for (int l = 0; l < MANY_LANES; l++) {
            const long rest = pairs - j - l * SOME;
            mask[l] = (__mmask16)(rest >= SOME ? 0xffff : rest > 0 ? (1 << rest) - 1 : 0), sum[l] = _mm512_setzero_ps();
        }
        for (long y = 0; y < rows; y++)
            for (int l = 0; l < MANY_LANES; l++)
                sum[l] = _mm512_dpbf16_ps(sum[l], (__m512bh)_mm512_maskz_loadu_epi32(mask[l], x + y * wide + 2 * (j + l * SOME)), ones);
        for (int l = 0; l < MANY_LANES; l++) _mm512_mask_storeu_ps(line + j + l * SOME, mask[l], sum[l]);
    }
    for (; j < pairs; j += SOME) {
        const __mmask16 mask = (__mmask16)(pairs - j >= SOME ? 0xffff : (1 << (pairs - j)) - 1);
        __m512 sum = _mm512_setzero_ps();
        for (long y = 0; y < rows; y++)
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi32(mask, x + y * wide + 2 * j), ones);
        _mm512_mask_storeu_ps(line + j, mask, sum);
    }
}
#pragma GCC pop_options
#endif
