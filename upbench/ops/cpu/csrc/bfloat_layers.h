/* Included by layers.h where there are pairs: paired differences in bfloat16, by the instruction that adds two products of it to a
 * float32 at once. Two channels share the 32 bits of a lane. */

#if BY_PAIRS
/* Where the taps of each pair of channels lie in a patch of a side. */
static ALWAYS_INLINE void NAME(pair_offsets)(long *to, long pairs, long kernel, long apart, long side) {
    for (long n = 0; n < pairs * kernel * kernel; n++) {
        const long tap = n % (kernel * kernel);
        to[n] = (n / (kernel * kernel) * 2 * side + tap / kernel * apart) * side + tap % kernel * apart;
    }
}

#pragma GCC push_options
#pragma GCC target("avx512bf16")
enum { BOTH = 2 * SOME }; /* outputs that are summed at once */

/* Of planes c and c + 1, less their means, the numbers lie together where plane c lay. */
static ALWAYS_INLINE void NAME(pair_planes)(float *planes, const float *means, long channels, long plane) {
    for (long c = 0; c < channels; c += 2)
        for (long n = 0; n < plane; n += SOME) {
            float *at = planes + c * plane + n;
            const __mmask16 mask = (__mmask16)(plane - n < SOME ? (1 << (plane - n)) - 1 : 0xffff);
            const __m512 a = _mm512_maskz_loadu_ps(mask, at) - means[c], b = _mm512_maskz_loadu_ps(mask, at + plane) - means[c + 1];
            const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(a));
            const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(b));
            _mm512_mask_storeu_epi32(at, mask, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

/* BOTH outputs at TILE pixels of a row, as `summed` has them in float32. */
static ALWAYS_INLINE void NAME(summed_pairs)(const uint32_t *in, const long *offsets, long pitch, long pairs, const uint32_t *weights,
                                             const float *begin, long begin_pitch, __m512 (*sum)[2]) {
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < 2; l++) sum[m][l] = _mm512_loadu_ps(begin + m * begin_pitch + l * SOME);
    for (long n = 0; n < pairs; n++) {
        const uint32_t *at = in + offsets[n];
        __m512bh by[2];
        for (int l = 0; l < 2; l++) by[l] = (__m512bh)_mm512_loadu_si512(weights + (l * pairs + n) * SOME);
        for (int m = 0; m < TILE; m++) {
            const __m512bh read = (__m512bh)_mm512_set1_epi32((int)at[m * pitch]);
            for (int l = 0; l < 2; l++) sum[m][l] = _mm512_dpbf16_ps(sum[m][l], read, by[l]);
        }
    }
}

/* Those above zero, and what is no number. */
static ALWAYS_INLINE void NAME(rectify)(__m512 (*sum)[2]) {
    const NAME(Lanes) zero = {0};
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < 2; l++) sum[m][l] = (__m512)NAME(either)((NAME(Lanes))sum[m][l] < zero, zero, (NAME(Lanes))sum[m][l]);
}

/* A tile of `coarse`, whose patch lies in planes. */
static APART void NAME(coarse_pairs)(const Differences *job, float *patch, const long *offsets, long top, long left, long rows,
                                     long columns, long side) {
    const long channels = (long)job->channels, outputs = (long)job->outputs, made = outputs / (long)job->groups;
    const long each = channels / (long)job->groups, pairs = each / 2 * (long)job->kernel * (long)job->kernel;
    const uint32_t *weights = job->weights;
    const float *bias = (const float *)job->weights + outputs * pairs;
    NAME(pair_planes)(patch, job->means, channels, side * side);
    for (long y = 0; y < rows; y++)
        for (long o = 0; o < outputs; o += BOTH) {
            const uint32_t *in = (const uint32_t *)patch + (o / made * each * side + y) * side;
            float *to = (float *)job->out + ((top + y) * ((long)job->width + 2) + left) * outputs + o;
            __m512 sum[TILE][2];
            NAME(summed_pairs)(in, offsets, 1, pairs, weights + o * pairs, bias + o, 0, sum);
            for (long m = 0; m < columns; m++)
                for (int l = 0; l < 2; l++) _mm512_storeu_ps(to + m * outputs + l * SOME, sum[m][l]);
        }
}

/* Row y of a tile, whose patch lies in pairs, begun with `begin`. first: memory for [TILE, outputs]. taps, inner: pairs that the first
 * and the second layer read. out: [columns, outputs], rounded. */
static ALWAYS_INLINE void NAME(row_of_pairs)(const Differences *job, const uint32_t *row, const long *offsets, long taps, long plane,
                                             const float *begin, long begin_pitch, long columns, uint16_t *first, uint16_t *out,
                                             float *sums) {
    const long outputs = (long)job->outputs, made = outputs / (long)job->groups, each = (long)job->channels / (long)job->groups;
    const uint32_t *weights = job->weights, *inner = job->inner;
    const float *inner_bias = (const float *)job->inner + outputs * made / 2;
    __m512 sum[TILE][2];
    for (long o = 0; o < outputs; o += BOTH) {
        NAME(summed_pairs)(row + o / made * each * plane, offsets, 1, taps, weights + o * taps, begin + o, begin_pitch, sum);
        NAME(rectify)(sum);
        for (int m = 0; m < TILE; m++)
            _mm512_storeu_si512(first + m * outputs + o, (__m512i)_mm512_cvtne2ps_pbh(sum[m][1], sum[m][0]));
    }
    for (long o = 0; o < outputs; o += BOTH) {
        const uint32_t *in = (const uint32_t *)first + o / made * made / 2;
        NAME(summed_pairs)(in, offsets + taps, outputs / 2, made / 2, inner + o * (made / 2), inner_bias + o, 0, sum);
        NAME(rectify)(sum);
        __m512 both[2][2] = {{_mm512_setzero_ps(), _mm512_setzero_ps()}, {_mm512_setzero_ps(), _mm512_setzero_ps()}};
        for (long m = 0; m < columns; m++) {
            _mm512_storeu_si512(out + m * outputs + o, (__m512i)_mm512_cvtne2ps_pbh(sum[m][1], sum[m][0]));
            for (int l = 0; l < 2; l++) both[0][l] += sum[m][l], both[1][l] += sum[m][l] * sum[m][l];
        }
        for (int n = 0; n < 2; n++)
            for (int l = 0; l < 2; l++) {
                float *at = sums + n * outputs + o + l * SOME;
                _mm512_storeu_ps(at, _mm512_loadu_ps(at) + both[n][l]);
            }
    }
}

/* Tiles start to stop, as `differences` has them in float32. */
static APART int NAME(differences_pairs)(const Differences *job, long start, long stop) {
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, kernel = (long)job->kernel;
    const long outputs = (long)job->outputs, each = channels / (long)job->groups, apart = (long)job->dilation;
    const long reach = kernel / 2 * apart, side = TILE + 2 * reach, plane = side * side, across = (wide + TILE - 1) / TILE;
    const long taps = job->coarse ? 0 : each / 2 * kernel * kernel, made = outputs / (long)job->groups;
    const float *bias = (const float *)job->weights + outputs * (taps + each / 2);
    float *memory = calloc((size_t)(2 * channels * plane + (2 * TILE + TILE + 2) * outputs), sizeof(float));
    long *offsets = malloc(sizeof(long) * (size_t)(taps + each / 2 + made / 2));
    const int ready = memory && offsets;
    float *first = memory + 2 * channels * plane, *begin = first + TILE * outputs, *lines = begin + TILE * outputs;
    if (ready && taps) NAME(pair_offsets)(offsets, each / 2, kernel, apart, side);
    for (long n = 0; ready && n < each / 2; n++) offsets[taps + n] = (channels + 2 * n) * plane + reach * side + reach;
    for (long n = 0; ready && n < made / 2; n++) offsets[taps + each / 2 + n] = n;
    for (long tile = start; ready && tile < stop; tile++) {
        const long top = tile / across * TILE, left = tile % across * TILE;
        const long rows = high - top < TILE ? high - top : TILE, columns = wide - left < TILE ? wide - left : TILE;
        const float *means = job->means;
        if (taps) {
            NAME(patch)(job->key, channels, high, wide, top - reach, left - reach, side, side, memory, side);
            NAME(pair_planes)(memory, means, channels, plane);
        }
        NAME(patch)(job->query, channels, high, wide, top, left, TILE, TILE, memory + channels * plane + reach * side + reach, side);
        NAME(pair_planes)(memory + channels * plane, means + channels, channels, plane);
        float *sums = (float *)job->sums + tile * 2 * outputs;
        memset(sums, 0, sizeof(float) * (size_t)(2 * outputs));
        for (long y = 0; y < rows; y++) {
            if (!taps) NAME(between)(job, top + y, left, columns, lines, begin);
            NAME(row_of_pairs)(job, (const uint32_t *)memory + y * side, offsets, taps + each / 2, plane, taps ? bias : begin,
                               taps ? 0 : outputs, columns, (uint16_t *)first,
                               (uint16_t *)job->out + ((top + y) * wide + left) * outputs, sums);
        }
    }
    free(memory), free(offsets);
    return ready;
}

/* Parcels of pixels start to stop of the last layer: planes of scores. */
static APART int NAME(scores_pairs)(const Scores *job, long start, long stop) {
    const long inputs = (long)job->inputs, outputs = (long)job->outputs, pixels = (long)job->pixels;
    for (long parcel = start; parcel < stop; parcel++)
        for (long at = 0; at < PARCEL && parcel * PARCEL + at < pixels; at += SOME) {
            const long first = parcel * PARCEL + at, some = pixels - first < SOME ? pixels - first : SOME;
            const uint32_t *weights = job->weights, *rows = (const uint32_t *)job->x + first * (inputs / 2);
            for (long o = 0; o < outputs; o += SOME, weights += inputs / 2 * SOME) {
                const __m512 bias = _mm512_loadu_ps((const float *)job->bias + o);
                NAME(Lanes) sum[SOME];
                for (int m = 0; m < SOME; m++) sum[m] = (NAME(Lanes))bias;
                for (long n = 0; n < inputs / 2; n++) {
                    const __m512bh by = (__m512bh)_mm512_loadu_si512(weights + n * SOME);
                    for (int m = 0; m < SOME; m++) {
                        const uint32_t *read = rows + (m < some ? m : 0) * (inputs / 2) + n;
                        sum[m] = (NAME(Lanes))_mm512_dpbf16_ps((__m512)sum[m], by, (__m512bh)_mm512_set1_epi32((int)*read));
                    }
                }
                NAME(turn)(sum);
                for (long n = 0; n < SOME && o + n < outputs; n++)
                    _mm512_mask_storeu_ps((float *)job->out + (o + n) * pixels + first, (__mmask16)((1 << some) - 1), (__m512)sum[n]);
            }
        }
    return 1;
}
#pragma GCC pop_options
#endif

/* Of other kinds there are none: the caller asks for them where there are pairs. */
static int NAME(scores)(const void *given, long start, long stop) {
#if BY_PAIRS
    return NAME(scores_pairs)(given, start, stop);
#else
    (void)given, (void)start, (void)stop;
    return 0;
#endif
}
