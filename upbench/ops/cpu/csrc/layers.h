/* Included by map_kinds.h for each type that is computed in. */

enum { NAME(ROWS) = 512 }; /* rows of taps that are one tile; map_kernels.py knows it too */

/* Pixels of a tile's row that are summed at once: with two vectors of outputs each, these sums stay in registers. */
enum { NAME(AT_ONCE) = REGISTERS >= 32 ? TILE : SOME * sizeof(REAL) <= REGISTER ? TILE / 2 : TILE / 4 };

/* Some lanes of outputs, a constant, at some pixels of a row, which begin with `begin`. Input n of pixel m is in[offsets[n] + m *
 * pitch]. */
static ALWAYS_INLINE void NAME(summed)(const REAL *in, const long *offsets, long pitch, long inputs, const REAL *weights,
                                       const REAL *begin, long begin_pitch, REAL *RESTRICT to, long apart,
                                       const int rectifies, const int lanes) {
    NAME(Lanes) sum[NAME(AT_ONCE)][2];
    for (int m = 0; m < NAME(AT_ONCE); m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = *(const NAME(Lanes) *)(begin + m * begin_pitch + l * SOME);
    for (long n = 0; n < inputs; n++) {
        const REAL *at = in + offsets[n];
        NAME(Lanes) by[2];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + (l * inputs + n) * SOME);
        for (int m = 0; m < NAME(AT_ONCE); m++)
            for (int l = 0; l < lanes; l++) sum[m][l] += at[m * pitch] * by[l];
    }
    const NAME(Lanes) zero = {0};
    for (int m = 0; m < NAME(AT_ONCE); m++)
        for (int l = 0; l < lanes; l++) {
            /* What is no number stays so. */
            const NAME(Lanes) v = rectifies ? NAME(either)(sum[m][l] < zero, zero, sum[m][l]) : sum[m][l];
            *(NAME(Lanes) *)(to + m * apart + l * SOME) = v;
        }
}

/* All outputs of a group at a row of TILE pixels. */
static ALWAYS_INLINE void NAME(all_summed)(const REAL *in, const long *offsets, long pitch, long inputs, const REAL *weights,
                                           const REAL *begin, long begin_pitch, long outputs, REAL *RESTRICT to, long apart,
                                           const int rectifies) {
    long o = 0;
#if REGISTERS >= 32
    for (; o + SOME < outputs; o += 2 * SOME)
        NAME(summed)(in, offsets, pitch, inputs, weights + o * inputs, begin + o, begin_pitch, to + o, apart, rectifies, 2);
    if (o < outputs)
        NAME(summed)(in, offsets, pitch, inputs, weights + o * inputs, begin + o, begin_pitch, to + o, apart, rectifies, 1);
#else
    for (; o < outputs; o += 2 * SOME)
        for (int m = 0; m < TILE; m += NAME(AT_ONCE)) {
            const REAL *at = in + m * pitch, *by = weights + o * inputs, *from = begin + m * begin_pitch + o;
            if (o + SOME < outputs)
                NAME(summed)(at, offsets, pitch, inputs, by, from, begin_pitch, to + m * apart + o, apart, rectifies, 2);
            else
                NAME(summed)(at, offsets, pitch, inputs, by, from, begin_pitch, to + m * apart + o, apart, rectifies, 1);
        }
#endif
}

static ALWAYS_INLINE void NAME(all_rectified)(const REAL *in, const long *offsets, long pitch, long inputs,
                                              const REAL *weights, const REAL *bias, long outputs, REAL *RESTRICT to,
                                              long apart) {
    NAME(all_summed)(in, offsets, pitch, inputs, weights, bias, 0, outputs, to, apart, 1);
}

/* A square of a side of each of some planes, from row `top` and column `left` on, its edges repeated: [channels, side, side]. */
static ALWAYS_INLINE void NAME(patch)(const REAL *from, long channels, long high, long wide, long top, long left,
                                      long rows, long columns, REAL *to, long side) {
    const int inside = left >= 0 && left + columns <= wide;
    for (long c = 0; c < channels; c++)
        for (long y = 0; y < rows; y++) {
            const long i = top + y < 0 ? 0 : top + y < high ? top + y : high - 1;
            const REAL *line = from + (c * high + i) * wide;
            REAL *RESTRICT into = to + (c * side + y) * side;
            if (inside)
                memcpy(into, line + left, sizeof(REAL) * (size_t)columns);
            else
                for (long x = 0; x < columns; x++) {
                    const long j = left + x < 0 ? 0 : left + x < wide ? left + x : wide - 1;
                    into[x] = line[j];
                }
        }
}

/* Where the taps of each of `each` channels lie in a patch of a side. */
static ALWAYS_INLINE void NAME(tap_offsets)(long *to, long each, long kernel, long apart, long side) {
    for (long n = 0; n < each * kernel * kernel; n++) {
        const long tap = n % (kernel * kernel);
        to[n] = (n / (kernel * kernel) * side + tap / kernel * apart) * side + tap % kernel * apart;
    }
}

static ALWAYS_INLINE void NAME(between)(const Differences *job, long y, long left, long columns, REAL *lines, REAL *RESTRICT to);

#include "bfloat_layers.h"

/* Tiles start to stop of the sums over the taps of a map with one more pixel on each side, its edges repeated. */
static int NAME(coarse)(const void *given, long start, long stop) {
    const Differences *job = given;
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, groups = (long)job->groups;
    const long outputs = (long)job->outputs, each = channels / groups, made = outputs / groups, kernel = (long)job->kernel;
    const long reach = kernel / 2, side = TILE + 2 * reach, inputs = each * kernel * kernel, across = (wide + 1 + TILE) / TILE;
    REAL *patch = calloc((size_t)(channels * side * side + TILE * outputs), sizeof(REAL)), *sums = patch + channels * side * side;
    long *offsets = malloc(sizeof(long) * (size_t)inputs);
    const int ready = patch && offsets;
#if BY_PAIRS
    if (ready && job->means)
        NAME(pair_offsets)(offsets, each / 2, kernel, 1, side);
    else
#endif
    if (ready) NAME(tap_offsets)(offsets, each, kernel, 1, side);
    for (long tile = start; ready && tile < stop; tile++) {
        const long top = tile / across * TILE, left = tile % across * TILE;
        const long rows = high + 2 - top < TILE ? high + 2 - top : TILE, columns = wide + 2 - left < TILE ? wide + 2 - left : TILE;
        NAME(patch)(job->key, channels, high, wide, top - 1 - reach, left - 1 - reach, side, side, patch, side);
#if BY_PAIRS
        if (job->means) {
            NAME(coarse_pairs)(job, patch, offsets, top, left, rows, columns, side);
            continue;
        }
#endif
        for (long y = 0; y < rows; y++) {
            for (long g = 0; g < groups; g++)
                NAME(all_summed)(patch + (g * each * side + y) * side, offsets, 1, inputs,
                                 (const REAL *)job->weights + g * made * inputs,
                                 (const REAL *)job->weights + outputs * inputs + g * made, 0, made, sums + g * made, outputs, 0);
            memcpy((REAL *)job->out + ((top + y) * (wide + 2) + left) * outputs, sums, sizeof(REAL) * (size_t)(columns * outputs));
        }
    }
    free(patch), free(offsets);
    return ready;
}

/* Before which pixel of `coarse`, which has one more on each side, pixel n lies, and how far beyond the last before it. */
static ALWAYS_INLINE long NAME(before)(long n, long ratio, REAL *beyond) {
    const long twice = 2 * n + 1 + ratio, whole = twice / (2 * ratio); /* (n + 1/2) / ratio + 1/2 */
    *beyond = (REAL)(twice - 2 * ratio * whole) / (REAL)(2 * ratio);
    return whole;
}

/* What `coarse` holds at TILE pixels of row y from `left` on, between its own: to [TILE, outputs]. */
static ALWAYS_INLINE void NAME(between)(const Differences *job, long y, long left, long columns, REAL *lines,
                                        REAL *RESTRICT to) {
    const long outputs = (long)job->outputs, ratio = (long)job->ratio, pitch = ((long)job->width / ratio + 2) * outputs;
    REAL down, right;
    const long row = NAME(before)(y, ratio, &down), first = NAME(before)(left, ratio, &right);
    const long last = NAME(before)(left + columns - 1, ratio, &right) + 1;
    const REAL *above = (const REAL *)job->coarse + row * pitch + first * outputs;
    for (long n = 0; n < (last - first + 1) * outputs; n += SOME) {
        const NAME(Lanes) a = *(const NAME(Lanes) *)(above + n), b = *(const NAME(Lanes) *)(above + pitch + n);
        *(NAME(Lanes) *)(lines + n) = a + down * (b - a);
    }
    for (long m = 0; m < columns; m++) {
        const REAL *from = lines + (NAME(before)(left + m, ratio, &right) - first) * outputs;
        for (long o = 0; o < outputs; o += SOME) {
            const NAME(Lanes) a = *(const NAME(Lanes) *)(from + o), b = *(const NAME(Lanes) *)(from + outputs + o);
            *(NAME(Lanes) *)(to + m * outputs + o) = a + right * (b - a);
        }
    }
}

/* Adds the numbers of some pixels, and their squares, to the sums of each output. */
static ALWAYS_INLINE void NAME(add_squares)(const REAL *from, long pixels, long outputs, REAL *RESTRICT sums) {
    for (long m = 0; m < pixels; m++)
        for (long o = 0; o < outputs; o += SOME) {
            const NAME(Lanes) v = *(const NAME(Lanes) *)(from + m * outputs + o);
            *(NAME(Lanes) *)(sums + o) += v, *(NAME(Lanes) *)(sums + outputs + o) += v * v;
        }
}

/* Tiles start to stop. */
static int NAME(differences)(const void *given, long start, long stop) {
    const Differences *job = given;
#if BY_PAIRS
    if (job->means) return NAME(differences_pairs)(job, start, stop);
#endif
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, groups = (long)job->groups;
    const long outputs = (long)job->outputs, each = channels / groups, made = outputs / groups, kernel = (long)job->kernel;
    const long apart = (long)job->dilation, reach = kernel / 2 * apart, side = TILE + 2 * reach, plane = side * side;
    const long taps = each * kernel * kernel, across = (wide + TILE - 1) / TILE;
    const int coarse = job->coarse != NULL;
    const long inputs = coarse ? each : taps + each; /* of what `coarse` does not hold */
    const REAL *weights = job->weights, *bias = weights + outputs * inputs;
    const REAL *inner = job->inner, *inner_bias = inner + outputs * made;
    REAL *memory = calloc((size_t)(2 * channels * plane + (3 * TILE + TILE + 2) * outputs), sizeof(REAL));
    long *offsets = malloc(sizeof(long) * (size_t)(taps + each + made));
    const int ready = memory && offsets;
    REAL *patch = memory, *first = patch + 2 * channels * plane, *second = first + TILE * outputs;
    REAL *begin = second + TILE * outputs, *lines = begin + TILE * outputs;
    if (ready) NAME(tap_offsets)(offsets, each, kernel, apart, side);
    for (long n = 0; ready && n < each; n++) offsets[taps + n] = (channels + n) * plane + reach * side + reach;
    for (long n = 0; ready && n < made; n++) offsets[taps + each + n] = n;
    for (long tile = start; ready && tile < stop; tile++) {
        const long top = tile / across * TILE, left = tile % across * TILE;
        const long rows = high - top < TILE ? high - top : TILE, columns = wide - left < TILE ? wide - left : TILE;
        if (!coarse) NAME(patch)(job->key, channels, high, wide, top - reach, left - reach, side, side, patch, side);
        NAME(patch)(job->query, channels, high, wide, top, left, TILE, TILE,
                    patch + channels * plane + reach * side + reach, side);
        REAL *sums = (REAL *)job->sums + tile * 2 * outputs;
        memset(sums, 0, sizeof(REAL) * (size_t)(2 * outputs));
        for (long y = 0; y < rows; y++) {
            if (coarse) NAME(between)(job, top + y, left, columns, lines, begin);
            for (long g = 0; g < groups; g++) {
                const long own = g * made;
                NAME(all_summed)(patch + g * each * plane + y * side, coarse ? offsets + taps : offsets, 1, inputs,
                                 weights + own * inputs, coarse ? begin + own : bias + own, coarse ? outputs : 0, made,
                                 first + own, outputs, 1);
                NAME(all_rectified)(first + own, offsets + taps + each, outputs, made, inner + own * made, inner_bias + own, made,
                                    second + own, outputs);
            }
            REAL *out = (REAL *)job->out + ((top + y) * wide + left) * outputs;
            memcpy(out, second, sizeof(REAL) * (size_t)(columns * outputs));
            NAME(add_squares)(second, columns, outputs, sums);
        }
    }
    free(memory), free(offsets);
    return ready;
}

/* Tiles start to stop of NAME(ROWS) rows. */
static int NAME(softmax)(const void *given, long start, long stop) {
    const Softmax *job = given;
    const long taps = (long)job->taps, all = (long)job->rows;
    for (long tile = start; tile < stop; tile++) {
        const long first = tile * NAME(ROWS), rows = all - first < NAME(ROWS) ? all - first : NAME(ROWS);
        const REAL *x = (const REAL *)job->x + first * taps;
        REAL *out = (REAL *)job->out + first * taps;
        if (job->grad) {
            const REAL *grad = (const REAL *)job->grad + first * taps;
            for (long n = 0; n < rows; n++, x += taps, grad += taps, out += taps) {
                REAL dot = 0;
                for (long t = 0; t < taps; t++) dot += x[t] * grad[t];
                for (long t = 0; t < taps; t++) out[t] = x[t] * (grad[t] - dot);
            }
            continue;
        }
        for (long n = 0; n < rows; n++) {
            const REAL *row = x + n * taps;
            REAL most = row[0];
            for (long t = 1; t < taps; t++) most = row[t] > most ? row[t] : most;
            for (long t = 0; t < taps; t++) out[n * taps + t] = row[t] - most;
        }
        long n = 0;
        for (; n + SOME <= rows * taps; n += SOME)
            *(NAME(Lanes) *)(out + n) = NAME(exp)(*(const NAME(Lanes) *)(out + n));
        for (; n < rows * taps; n++) {
            const NAME(Lanes) v = NAME(exp)((NAME(Lanes)){0} + out[n]);
            out[n] = v[0];
        }
        for (long r = 0; r < rows; r++) {
            REAL sum = 0, *row = out + r * taps;
            for (long t = 0; t < taps; t++) sum += row[t];
            sum = 1 / sum;
            for (long t = 0; t < taps; t++) row[t] *= sum;
        }
    }
    return 1;
}
