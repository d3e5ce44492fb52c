/* Included by normed.h where tile.h has pairs: products with planes in bfloat16. Two channels share the 32 bits of a lane. */

#if BY_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16,avx512vnni")

/* As `multiply`, of keys alone: near [channels / 2, 2 NEAR, 2], weights job->pairs. */
static ALWAYS_INLINE void NAME(multiply_pairs)(const Normed *job, const uint32_t *near, long pixel, long output, const int rows,
                                               const int lanes) {
    const long channels = (long)job->channels, depth = (long)job->depth, each = depth / (long)job->blocks;
    const uint32_t *weights = (const uint32_t *)job->pairs + output;
    __m512 sum[8][2];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = _mm512_setzero_ps();
    for (long c = 0; c < channels / 2; c++) {
        __m512bh by[2];
        for (int l = 0; l < lanes; l++) by[l] = (__m512bh)_mm512_loadu_si512(weights + c * depth + l * SOME);
        for (int m = 0; m < rows; m++) {
            const __m512bh read = (__m512bh)_mm512_set1_epi32((int)near[2 * c * NEAR + m]);
            for (int l = 0; l < lanes; l++) sum[m][l] = _mm512_dpbf16_ps(sum[m][l], read, by[l]);
        }
    }
    for (int l = 0; l < lanes; l++) {
        const long k = output + l * SOME;
        uint16_t *to = (uint16_t *)job->keys + (k / each * (long)job->pixels + pixel) * each + k % each;
        for (int m = 0; m < rows; m++) _mm256_storeu_si256((__m256i *)(to + m * each), (__m256i)_mm512_cvtneps_pbh(sum[m][l]));
    }
}

/* Queries of some pixels, a constant, from whole numbers of 16 bits: near [channels / 2, NEAR, 2]. */
static ALWAYS_INLINE void NAME(multiply_whole)(const Normed *job, const uint32_t *near, float unit, long pixel, long output, const int rows) {
    const long pairs = (long)job->channels / 2, depth = (long)job->depth, chunk = (long)job->chunk / 2;
    const float *factors = (const float *)job->whole + output;
    const uint32_t *weights = (const uint32_t *)((const float *)job->whole + depth) + output;
    __m512 sum[8];
    for (int m = 0; m < rows; m++) sum[m] = _mm512_setzero_ps();
    for (long first = 0; first < pairs; first += chunk) {
        __m512i part[8];
        for (int m = 0; m < rows; m++) part[m] = _mm512_setzero_si512();
        for (long c = first; c < first + chunk; c++) {
            const __m512i by = _mm512_loadu_si512(weights + c * depth);
            for (int m = 0; m < rows; m++) part[m] = _mm512_dpwssd_epi32(part[m], by, _mm512_set1_epi32((int)near[c * NEAR + m]));
        }
        for (int m = 0; m < rows; m++) sum[m] += _mm512_cvtepi32_ps(part[m]);
    }
    const __m512 factor = unit * _mm512_loadu_ps(factors);
    for (int m = 0; m < rows; m++) _mm512_storeu_ps((float *)job->queries + (pixel + m) * depth + output, sum[m] * factor);
}

/* The queries of pixels first to first + count, of their layer norm as whole numbers of 15 bits, which are written to `to`; whether it
 * could: not of what is infinite or not a number. */
static APART int NAME(queries_of_pairs)(const Normed *job, long first, long count, const float *near, uint32_t *to) {
    const long channels = (long)job->channels, depth = (long)job->depth;
    __m512i most = _mm512_setzero_si512();
    for (long c = 0; c < channels; c++)
        for (long m = 0; m < count; m += SOME)
            most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_loadu_si512(near + c * NEAR + m), _mm512_set1_epi32(0x7fffffff)));
    const union {
        int bits;
        float value;
    } largest = {_mm512_reduce_max_epi32(most)};
    if (largest.bits >= 0x7f800000) return 0;
    const float unit = (largest.value > FLT_MIN ? largest.value : FLT_MIN) / 16384, by = 1 / unit;
    for (long c = 0; c < channels; c += 2)
        for (long m = 0; m < count; m += SOME) {
            const __m512i low = _mm512_cvtps_epi32(by * _mm512_loadu_ps(near + c * NEAR + m));
            const __m512i high = _mm512_cvtps_epi32(by * _mm512_loadu_ps(near + (c + 1) * NEAR + m));
            _mm512_storeu_si512(to + c / 2 * NEAR + m, _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(high, 16)));
        }
    for (long o = 0; o < depth; o += SOME) {
        long m = 0;
        for (; m + 8 <= count; m += 8) NAME(multiply_whole)(job, to + m, unit, first + m, o, 8);
        for (; m < count; m++) NAME(multiply_whole)(job, to + m, unit, first + m, o, 1);
    }
    return 1;
}

/* The keys of pixels first to first + count, of their layer norm, which becomes pairs where it lies. */
static APART void NAME(keys_of_pairs)(const Normed *job, long first, long count, float *near) {
    const long channels = (long)job->channels, depth = (long)job->depth;
    for (long c = 0; c < channels; c += 2)
        for (long m = 0; m < NEAR; m += SOME) {
            float *at = near + c * NEAR + m;
            const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(at)));
            const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(at + NEAR)));
            _mm512_storeu_si512(at, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    const uint32_t *pairs = (const uint32_t *)near;
    for (long o = 0; o < depth; o += 2 * SOME) {
        long m = 0;
        for (; m + 8 <= count; m += 8) NAME(multiply_pairs)(job, pairs + m, first + m, o, 8, 2);
        for (; m < count; m++) NAME(multiply_pairs)(job, pairs + m, first + m, o, 1, 2);
    }
}
#pragma GCC pop_options
#endif
