/* Included by _points.c once for each REAL. Loops are written so that compilers take them in vectors. */

/* The corners of the cells of some points: pixels and bilinear weights, each corner's for all points. The first pixel
 * of a point that reads nothing is -1. */
typedef struct {
    int *at[4];
    REAL *weight[4];
} NAME(Cells);

typedef REAL NAME(Lanes) __attribute__((vector_size(SOME * sizeof(REAL)), aligned(sizeof(REAL))));

/* A corner outside the map weighs nothing and names the pixel inside that is nearest to it, which is another corner of
 * the same cell, so that nothing is read that the point does not weigh. What is read at a position that is infinite or
 * not a number is not a number. */
static ALWAYS_INLINE void NAME(find)(const REAL *columns, const REAL *rows, long count, const Job *job,
                                     const NAME(Cells) * to) {
    const int high = (int)job->height, wide = (int)job->width, border = job->border;
    int *RESTRICT at0 = to->at[0], *RESTRICT at1 = to->at[1];
    int *RESTRICT at2 = to->at[2], *RESTRICT at3 = to->at[3];
    REAL *RESTRICT w0 = to->weight[0], *RESTRICT w1 = to->weight[1];
    REAL *RESTRICT w2 = to->weight[2], *RESTRICT w3 = to->weight[3];
    const REAL last_x = (REAL)(wide - 1), last_y = (REAL)(high - 1);
    const REAL least = border ? 0 : -2, most_x = border ? last_x : last_x + 2, most_y = border ? last_y : last_y + 2;
    INDEPENDENT
    for (long p = 0; p < count; p++) {
        const int finite =
            (columns[p] >= -MOST) & (columns[p] <= MOST) & (rows[p] >= -MOST) & (rows[p] <= MOST);
        /* What is no number compares as false, and is clamped like the others. */
        REAL x = columns[p] >= least ? columns[p] : least, y = rows[p] >= least ? rows[p] : least;
        x = x <= most_x ? x : most_x, y = y <= most_y ? y : most_y;
        const REAL left = FLOOR(x), top = FLOOR(y);
        const int j = (int)left, i = (int)top;
        const REAL wl = (j >= 0) & (j < wide) ? 1 - (x - left) : 0, wr = (j >= -1) & (j + 1 < wide) ? x - left : 0;
        REAL wt = (i >= 0) & (i < high) ? 1 - (y - top) : 0, wb = (i >= -1) & (i + 1 < high) ? y - top : 0;
        wt = finite ? wt : (REAL)NAN, wb = finite ? wb : (REAL)NAN;
        const int j0 = j < 0 ? 0 : j < wide ? j : wide - 1, j1 = j < -1 ? 0 : j + 1 < wide ? j + 1 : wide - 1;
        const int i0 = (i < 0 ? 0 : i < high ? i : high - 1) * wide;
        const int i1 = (i < -1 ? 0 : i + 1 < high ? i + 1 : high - 1) * wide;
        const int reads = (x > -1) & (x < last_x + 1) & (y > -1) & (y < last_y + 1);
        at0[p] = reads | !finite ? i0 + j0 : -1, at1[p] = i0 + j1, at2[p] = i1 + j0, at3[p] = i1 + j1;
        w0[p] = wt * wl, w1[p] = wt * wr, w2[p] = wb * wl, w3[p] = wb * wr;
    }
}

/* The query against the four rows of keys of point p, which are blended on the way, and against its embedding. n is a
 * constant where it is a common one. */
static ALWAYS_INLINE REAL NAME(compare)(const REAL *q, const REAL *keys, const REAL *embedding, long stride,
                                        const NAME(Cells) * cells, long p, long n) {
    REAL sum = 0;
    for (long c = 0; embedding && c < n; c++) sum += q[c] * embedding[c];
    if (cells->at[0][p] < 0) return sum;
    const REAL *k0 = keys + cells->at[0][p] * stride, *k1 = keys + cells->at[1][p] * stride;
    const REAL *k2 = keys + cells->at[2][p] * stride, *k3 = keys + cells->at[3][p] * stride;
    const REAL w0 = cells->weight[0][p], w1 = cells->weight[1][p], w2 = cells->weight[2][p], w3 = cells->weight[3][p];
    for (long c = 0; c < n; c++) sum += q[c] * (w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c]);
    return sum;
}

/* out = the weighted sum of points p to p + taps over n channels. n is a constant: the sum stays in registers. */
static ALWAYS_INLINE void NAME(weigh)(REAL *RESTRICT out, const REAL *x, long stride, const NAME(Cells) * cells, long p,
                                      const REAL *weights, long taps, long n) {
    REAL sum[MANY];
    for (long c = 0; c < n; c++) sum[c] = 0;
    for (long t = 0; t < taps; t++, p++) {
        if (cells->at[0][p] < 0) continue;
        const REAL *k0 = x + cells->at[0][p] * stride, *k1 = x + cells->at[1][p] * stride;
        const REAL *k2 = x + cells->at[2][p] * stride, *k3 = x + cells->at[3][p] * stride;
        const REAL by = weights[t], w0 = by * cells->weight[0][p], w1 = by * cells->weight[1][p];
        const REAL w2 = by * cells->weight[2][p], w3 = by * cells->weight[3][p];
        for (long c = 0; c < n; c++) sum[c] += w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c];
    }
    for (long c = 0; c < n; c++) out[c] = sum[c];
}

/* Softmax of logits times factor over the taps, in place. */
static ALWAYS_INLINE void NAME(softmax)(REAL *logits, long taps, REAL factor) {
    REAL most = logits[0] * factor, sum = 0;
    for (long t = 0; t < taps; t++) {
        logits[t] *= factor;
        most = logits[t] > most ? logits[t] : most;
    }
    for (long t = 0; t < taps; t++) logits[t] = EXP(logits[t] - most);
    for (long t = 0; t < taps; t++) sum += logits[t];
    for (long t = 0; t < taps; t++) logits[t] /= sum;
}

/* The query at the pixels of a square of a side, interpolated from corner to corner; zero outside the map. */
static ALWAYS_INLINE void NAME(resize)(const Job *job, long top, long left, long side, REAL *RESTRICT to) {
    const long depth = job->depth, high = job->height, wide = job->width;
    const REAL tall = job->out_height > 1 ? (REAL)(high - 1) / (REAL)(job->out_height - 1) : 0;
    const REAL broad = job->out_width > 1 ? (REAL)(wide - 1) / (REAL)(job->out_width - 1) : 0;
    for (long n = 0; n < side * side; n++, to += depth) {
        const long i = top + n / side, j = left + n % side;
        if (i < 0 || j < 0 || i >= job->out_height || j >= job->out_width) {
            memset(to, 0, sizeof(REAL) * depth);
            continue;
        }
        const REAL y = tall * (REAL)i, x = broad * (REAL)j;
        const long above = (long)y, before = (long)x, below = above + (above + 1 < high);
        const long after = before + (before + 1 < wide);
        const REAL down = y - (REAL)above, right = x - (REAL)before;
        const REAL w0 = (1 - down) * (1 - right), w1 = (1 - down) * right, w2 = down * (1 - right), w3 = down * right;
        const REAL *q0 = (const REAL *)job->query + (above * wide + before) * job->query_pitch;
        const REAL *q1 = (const REAL *)job->query + (above * wide + after) * job->query_pitch;
        const REAL *q2 = (const REAL *)job->query + (below * wide + before) * job->query_pitch;
        const REAL *q3 = (const REAL *)job->query + (below * wide + after) * job->query_pitch;
        for (long c = 0; c < depth; c++) to[c] = w0 * q0[c] + w1 * q1[c] + w2 * q2[c] + w3 * q3[c];
    }
}

/* Depthwise 3x3 filter, layer norm over `each` channels, GELU, at one pixel. Filters: [9, each]. */
static ALWAYS_INLINE void NAME(activate)(const REAL *in, const long *steps, const REAL *filters, const REAL *gamma,
                                         const REAL *beta, REAL eps, REAL *RESTRICT out, long each) {
    REAL mean = 0, spread = 0;
    for (long c = 0; c < each; c++) {
        REAL sum = 0;
        for (int k = 0; k < 9; k++) sum += filters[k * each + c] * in[steps[k] + c];
        out[c] = sum;
        mean += sum;
    }
    mean /= (REAL)each;
    for (long c = 0; c < each; c++) spread += (out[c] - mean) * (out[c] - mean);
    const REAL factor = 1 / SQRT(spread / (REAL)each + eps);
    for (long c = 0; c < each; c++) {
        const REAL v = (out[c] - mean) * factor * gamma[c] + beta[c];
        out[c] = v / 2 * (1 + ERF(v * (REAL)0.70710678118654752));
    }
}

/* The outputs of a small convolution at a row of TILE pixels, `apart` from each other in `to`. in: for each of the k rows
 * of its window, `stride` apart, the first of `run` numbers that the first pixel reads, `step` apart; those of the next
 * pixel are `pitch` further. weight: [outputs / SOME, k, run, SOME], then [what remains, k, run]. */
static ALWAYS_INLINE void NAME(predict)(const REAL *in, long stride, long pitch, long step, long k, long run,
                                        const REAL *weight, const REAL *bias, long outputs, REAL *RESTRICT to, long apart) {
    const long whole = outputs / SOME * SOME;
    for (long o = 0; o < whole; o += SOME) {
        NAME(Lanes) sum[TILE];
        for (int m = 0; m < TILE; m++) sum[m] = *(const NAME(Lanes) *)(bias + o);
        for (long y = 0; y < k; y++)
            for (long c = 0; c < run; c++, weight += SOME)
                for (int m = 0; m < TILE; m++)
                    sum[m] += in[y * stride + m * pitch + c * step] * *(const NAME(Lanes) *)weight;
        for (int m = 0; m < TILE; m++) *(NAME(Lanes) *)(to + m * apart + o) = sum[m];
    }
    for (long o = whole; o < outputs; o++, weight += k * run)
        for (int m = 0; m < TILE; m++) {
            REAL sum = bias[o];
            for (long y = 0; y < k; y++)
                for (long c = 0; c < run; c++) sum += in[y * stride + m * pitch + c * step] * weight[y * run + c];
            to[m * apart + o] = sum;
        }
}

/* What a tile of pixels reads: their queries (each at `near` in `query`) and the x and y of their points. */
typedef struct {
    REAL *around, *local, *raw, *columns, *rows;
    const REAL *query;
    long near[PIXELS];
} NAME(Tile);

/* Points that were given, or offsets from the pixel of the map that is the parent: [H, W, spread, (x, y), all]. */
static ALWAYS_INLINE void NAME(fetch)(const Job *job, const long *pixels, long count, NAME(Tile) * tile) {
    const long all = job->groups * job->taps, scale = job->scale;
    for (long m = 0; m < count; m++) {
        REAL *RESTRICT columns = tile->columns + m * all, *RESTRICT rows = tile->rows + m * all;
        if (!scale) {
            memcpy(columns, (const REAL *)job->columns + pixels[m] * all, sizeof(REAL) * all);
            memcpy(rows, (const REAL *)job->rows + pixels[m] * all, sizeof(REAL) * all);
            continue;
        }
        const long i = pixels[m] / job->out_width, j = pixels[m] % job->out_width;
        const long child = job->spread > 1 ? i % scale * scale + j % scale : 0;
        const REAL *from =
            (const REAL *)job->columns + (i / scale * job->width + j / scale) * job->point_pitch + child * 2 * all;
        for (long n = 0; n < all; n++) columns[n] = from[n] + (REAL)(j / scale);
        for (long n = 0; n < all; n++) rows[n] = from[all + n] + (REAL)(i / scale);
    }
}

/* Queries made of the guide [channels, H', W'] by a pointwise convolution: bias, then weight as `predict` takes it. */
static ALWAYS_INLINE void NAME(project)(const Job *job, const long *pixels, long count, NAME(Tile) * tile) {
    const long inner = job->guide_channels, depth = job->depth, pitch = job->guide_pitch;
    const long wide = job->out_width - pixels[0] % job->out_width < TILE ? job->out_width - pixels[0] % job->out_width : TILE;
    const REAL *numbers = job->projection;
    for (long c = 0; c < inner; c++)
        for (long m = 0; m < count; m += wide) {
            const REAL *from = (const REAL *)job->guide + c * job->guide_step + pixels[m] * pitch;
            REAL *RESTRICT to = tile->local + c * PIXELS + m;
            if (wide == TILE && pitch == 1)
                for (int n = 0; n < TILE; n++) to[n] = from[n];
            else
                for (long n = 0; n < wide; n++) to[n] = from[n * pitch];
        }
    for (long m = 0; m < count; m += TILE)
        NAME(predict)(tile->local + m, 0, 1, PIXELS, 1, inner, numbers + depth, numbers, depth,
                      tile->around + m * depth, depth);
}

/* Queries and points made of the low-resolution query by the predictor of LDA-AQU. Its numbers lie one after another:
 * filters [9, each], gamma, beta, bias [x of all taps, y of all taps], weight as `predict` takes it. */
static ALWAYS_INLINE void NAME(derive)(const Job *job, long top, long left, const long *pixels, long count,
                                       NAME(Tile) * tile) {
    const long depth = job->depth, groups = job->groups, taps = job->taps, each = depth / groups, k = job->kernel;
    const long near = k / 2, side = TILE + 2 * near, wide = side + 2, outputs = 2 * taps;
    const REAL *filters = job->predictor, *gamma = filters + 9 * each, *beta = gamma + each, *bias = beta + each;
    const REAL *weight = bias + outputs;
    long steps[9];
    for (int n = 0; n < 9; n++) steps[n] = (n / 3 * wide + n % 3) * depth;
    NAME(resize)(job, top - near - 1, left - near - 1, wide, tile->around);
    for (long n = 0; n < side * side; n++) {
        const long i = n / side, j = n % side, y = top - near + i, x = left - near + j;
        const int inside = y >= 0 && x >= 0 && y < job->out_height && x < job->out_width;
        for (long g = 0; g < groups; g++) {
            const REAL *in = tile->around + (i * wide + j) * depth + g * each;
            REAL *to = tile->local + (g * side * side + n) * each;
            if (!inside)
                memset(to, 0, sizeof(REAL) * each);
            else if (each == 2 * SOME)
                NAME(activate)(in, steps, filters, gamma, beta, (REAL)job->eps, to, 2 * SOME);
            else
                NAME(activate)(in, steps, filters, gamma, beta, (REAL)job->eps, to, each);
        }
    }
    for (long g = 0; g < groups; g++)
        for (long i = 0; i < TILE; i++)
            NAME(predict)(tile->local + (g * side + i) * side * each, side * each, each, 1, k, k * each, weight, bias,
                          outputs, tile->raw + (i * TILE * groups + g) * outputs, groups * outputs);
    const long values = PIXELS * groups * outputs;
    const REAL theta = (REAL)job->theta;
    REAL *RESTRICT raw = tile->raw;
    for (long n = 0; n < values; n++) raw[n] = theta * TANH(raw[n]);
    const REAL high = (REAL)(job->height - 1), broad = (REAL)(job->width - 1);
    const REAL down = (REAL)(job->out_height > 1 ? job->out_height - 1 : 1);
    const REAL right = (REAL)(job->out_width > 1 ? job->out_width - 1 : 1);
    const long across = (long)(SQRT((REAL)taps) + (REAL)0.5);
    for (long m = 0; m < count; m++) {
        const long i = pixels[m] / job->out_width - top, j = pixels[m] % job->out_width - left;
        const REAL y = (REAL)(top + i), x = (REAL)(left + j);
        tile->near[m] = ((i + near + 1) * wide + j + near + 1) * depth;
        for (long g = 0; g < groups; g++) {
            const REAL *move = raw + ((i * TILE + j) * groups + g) * outputs;
            REAL *columns = tile->columns + (m * groups + g) * taps, *rows = tile->rows + (m * groups + g) * taps;
            for (long t = 0; t < taps; t++) {
                const REAL step_x = move[t] + (REAL)(t % across - across / 2);
                const REAL step_y = move[taps + t] + (REAL)(t / across - across / 2);
                /* Multiplied before it is divided: the last pixel falls on the last exactly. */
                columns[t] = job->inward ? x * broad / right + step_x : (x + step_x) * broad / right;
                rows[t] = job->inward ? y * high / down + step_y : (y + step_y) * high / down;
            }
        }
    }
}

/* Tiles start to stop. What the pixels of a tile read overlaps: a few channels of it at a time stay in the cache. */
CLONES
static int NAME(points)(const Job *job, long start, long stop) {
    const long taps = job->taps, heads = job->heads, blocks = job->blocks, all = job->groups * taps;
    const long per_group = blocks / job->groups, per_head = blocks / heads, across = (job->out_width + TILE - 1) / TILE;
    const long channels = job->channels, depth = job->depth, own = depth / heads, each = depth / blocks;
    const REAL *x = job->x, *keys = job->keys, *embedding = job->embedding;
    const long side = TILE + job->kernel, derived = job->predictor ? 1 : 0, guided = job->guide ? 1 : 0;
    const long sizes[] = {PIXELS * all,
                          PIXELS * all,
                          4 * PIXELS * all,
                          PIXELS * heads * taps,
                          derived * (side + 2) * (side + 2) * depth + guided * PIXELS * depth,
                          derived * side * side * depth + guided * PIXELS * job->guide_channels,
                          derived * 2 * PIXELS * all};
    long total = 0;
    for (int n = 0; n < 7; n++) total += sizes[n];
    int *at = malloc(sizeof(int) * 4 * PIXELS * all);
    REAL *reals = malloc(sizeof(REAL) * total);
    const int ready = at && reals;
    REAL *parts[7];
    for (int n = 0; ready && n < 7; n++) parts[n] = n ? parts[n - 1] + sizes[n - 1] : reals;
    NAME(Cells) cells;
    NAME(Tile) tile;
    REAL *logits = NULL;
    if (ready) {
        for (int k = 0; k < 4; k++) cells.at[k] = at + k * PIXELS * all, cells.weight[k] = parts[2] + k * PIXELS * all;
        tile.columns = parts[0], tile.rows = parts[1], logits = parts[3];
        tile.around = parts[4], tile.local = parts[5], tile.raw = parts[6];
    }
    for (long n = start; ready && n < stop; n++) {
        const long top = n / across * TILE, left = n % across * TILE;
        long pixels[PIXELS], count = 0;
        for (long i = top; i < top + TILE && i < job->out_height; i++)
            for (long j = left; j < left + TILE && j < job->out_width; j++) pixels[count++] = i * job->out_width + j;
        if (derived)
            NAME(derive)(job, top, left, pixels, count, &tile);
        else
            NAME(fetch)(job, pixels, count, &tile);
        if (guided) NAME(project)(job, pixels, count, &tile);
        tile.query = derived || guided ? tile.around : job->query;
        for (long m = 0; m < count && !derived; m++) tile.near[m] = guided ? m * depth : pixels[m] * job->query_pitch;
        NAME(find)(tile.columns, tile.rows, count * all, job, &cells);
        for (long h = 0; keys && h < heads; h++) {
            for (long b = h * per_head; b < (h + 1) * per_head; b++) {
                const long first = b / per_group * taps, from = b * each;
                for (long m = 0; m < count; m++)
                    for (long t = 0; t < taps; t++) {
                        const REAL *q = tile.query + tile.near[m] + from;
                        const REAL *e = embedding ? embedding + (h * taps + t) * own + from - h * own : NULL;
                        const long p = m * all + first + t;
                        const REAL dot = each == 2 * SOME ? NAME(compare)(q, keys + from, e, job->key_pitch, &cells, p, 2 * SOME)
                                                          : NAME(compare)(q, keys + from, e, job->key_pitch, &cells, p, each);
                        REAL *to = logits + (m * heads + h) * taps + t;
                        *to = b == h * per_head ? dot : *to + dot;
                    }
            }
            for (long m = 0; x && m < count; m++)
                NAME(softmax)(logits + (m * heads + h) * taps, taps, (REAL)job->factor);
        }
        for (long m = 0; !keys && m < count; m++)
            for (long t = 0; t < heads * taps; t++)
                logits[m * heads * taps + t] =
                    job->weights ? ((const REAL *)job->weights)[pixels[m] * heads * taps + t] : 1;
        if (!x)
            for (long m = 0; m < count; m++)
                memcpy((REAL *)job->out + pixels[m] * heads * taps, logits + m * heads * taps,
                       sizeof(REAL) * heads * taps);
        for (long b = 0; x && b < blocks; b++) {
            const long first = b / per_group * taps, h = b / per_head, end = (b + 1) * (channels / blocks);
            for (long c = b * (channels / blocks), step; c < end; c += step) {
                step = end - c >= MANY ? MANY : end - c >= SOME ? SOME : 1;
                for (long m = 0; m < count; m++) {
                    const REAL *by = logits + (m * heads + h) * taps;
                    REAL *out = (REAL *)job->out + pixels[m] * channels + c;
                    const long p = m * all + first;
                    if (step == MANY) NAME(weigh)(out, x + c, job->x_pitch, &cells, p, by, taps, MANY);
                    if (step == SOME) NAME(weigh)(out, x + c, job->x_pitch, &cells, p, by, taps, SOME);
                    if (step == 1) NAME(weigh)(out, x + c, job->x_pitch, &cells, p, by, taps, 1);
                }
            }
        }
    }
    free(at), free(reals);
    return ready;
}

#undef REAL
#undef NAME
#undef FLOOR
#undef EXP
#undef ERF
#undef TANH
#undef SQRT
#undef MOST
