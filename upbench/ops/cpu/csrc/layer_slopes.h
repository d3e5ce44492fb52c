/* Included by map_kinds.h for each type that is computed in: gradients of paired differences. */

/* to[m, c] (+)= sum over n of a[rows[m] + steps[n]] * b[n, c], for `most` rows of AT_ONCE and some lanes of columns, a constant. */
static ALWAYS_INLINE void NAME(tile_of_products)(const REAL *a, const long *rows, const long *steps, const REAL *b,
                                                 long b_pitch, long count, REAL *to, long to_pitch, long most,
                                                 const int adds, const int lanes) {
    NAME(Lanes) sum[NAME(AT_ONCE)][2];
    for (int m = 0; m < NAME(AT_ONCE); m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = (NAME(Lanes)){0};
    for (long n = 0; n < count; n++) {
        const REAL *at = a + steps[n];
        NAME(Lanes) by[2];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(b + n * b_pitch + l * SOME);
        for (int m = 0; m < NAME(AT_ONCE); m++)
            for (int l = 0; l < lanes; l++) sum[m][l] += at[rows[m]] * by[l];
    }
    for (int m = 0; m < NAME(AT_ONCE); m++)
        for (int l = 0; m < most && l < lanes; l++) {
            NAME(Lanes) *into = (NAME(Lanes) *)(to + m * to_pitch + l * SOME);
            if (adds) sum[m][l] += *into;
            *into = sum[m][l];
        }
}

/* The same of any number of rows, and of columns in whole lanes. */
static ALWAYS_INLINE void NAME(products)(const REAL *a, const long *rows, long row_count, const long *steps, long count,
                                         const REAL *b, long b_pitch, long columns, REAL *to, long to_pitch,
                                         const int adds) {
    for (long r = 0; r < row_count; r += NAME(AT_ONCE)) {
        long at[NAME(AT_ONCE)];
        for (long m = 0; m < NAME(AT_ONCE); m++) at[m] = rows[r + m < row_count ? r + m : row_count - 1];
        const long most = row_count - r;
        REAL *into = to + r * to_pitch;
        long c = 0;
        for (; c + SOME < columns; c += 2 * SOME)
            NAME(tile_of_products)(a, at, steps, b + c, b_pitch, count, into + c, to_pitch, most, adds, 2);
        if (c < columns) NAME(tile_of_products)(a, at, steps, b + c, b_pitch, count, into + c, to_pitch, most, adds, 1);
    }
}

/* What a thread works in; of a tile but for `sums`. Rows of pixels [PIXELS, outputs], planes of them [outputs, PIXELS]. */
typedef struct {
    REAL *patch, *moves, *v, *du, *dv, *planes, *read;
    long *offsets, *steps, *taps, *spots;
} NAME(Bench);

/* du: the gradient of what the second layer rectifies, through the last layer, its norm and the rectifier; 0 outside the map. */
static ALWAYS_INLINE void NAME(through_last)(const DifferenceSlopes *job, long top, long left, long rows, long columns,
                                             REAL *RESTRICT du) {
    const long outputs = (long)job->outputs, scores = (long)job->scores, wide = (long)job->width;
    const long size = (long)job->height * wide;
    const REAL *last = job->last, *add = last + scores * outputs, *factor = add + outputs;
    memset(du, 0, sizeof(REAL) * (size_t)(PIXELS * outputs));
    for (long y = 0; y < rows; y++)
        for (long m = 0; m < columns; m++) {
            const long pixel = (top + y) * wide + left + m;
            const REAL *hidden = (const REAL *)job->hidden + pixel * outputs, *grad = (const REAL *)job->grad + pixel;
            REAL *to = du + (y * TILE + m) * outputs;
            for (long o = 0; o < outputs; o += SOME) {
                const NAME(Lanes) h = *(const NAME(Lanes) *)(hidden + o), zero = {0};
                NAME(Lanes) sum = *(const NAME(Lanes) *)(add + o) + *(const NAME(Lanes) *)(factor + o) * h;
                for (long t = 0; t < scores; t++) sum += grad[t * size] * *(const NAME(Lanes) *)(last + t * outputs + o);
                *(NAME(Lanes) *)(to + o) = NAME(either)(h > zero, sum, zero);
            }
        }
}

/* A tile's share of a strip: sums over pixels to the gradients of weights, and what the key and the query get to `moves`. */
static ALWAYS_INLINE void NAME(slopes_of_tile)(const DifferenceSlopes *job, const NAME(Bench) * at, long side, REAL *first,
                                               REAL *inner, REAL *biases) {
    const long outputs = (long)job->outputs, groups = (long)job->groups, each = (long)job->channels / groups;
    const long made = outputs / groups, kernel = (long)job->kernel, inputs = each * (kernel * kernel + 1);
    const long plane = side * side;
    const REAL *bias = (const REAL *)job->weights + outputs * inputs;
    for (long g = 0; g < groups; g++) {
        const long own = g * made;
        const REAL *patch = at->patch + g * each * plane;
        for (long y = 0; y < TILE; y++)
            NAME(all_rectified)(patch + y * side, at->offsets, 1, inputs, (const REAL *)job->weights + own * inputs,
                                bias + own, made, at->v + y * TILE * outputs + own, outputs);
        NAME(products)(at->v + own, at->taps, made, at->steps, PIXELS, at->du + own, outputs, made, inner + own * made,
                       made, 1);
        NAME(products)(at->du + own, at->steps, PIXELS, at->taps, made, (const REAL *)job->inner + own * made, made, made,
                       at->dv + own, outputs, 0);
    }
    for (long n = 0; n < PIXELS; n++)
        for (long o = 0; o < outputs; o += SOME) {
            const NAME(Lanes) v = *(const NAME(Lanes) *)(at->v + n * outputs + o), zero = {0};
            NAME(Lanes) *dv = (NAME(Lanes) *)(at->dv + n * outputs + o);
            *dv = NAME(either)(v > zero, *dv, zero);
            *(NAME(Lanes) *)(biases + o) += *dv;
            *(NAME(Lanes) *)(biases + outputs + o) += *(const NAME(Lanes) *)(at->du + n * outputs + o);
        }
#if REGISTERS >= 32
    for (long o = 0; o < outputs; o++)
        for (long n = 0; n < PIXELS; n++) at->planes[o * PIXELS + n] = at->dv[n * outputs + o];
#else
    for (long o = 0; o < outputs; o += SOME)
        for (long n = 0; n < PIXELS; n += SOME) {
            NAME(Lanes) v[SOME];
            for (int m = 0; m < SOME; m++) v[m] = *(const NAME(Lanes) *)(at->dv + (n + m) * outputs + o);
            NAME(turn)(v);
            for (int m = 0; m < SOME; m++) *(NAME(Lanes) *)(at->planes + (o + m) * PIXELS + n) = v[m];
        }
#endif
    for (long g = 0; g < groups; g++) {
        const long own = g * made;
        REAL *moves = at->moves + g * each * plane;
        NAME(products)(at->patch + g * each * plane, at->offsets, inputs, at->spots, PIXELS, at->dv + own, outputs, made,
                       first + own * inputs, made, 1);
        /* Input j of a pixel from output o: first [outputs, inputs], read by columns. */
        NAME(products)((const REAL *)job->first + own * inputs, at->taps, inputs, at->offsets + inputs, made,
                       at->planes + own * PIXELS, PIXELS, PIXELS, at->read, PIXELS, 0);
        for (long n = 0; n < inputs; n++)
            for (long y = 0; y < TILE; y++) {
                REAL *RESTRICT to = moves + at->offsets[n] + y * side;
                const REAL *from = at->read + n * PIXELS + y * TILE;
                for (int m = 0; m < TILE; m++) to[m] += from[m];
            }
    }
}

/* Strips of tiles start to stop: each has sums of its own, so that the number of threads changes nothing. */
static int NAME(difference_slopes)(const void *given, long start, long stop) {
    const DifferenceSlopes *job = given;
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, groups = (long)job->groups;
    const long outputs = (long)job->outputs, each = channels / groups, made = outputs / groups, kernel = (long)job->kernel;
    const long apart = (long)job->dilation, reach = kernel / 2 * apart, side = TILE + 2 * reach, plane = side * side;
    const long square = kernel * kernel, inputs = each * (square + 1), most = inputs > PIXELS ? inputs : PIXELS;
    const long columns_most = most > made ? most : made;
    REAL *memory = calloc((size_t)(4 * channels * plane + 4 * PIXELS * outputs + inputs * PIXELS), sizeof(REAL));
    long *numbers = malloc(sizeof(long) * (size_t)(inputs + made + 2 * PIXELS + columns_most));
    const int ready = memory && numbers;
    NAME(Bench) at = {.patch = memory, .offsets = numbers};
    at.moves = at.patch + 2 * channels * plane, at.v = at.moves + 2 * channels * plane;
    at.du = at.v + PIXELS * outputs, at.dv = at.du + PIXELS * outputs, at.planes = at.dv + PIXELS * outputs;
    at.read = at.planes + PIXELS * outputs;
    at.steps = at.offsets + inputs + made, at.spots = at.steps + PIXELS, at.taps = at.spots + PIXELS;
    for (long n = 0; ready && n < inputs; n++) {
        const long c = n / square, tap = n % square;
        at.offsets[n] = n < each * square ? c * plane + tap / kernel * apart * side + tap % kernel * apart
                                          : (channels + n - each * square) * plane + reach * side + reach;
    }
    for (long n = 0; ready && n < made; n++) at.offsets[inputs + n] = n * inputs;
    for (long n = 0; ready && n < PIXELS; n++) at.steps[n] = n * outputs, at.spots[n] = n / TILE * side + n % TILE;
    for (long n = 0; ready && n < columns_most; n++) at.taps[n] = n;
    for (long strip = start; ready && strip < stop; strip++) {
        const long top = strip * TILE, rows = high - top < TILE ? high - top : TILE;
        REAL *first = (REAL *)job->dfirst + strip * outputs * inputs, *inner = (REAL *)job->dinner + strip * outputs * made;
        REAL *biases = (REAL *)job->dbiases + strip * 2 * outputs, *key = (REAL *)job->dkey + strip * channels * side * wide;
        memset(first, 0, sizeof(REAL) * (size_t)(outputs * inputs)), memset(biases, 0, sizeof(REAL) * (size_t)(2 * outputs));
        memset(inner, 0, sizeof(REAL) * (size_t)(outputs * made));
        memset(key, 0, sizeof(REAL) * (size_t)(channels * side * wide));
        for (long left = 0; left < wide; left += TILE) {
            const long columns = wide - left < TILE ? wide - left : TILE;
            NAME(patch)(job->key, channels, high, wide, top - reach, left - reach, side, side, at.patch, side);
            NAME(patch)(job->query, channels, high, wide, top, left, TILE, TILE,
                        at.patch + channels * plane + reach * side + reach, side);
            NAME(through_last)(job, top, left, rows, columns, at.du);
            memset(at.moves, 0, sizeof(REAL) * (size_t)(2 * channels * plane));
            NAME(slopes_of_tile)(job, &at, side, first, inner, biases);
            /* What a repeated edge gets belongs to the edge. */
#if REGISTERS < 32
            const int inside = left >= reach && left - reach + side <= wide;
            for (long n = 0; inside && n < channels * side; n++) {
                REAL *RESTRICT to = key + n * wide + left - reach;
                for (long x = 0; x < side; x++) to[x] += at.moves[n * side + x];
            }
            if (!inside)
#endif
            for (long c = 0; c < channels; c++)
                for (long y = 0; y < side; y++)
                    for (long x = 0; x < side; x++) {
                        const long j = left - reach + x;
                        key[(c * side + y) * wide + (j < 0 ? 0 : j < wide ? j : wide - 1)] +=
                            at.moves[(c * side + y) * side + x];
                    }
            for (long c = 0; c < channels; c++)
                for (long y = 0; y < rows; y++)
                    memcpy((REAL *)job->dquery + (c * high + top + y) * wide + left,
                           at.moves + ((channels + c) * side + reach + y) * side + reach, sizeof(REAL) * (size_t)columns);
        }
    }
    free(memory), free(numbers);
    return ready;
}
