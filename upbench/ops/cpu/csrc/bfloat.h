/* Included by kernels.c: weighted sums of values of bfloat16 by the instruction that adds two products of it to a float32 at
 * once. Two neighbouring pixels share the 32 bits of a lane. See reads.h. */

#if GENERATIONS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")

/* A point as reads.h has it in float32; its weights become two pairs of bfloat16, which lie where they did. */
typedef struct {
    int at[4];
    union {
        float by[4];
        int pairs[2];
    } of;
} BFloatRead;

/* `halves` times 32 channels, a constant. Within 128 bits the channels of two pixels are taken in turn: of 32 channels the first
 * sum holds the fours 0, 2, 4, 6, the second the others. */
static ALWAYS_INLINE void bfloat_sums(const uint16_t *x, long pitch, const BFloatRead *from, const BFloatRead *end, uint16_t *out,
                                     int streams, const int halves) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512 top[4], bottom[4];
    for (int n = 0; n < 2 * halves; n++) top[n] = bottom[n] = _mm512_setzero_ps();
    for (; from < end; from++) {
        const uint16_t *k0 = x + from->at[0] * pitch, *k1 = x + from->at[1] * pitch;
        const uint16_t *k2 = x + from->at[2] * pitch, *k3 = x + from->at[3] * pitch;
        const __m512bh above = (__m512bh)_mm512_set1_epi32(from->of.pairs[0]), below = (__m512bh)_mm512_set1_epi32(from->of.pairs[1]);
        for (int h = 0; h < halves; h++) {
            const __m512i a = _mm512_loadu_si512(k0 + 32 * h), b = _mm512_loadu_si512(k1 + 32 * h);
            const __m512i c = _mm512_loadu_si512(k2 + 32 * h), d = _mm512_loadu_si512(k3 + 32 * h);
            top[2 * h] = _mm512_dpbf16_ps(top[2 * h], (__m512bh)_mm512_unpacklo_epi16(a, b), above);
            top[2 * h + 1] = _mm512_dpbf16_ps(top[2 * h + 1], (__m512bh)_mm512_unpackhi_epi16(a, b), above);
            bottom[2 * h] = _mm512_dpbf16_ps(bottom[2 * h], (__m512bh)_mm512_unpacklo_epi16(c, d), below);
            bottom[2 * h + 1] = _mm512_dpbf16_ps(bottom[2 * h + 1], (__m512bh)_mm512_unpackhi_epi16(c, d), below);
        }
    }
    for (int h = 0; h < halves; h++) {
        const __m512 low = top[2 * h] + bottom[2 * h], high = top[2 * h + 1] + bottom[2 * h + 1];
        const __m512i both = _mm512_permutexvar_epi64(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        if (streams && (uintptr_t)(out + 32 * h) % 64 == 0)
            _mm512_stream_si512((void *)(out + 32 * h), both);
        else
            _mm512_storeu_si512(out + 32 * h, both);
    }
}

/* The sums of a tile for the channels c to `last` of a block, a multiple of 32. ends: after the last read of each pixel. */
static APART void weigh_bfloat(const Job *job, const long *pixels, long count, long c, long last, BFloatRead *reads, const long *ends) {
    const int streams = job->streams;
    for (BFloatRead *read = reads; read < reads + ends[count - 1]; read++)
        _mm_storel_epi64((void *)read->of.pairs, (__m128i)_mm_cvtneps_pbh(_mm_loadu_ps(read->of.by)));
    for (long step; c < last; c += step) {
        const long left = job->x_slice - c % job->x_slice, most = last - c < left ? last - c : left;
        const uint16_t *x = (const uint16_t *)job->x + c / job->x_slice * job->x_step + c % job->x_slice;
        step = most >= 64 ? 64 : 32;
        for (long m = 0; m < count; m++) {
            const BFloatRead *from = reads + (m ? ends[m - 1] : 0), *end = reads + ends[m];
            uint16_t *out = (uint16_t *)job->out + pixels[m] * job->channels + c;
            if (step == 64)
                bfloat_sums(x, job->x_pitch, from, end, out, streams, 2);
            else
                bfloat_sums(x, job->x_pitch, from, end, out, streams, 1);
        }
    }
}
#pragma GCC pop_options
#endif
