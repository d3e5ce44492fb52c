/* Included by window.h: bfloat16 by the instruction that adds two products of it to a float32 at once, where the CPU has that.
 *
 * Two taps, or two channels, share the 32 bits of a lane. Elsewhere nothing is done here, and the caller does all of it. */

#undef PAIRED
#if FORM == BFLOAT && defined(__AVX512BF16__)
#define PAIRED 1

/* As `store` does, but what is below the normal numbers becomes 0, as it does in products of pairs. */
static ALWAYS_INLINE void NAME(store_normal)(uint16_t *to, __m512 v) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(v));
}

/* The weights of the taps inside, rounded and two by two; past the last tap they are 0. */
static ALWAYS_INLINE void NAME(pair)(const NAME(Desk) * desk, const REAL *weights, uint32_t *pairs, long taps) {
    const long inside = desk->inside, end = NAME(padded)(taps);
    uint16_t *to = (uint16_t *)pairs;
    if (inside == taps)
        for (long t = 0; t < inside; t += SOME) NAME(store_normal)(to + t, _mm512_loadu_ps(weights + t));
    else
        for (long t = 0; t < inside; t += SOME) {
            REAL near[SOME];
            for (long n = 0; n < SOME; n++) near[n] = t + n < inside ? weights[desk->tap[t + n]] : 0;
            NAME(store_normal)(to + t, _mm512_loadu_ps(near));
        }
    if (inside % 2 && inside < end) to[inside] = 0;
}

/* `halves` times 32 channels from c on of `count` pixels. Within 128 bits the channels of two taps are taken in turn: of 32
 * channels the first sum holds the fours 0, 2, 4, 6, the second the others. */
static ALWAYS_INLINE void NAME(blend_pairs)(const NAME(Desk) * desk, const NAME(Pixels) * to, const uint32_t *pairs, long pitch,
                                            long c, const int count, const int halves, int streams) {
    const __m512i none = _mm512_setzero_si512(), order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512 sum[CHILDREN][4];
    for (int m = 0; m < count; m++)
        for (int l = 0; l < 2 * halves; l++) sum[m][l] = _mm512_setzero_ps();
    for (long n = 0; n < desk->inside; n += 2) {
        const int two = n + 1 < desk->inside;
        __m512i v[4];
        for (int h = 0; h < halves; h++) {
            const __m512i a = _mm512_loadu_si512(desk->at[n] + c + 32 * h);
            const __m512i b = two ? _mm512_loadu_si512(desk->at[n + 1] + c + 32 * h) : none;
            v[2 * h] = _mm512_unpacklo_epi16(a, b), v[2 * h + 1] = _mm512_unpackhi_epi16(a, b);
        }
        for (int m = 0; m < count; m++) {
            const __m512bh by = (__m512bh)_mm512_set1_epi32((int)pairs[m * pitch + n / 2]);
            for (int l = 0; l < 2 * halves; l++) sum[m][l] = _mm512_dpbf16_ps(sum[m][l], (__m512bh)v[l], by);
        }
    }
    for (int m = 0; m < count; m++)
        for (int h = 0; h < halves; h++) {
            __m512 low = sum[m][2 * h], high = sum[m][2 * h + 1];
            const long at = c + 32 * h;
            if (to->guide[m]) {
                const __m512i mixed = _mm512_loadu_si512(to->guide[m] + at);
                low += to->gate * ((__m512)_mm512_unpacklo_epi16(none, mixed) - low);
                high += to->gate * ((__m512)_mm512_unpackhi_epi16(none, mixed) - high);
            }
            const __m512i both = _mm512_permutexvar_epi64(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
            if (streams && (uintptr_t)(to->out[m] + at) % 64 == 0)
                _mm512_stream_si512((void *)(to->out[m] + at), both);
            else
                _mm512_storeu_si512(to->out[m] + at, both);
        }
}

#else
#define PAIRED 0
#endif

/* Channels c to `end` of `count` pixels, a constant, as far as they are whole pairs of vectors: returns where that ends. */
static ALWAYS_INLINE long NAME(blend_of_pairs)(const NAME(Desk) * desk, const NAME(Pixels) * to, long taps, long c, long end,
                                               const int count, int streams) {
#if PAIRED
    if (taps < 2 || c + 2 * SOME > end) return c;
    const long pitch = NAME(padded)(taps) / 2;
    for (int m = 0; m < count; m++) NAME(pair)(desk, to->rows[m], desk->pairs + m * pitch, taps);
    for (; c + 4 * SOME <= end; c += 4 * SOME) NAME(blend_pairs)(desk, to, desk->pairs, pitch, c, count, 2, streams);
    for (; c + 2 * SOME <= end; c += 2 * SOME) NAME(blend_pairs)(desk, to, desk->pairs, pitch, c, count, 1, streams);
#else
    (void)desk, (void)to, (void)taps, (void)end, (void)count, (void)streams;
#endif
    return c;
}

/* The dot products of `count` queries with SOME / count keys, added to `sum`, as far as the channels are whole vectors: returns
 * where that ends. */
static ALWAYS_INLINE long NAME(dots_of_pairs)(const STORED *const *queries, const STORED *const *keys, long depth,
                                              const int count, NAME(Lanes) * sum) {
    long c = 0;
#if PAIRED
    const int taps = SOME / count;
    for (; c + 2 * SOME <= depth; c += 2 * SOME) {
        __m512bh q[CHILDREN];
        for (int m = 0; m < count; m++) q[m] = (__m512bh)_mm512_loadu_si512(queries[m] + c);
        for (int t = 0; t < taps; t++) {
            const __m512bh k = (__m512bh)_mm512_loadu_si512(keys[t] + c);
            for (int m = 0; m < count; m++)
                sum[m * taps + t] = (NAME(Lanes))_mm512_dpbf16_ps((__m512)sum[m * taps + t], q[m], k);
        }
    }
#else
    (void)queries, (void)keys, (void)depth, (void)count, (void)sum;
#endif
    return c;
}
