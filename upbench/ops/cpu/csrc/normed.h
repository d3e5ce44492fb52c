/* Included by body.h: the layer norm of planes over their channels, and products of it with a matrix; on the way the planes
 * become slices of channels. A tile is NEAR pixels, whose planes lie together while they are worked on. */

/* Channels c to c + SOME of SOME pixels from `near`, as rows of a slice. */
static ALWAYS_INLINE void NAME(slice)(const Normed *job, const REAL *near, long first, long some, long c) {
    const long slice = (long)job->slice;
    const long at = (c / slice * (long)job->pixels + first) * slice + c % slice;
    REAL *to = (REAL *)job->values + at;
    NAME(Lanes) v[SOME];
    for (int n = 0; n < SOME; n++) v[n] = *(const NAME(Lanes) *)(near + n * NEAR);
    NAME(turn)(v);
#if BY_PAIRS
    if (job->pairs) { /* what was read, without the half that was added to it */
        for (long n = 0; n < some; n++)
            _mm256_storeu_si256((__m256i *)((uint16_t *)job->values + at + n * slice), _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)v[n], 16)));
        return;
    }
#endif
    for (long n = 0; n < some; n++) *(NAME(Lanes) *)(to + n * slice) = v[n];
}

/* Layer norm of SOME pixels in place: channels are NEAR apart. */
static ALWAYS_INLINE void NAME(norm)(const Normed *job, REAL *near) {
    const long channels = (long)job->channels;
    const REAL *scale = job->scale, *shift = job->shift;
    const REAL share = 1 / (REAL)channels;
    NAME(Lanes) mean = {0}, other = {0}, spread = {0}, second = {0};
    for (long c = 0; c < channels; c += 2) {
        mean += *(const NAME(Lanes) *)(near + c * NEAR);
        other += *(const NAME(Lanes) *)(near + (c + 1) * NEAR);
    }
    mean = (mean + other) * share;
    for (long c = 0; c < channels; c += 2) {
        const NAME(Lanes) left = *(const NAME(Lanes) *)(near + c * NEAR) - mean;
        const NAME(Lanes) right = *(const NAME(Lanes) *)(near + (c + 1) * NEAR) - mean;
        spread += left * left, second += right * right;
    }
    NAME(Lanes) factor = (spread + second) * share + (REAL)job->eps;
    for (int n = 0; n < SOME; n++) factor[n] = 1 / SQRT(factor[n]);
    for (long c = 0; c < channels; c++) {
        NAME(Lanes) *at = (NAME(Lanes) *)(near + c * NEAR);
        *at = (*at - mean) * (factor * scale[c]) + shift[c];
    }
}

/* Products of some pixels with some lanes of the matrix, both constants: the sums stay in registers. */
static ALWAYS_INLINE void NAME(multiply)(const Normed *job, const REAL *near, long pixel, long output, const int rows,
                                         const int lanes) {
    const long channels = (long)job->channels, outputs = (long)job->depth * 2;
    const REAL *weights = (const REAL *)job->weights + output;
    NAME(Lanes) sum[8][3];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = (NAME(Lanes)){0};
    for (long c = 0; c < channels; c++) {
        NAME(Lanes) by[3];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + c * outputs + l * SOME);
        for (int m = 0; m < rows; m++)
            for (int l = 0; l < lanes; l++) sum[m][l] = NAME(plus)(sum[m][l], near[c * NEAR + m], by[l]);
    }
    const long depth = (long)job->depth, each = depth / (long)job->blocks;
    for (int l = 0; l < lanes; l++) {
        const long o = output + l * SOME, k = o - depth;
        REAL *to = o < depth ? (REAL *)job->queries + pixel * depth + o
                             : (REAL *)job->keys + (k / each * (long)job->pixels + pixel) * each + k % each;
        for (int m = 0; m < rows; m++) *(NAME(Lanes) *)(to + m * (o < depth ? depth : each)) = sum[m][l];
    }
}

/* The same of any number of pixels. */
static ALWAYS_INLINE void NAME(multiply_all)(const Normed *job, const REAL *near, long first, long count, long output,
                                             const int lanes) {
    const int most = REGISTERS >= 32 || lanes == 1 ? 8 : 4;
    long m = 0;
    for (; m + most <= count; m += most) NAME(multiply)(job, near + m, first + m, output, most, lanes);
    for (; m < count; m++) NAME(multiply)(job, near + m, first + m, output, 1, lanes);
}

#include "bfloat_normed.h"

/* Some pixels of a plane from number n on. */
static ALWAYS_INLINE NAME(Lanes) NAME(take)(const Normed *job, long n, long some) {
#if BY_PAIRS
    if (job->pairs) {
        const uint16_t *at = (const uint16_t *)job->x + n;
        uint16_t part[SOME] = {0};
        for (long m = 0; some < SOME && m < some; m++) part[m] = at[m];
        PREFETCH(at + NEAR);
        const __m256i read = _mm256_loadu_si256((const __m256i *)(some < SOME ? part : at));
        return (NAME(Lanes))_mm512_slli_epi32(_mm512_cvtepu16_epi32(read), 16);
    }
#endif
    PREFETCH((const REAL *)job->x + n + NEAR);
    return NAME(load_part)((const REAL *)job->x + n, some);
}

static int NAME(normed)(const void *given, long start, long stop) {
    const Normed *job = given;
    const long channels = (long)job->channels, pixels = (long)job->pixels;
    const long outputs = (long)job->depth * (job->pairs ? 1 : 2);
    REAL *near = malloc(sizeof(REAL) * (size_t)(NEAR * channels * (job->pairs ? 2 : 1) + 16));
    REAL *planes = near ? (REAL *)(((uintptr_t)near + 63) / 64 * 64) : NULL;
    for (long tile = start; near && tile < stop; tile++) {
        const long first = tile * NEAR, rest = pixels - first, count = rest < NEAR ? rest : NEAR;
        for (long m = 0; m < count; m += SOME) {
            const long some = count - m < SOME ? count - m : SOME;
            for (long c = 0; c < channels; c++)
                *(NAME(Lanes) *)(planes + c * NEAR + m) = NAME(take)(job, c * (long)job->x_step + first + m, some);
            for (long c = 0; job->values && c < channels; c += SOME) NAME(slice)(job, planes + c * NEAR + m, first + m, some, c);
            NAME(norm)(job, planes + m);
        }
        long o = 0;
#if BY_PAIRS
        if (job->pairs && NAME(queries_of_pairs)(job, first, count, planes, (uint32_t *)(planes + NEAR * channels))) o = outputs;
#endif
        /* Four lanes that remain are two and two. */
        for (; o + 3 * SOME <= outputs && o + 4 * SOME != outputs; o += 3 * SOME)
            NAME(multiply_all)(job, planes, first, count, o, 3);
        for (; o + 2 * SOME <= outputs; o += 2 * SOME) NAME(multiply_all)(job, planes, first, count, o, 2);
        for (; o < outputs; o += SOME) NAME(multiply_all)(job, planes, first, count, o, 1);
#if BY_PAIRS
        if (job->pairs) NAME(keys_of_pairs)(job, first, count, planes);
#endif
    }
    free(near);
    return near != NULL;
}
