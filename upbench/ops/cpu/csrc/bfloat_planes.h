/* Included by projections.h where there are pairs: moments of planes of bfloat16, and pointwise convolutions of them to planes of
 * float32, by the instruction that adds two products of it to a float32 at once. */

#if BY_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16")
enum { TWICE = 2 * SOME };

/* Some numbers of a plane, of `rest` that are left; the others are 0. */
static ALWAYS_INLINE __m512i NAME(load_thirty)(const uint16_t *from, long rest) {
    const __mmask32 mask = rest >= TWICE ? 0xffffffff : rest > 0 ? ((__mmask32)1 << rest) - 1 : 0;
    return _mm512_maskz_loadu_epi16(mask, from);
}

/* Mean and variance of a plane. Squares are of numbers as they are: where those lie far from zero, they have few digits of their own. */
static APART void NAME(moments_pairs)(const uint16_t *x, long count, double *out) {
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    double total = 0, squares = 0;
    for (long first = 0; first < count; first += 64 * TWICE) {
        const long last = count - first < 64 * TWICE ? count : first + 64 * TWICE;
        __m512 sum[4], square[4];
        for (int l = 0; l < 4; l++) sum[l] = square[l] = _mm512_setzero_ps();
        for (long n = first; n < last; n += 4 * TWICE)
            for (int l = 0; l < 4; l++) {
                const __m512bh v = (__m512bh)NAME(load_thirty)(x + n + l * TWICE, last - n - l * TWICE);
                sum[l] = _mm512_dpbf16_ps(sum[l], v, ones), square[l] = _mm512_dpbf16_ps(square[l], v, v);
            }
        total += (double)_mm512_reduce_add_ps((sum[0] + sum[1]) + (sum[2] + sum[3]));
        squares += (double)_mm512_reduce_add_ps((square[0] + square[1]) + (square[2] + square[3]));
    }
    const double mean = total / (double)count, spread = squares / (double)count - mean * mean;
    out[0] = mean, out[1] = spread > 0 ? spread : 0;
}

/* What `weigh_planes` does, of pairs of channels: near [channels / 2, PARCEL, 2], weights [channels / 2, outputs, 2]. */
static ALWAYS_INLINE void NAME(weigh_pairs)(const uint32_t *near, const uint32_t *weights, long pairs, long outputs, float *sums) {
    __m512 sum[OUTPUTS][NAME(PARTS)];
    for (int o = 0; o < OUTPUTS; o++)
        for (int l = 0; l < NAME(PARTS); l++) sum[o][l] = _mm512_loadu_ps(sums + o * PLANE_PITCH + l * SOME);
    for (long k = 0; k < pairs; k++) {
        __m512bh v[NAME(PARTS)];
        for (int l = 0; l < NAME(PARTS); l++) v[l] = (__m512bh)_mm512_loadu_si512(near + k * PLANE_PITCH + l * SOME);
        for (int o = 0; o < OUTPUTS; o++)
            for (int l = 0; l < NAME(PARTS); l++)
                sum[o][l] = _mm512_dpbf16_ps(sum[o][l], v[l], (__m512bh)_mm512_set1_epi32((int)weights[k * outputs + o]));
    }
    for (int o = 0; o < OUTPUTS; o++)
        for (int l = 0; l < NAME(PARTS); l++) _mm512_storeu_ps(sums + o * PLANE_PITCH + l * SOME, sum[o][l]);
}

/* Parcels of pixels start to stop. Within 128 bits the pixels of two planes are taken in turn: of 32 pixels the first vector of sums
 * holds the fours 0, 2, 4, 6, the second the others. */
static APART int NAME(planes_pairs)(const Planes *job, long start, long stop) {
    const long channels = (long)job->channels, outputs = (long)job->outputs, pixels = (long)job->pixels;
    const long padded = (outputs + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    const uint32_t *weights = job->weights;
    const float *bias = (const float *)job->weights + channels / 2 * padded;
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    float *sums = aligned_alloc(64, sizeof(float) * (size_t)((DEEP / 2 + padded) * PLANE_PITCH));
    uint32_t *near = sums ? (uint32_t *)(sums + padded * PLANE_PITCH) : NULL;
    for (long parcel = start; sums && parcel < stop; parcel++) {
        const long first = parcel * PARCEL, some = pixels - first < PARCEL ? pixels - first : PARCEL;
        for (long o = 0; o < padded; o++)
            for (long m = 0; m < PARCEL; m++) sums[o * PLANE_PITCH + m] = bias[o];
        for (long c = 0; c < channels; c += DEEP) {
            const long pairs = (channels - c < DEEP ? channels - c : DEEP) / 2;
            for (long k = 0; k < pairs; k++)
                for (long m = 0; m < PARCEL; m += TWICE) {
                    const uint16_t *at = (const uint16_t *)job->x + (c + 2 * k) * pixels + first + m;
                    const __m512i a = NAME(load_thirty)(at, some - m), b = NAME(load_thirty)(at + pixels, some - m);
                    PREFETCH(at + AHEAD * pixels), PREFETCH(at + (AHEAD + 1) * pixels);
                    _mm512_store_si512(near + k * PLANE_PITCH + m, _mm512_unpacklo_epi16(a, b));
                    _mm512_store_si512(near + k * PLANE_PITCH + m + SOME, _mm512_unpackhi_epi16(a, b));
                }
            for (long o = 0; o < padded; o += OUTPUTS)
                for (long m = 0; m < PARCEL; m += NAME(PARTS) * SOME)
                    NAME(weigh_pairs)(near + m, weights + c / 2 * padded + o, pairs, padded, sums + o * PLANE_PITCH + m);
        }
        for (long o = 0; o < outputs; o++)
            for (long m = 0; m < some; m += TWICE) {
                const __m512i a = _mm512_load_si512(sums + o * PLANE_PITCH + m), b = _mm512_load_si512(sums + o * PLANE_PITCH + m + SOME);
                float *to = (float *)job->out + o * pixels + first + m;
                NAME(store_some)(to, (NAME(Lanes))_mm512_permutex2var_epi64(a, low, b), some - m);
                if (some - m > SOME) NAME(store_some)(to + SOME, (NAME(Lanes))_mm512_permutex2var_epi64(a, high, b), some - m - SOME);
            }
    }
    free(sums);
    return sums != NULL;
}
#pragma GCC pop_options
#endif
