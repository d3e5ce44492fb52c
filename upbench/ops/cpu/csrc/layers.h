/* Included by map_kinds.h for each type that is computed in. */

enum { NAME(ROWS) = 512 }; /* rows of taps that are one tile; map_kernels.py knows it too */

/* Some lanes of outputs, a constant, at a row of TILE pixels, rectified. Input n of pixel m is in[offsets[n] + m * pitch]. */
static ALWAYS_INLINE void NAME(rectified)(const REAL *in, const long *offsets, long pitch, long inputs,
                                          const REAL *weights, const REAL *bias, REAL *RESTRICT to, long apart,
                                          const int lanes) {
    NAME(Lanes) sum[TILE][2];
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = *(const NAME(Lanes) *)(bias + l * SOME);
    for (long n = 0; n < inputs; n++) {
        const REAL *at = in + offsets[n];
        NAME(Lanes) by[2];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + (l * inputs + n) * SOME);
        for (int m = 0; m < TILE; m++)
            for (int l = 0; l < lanes; l++) sum[m][l] += at[m * pitch] * by[l];
    }
    const NAME(Lanes) zero = {0};
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < lanes; l++) {
            /* What is no number stays so. */
            *(NAME(Lanes) *)(to + m * apart + l * SOME) = NAME(either)(sum[m][l] < zero, zero, sum[m][l]);
        }
}

static ALWAYS_INLINE void NAME(all_rectified)(const REAL *in, const long *offsets, long pitch, long inputs,
                                              const REAL *weights, const REAL *bias, long outputs, REAL *RESTRICT to,
                                              long apart) {
    long o = 0;
    for (; o + SOME < outputs; o += 2 * SOME)
        NAME(rectified)(in, offsets, pitch, inputs, weights + o * inputs, bias + o, to + o, apart, 2);
    if (o < outputs) NAME(rectified)(in, offsets, pitch, inputs, weights + o * inputs, bias + o, to + o, apart, 1);
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

/* Tiles start to stop. */
static int NAME(differences)(const void *given, long start, long stop) {
    const Differences *job = given;
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, groups = (long)job->groups;
    const long outputs = (long)job->outputs, each = channels / groups, made = outputs / groups, kernel = (long)job->kernel;
    const long apart = (long)job->dilation, reach = kernel / 2 * apart, side = TILE + 2 * reach, plane = side * side;
    const long inputs = each * (kernel * kernel + 1), across = (wide + TILE - 1) / TILE;
    const REAL *weights = job->weights, *bias = weights + outputs * inputs;
    const REAL *inner = job->inner, *inner_bias = inner + outputs * made;
    REAL *memory = calloc((size_t)(2 * channels * plane + 2 * TILE * outputs), sizeof(REAL));
    long *offsets = malloc(sizeof(long) * (size_t)(inputs + made));
    const int ready = memory && offsets;
    REAL *patch = memory, *first = patch + 2 * channels * plane, *second = first + TILE * outputs;
    for (long n = 0; ready && n < inputs; n++) {
        const long c = n / (kernel * kernel), tap = n % (kernel * kernel);
        offsets[n] = n < each * kernel * kernel
                         ? c * plane + tap / kernel * apart * side + tap % kernel * apart
                         : (channels + n - each * kernel * kernel) * plane + reach * side + reach;
    }
    for (long n = 0; ready && n < made; n++) offsets[inputs + n] = n;
    for (long tile = start; ready && tile < stop; tile++) {
        const long top = tile / across * TILE, left = tile % across * TILE;
        const long rows = high - top < TILE ? high - top : TILE, columns = wide - left < TILE ? wide - left : TILE;
        NAME(patch)(job->key, channels, high, wide, top - reach, left - reach, side, side, patch, side);
        NAME(patch)(job->query, channels, high, wide, top, left, TILE, TILE,
                    patch + channels * plane + reach * side + reach, side);
        REAL *sums = (REAL *)job->sums + tile * 2 * outputs;
        memset(sums, 0, sizeof(REAL) * (size_t)(2 * outputs));
        for (long y = 0; y < rows; y++) {
            for (long g = 0; g < groups; g++) {
                NAME(all_rectified)(patch + g * each * plane + y * side, offsets, 1, inputs, weights + g * made * inputs,
                                    bias + g * made, made, first + g * made, outputs);
                NAME(all_rectified)(first + g * made, offsets + inputs, outputs, made, inner + g * made * made,
                                    inner_bias + g * made, made, second + g * made, outputs);
            }
            REAL *out = (REAL *)job->out + ((top + y) * wide + left) * outputs;
            memcpy(out, second, sizeof(REAL) * (size_t)(columns * outputs));
            for (long m = 0; m < columns; m++)
                for (long o = 0; o < outputs; o += SOME) {
                    const NAME(Lanes) v = *(const NAME(Lanes) *)(second + m * outputs + o);
                    *(NAME(Lanes) *)(sums + o) += v, *(NAME(Lanes) *)(sums + outputs + o) += v * v;
                }
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
