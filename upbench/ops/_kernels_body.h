/* Included by _points.c once for each REAL. Loops are written so that compilers take them in vectors. */

/* The corners of the cells of some points: pixels and bilinear weights, each corner's for all points. */
typedef struct {
    int *at[4];
    REAL *weight[4];
    char *reads; /* whether the point reads anything */
} NAME(Cells);

/* A corner outside the map weighs nothing and names the pixel inside that is nearest to it, which is another corner of
 * the same cell, so that nothing is read that the point does not weigh. What is read at a position that is infinite or
 * not a number is not a number. */
static ALWAYS_INLINE void NAME(find)(const REAL *columns, const REAL *rows, long count, const Job *job,
                                     const NAME(Cells) * to, long offset) {
    const int high = job->height, wide = job->width, border = job->border;
    int *RESTRICT at0 = to->at[0] + offset, *RESTRICT at1 = to->at[1] + offset;
    int *RESTRICT at2 = to->at[2] + offset, *RESTRICT at3 = to->at[3] + offset;
    REAL *RESTRICT w0 = to->weight[0] + offset, *RESTRICT w1 = to->weight[1] + offset;
    REAL *RESTRICT w2 = to->weight[2] + offset, *RESTRICT w3 = to->weight[3] + offset;
    char *RESTRICT reads = to->reads + offset;
    for (long p = 0; p < count; p++) {
        const REAL most_x = (REAL)(wide - 1), most_y = (REAL)(high - 1);
        REAL x = columns[p], y = rows[p];
        const int finite = (x >= -MOST) & (x <= MOST) & (y >= -MOST) & (y <= MOST);
        if (border) {
            x = x < 0 ? 0 : x > most_x ? most_x : x;
            y = y < 0 ? 0 : y > most_y ? most_y : y;
        }
        const int inside = (x > -1) & (x < most_x + 1) & (y > -1) & (y < most_y + 1);
        x = finite & inside ? x : 0;
        y = finite & inside ? y : 0;
        const REAL left = FLOOR(x), top = FLOOR(y), right = x - left, down = y - top;
        const int j = (int)left, i = (int)top;
        const REAL wl = j < 0 ? 0 : 1 - right, wr = j + 1 < wide ? right : 0;
        REAL wt = i < 0 ? 0 : 1 - down, wb = i + 1 < high ? down : 0;
        wt = finite ? wt : (REAL)NAN;
        wb = finite ? wb : (REAL)NAN;
        const int j0 = j < 0 ? 0 : j, j1 = j + 1 < wide ? j + 1 : wide - 1;
        const int i0 = (i < 0 ? 0 : i) * wide, i1 = (i + 1 < high ? i + 1 : high - 1) * wide;
        at0[p] = i0 + j0, at1[p] = i0 + j1, at2[p] = i1 + j0, at3[p] = i1 + j1;
        w0[p] = wt * wl, w1[p] = wt * wr, w2[p] = wb * wl, w3[p] = wb * wr;
        reads[p] = (char)(inside | !finite);
    }
}

static ALWAYS_INLINE REAL NAME(dot)(const REAL *a, const REAL *b, long n) {
    REAL sum = 0;
    for (long c = 0; c < n; c++) sum += a[c] * b[c];
    return sum;
}

/* The query against the four rows of keys of point p, which are blended on the way. */
static ALWAYS_INLINE REAL NAME(compare)(const REAL *q, const REAL *keys, long stride, const NAME(Cells) * cells, long p,
                                        long n) {
    const REAL *k0 = keys + cells->at[0][p] * stride, *k1 = keys + cells->at[1][p] * stride;
    const REAL *k2 = keys + cells->at[2][p] * stride, *k3 = keys + cells->at[3][p] * stride;
    const REAL w0 = cells->weight[0][p], w1 = cells->weight[1][p], w2 = cells->weight[2][p], w3 = cells->weight[3][p];
    REAL sum = 0;
    for (long c = 0; c < n; c++) sum += q[c] * (w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c]);
    return sum;
}

/* out = the weighted sum of points p to p + taps over n channels. n is a constant: the sum stays in registers. */
static ALWAYS_INLINE void NAME(weigh)(REAL *RESTRICT out, const REAL *x, long stride, const NAME(Cells) * cells, long p,
                                      const REAL *weights, long taps, long n) {
    REAL sum[MANY];
    for (long c = 0; c < n; c++) sum[c] = 0;
    for (long t = 0; t < taps; t++, p++) {
        if (!cells->reads[p]) continue;
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

/* Tiles start to stop. What the pixels of a tile read overlaps: a few channels of it at a time stay in the cache. */
CLONES
static int NAME(points)(const Job *job, long start, long stop) {
    const long taps = job->taps, heads = job->heads, blocks = job->blocks, all = job->groups * taps;
    const long per_group = blocks / job->groups, per_head = blocks / heads, across = (job->out_width + TILE - 1) / TILE;
    const long channels = job->channels, depth = job->depth, own = depth / heads;
    const REAL *x = job->x, *keys = job->keys, *embedding = job->embedding;
    NAME(Cells) cells;
    int *at = malloc(sizeof(int) * 4 * PIXELS * all);
    REAL *corner = malloc(sizeof(REAL) * 4 * PIXELS * all), *logits = malloc(sizeof(REAL) * PIXELS * heads * taps);
    cells.reads = malloc(PIXELS * all);
    const int ready = at && corner && logits && cells.reads;
    for (int k = 0; ready && k < 4; k++) cells.at[k] = at + k * PIXELS * all, cells.weight[k] = corner + k * PIXELS * all;
    for (long tile = start; ready && tile < stop; tile++) {
        const long top = tile / across * TILE, left = tile % across * TILE;
        long pixels[PIXELS], count = 0;
        for (long i = top; i < top + TILE && i < job->out_height; i++)
            for (long j = left; j < left + TILE && j < job->out_width; j++) pixels[count++] = i * job->out_width + j;
        for (long m = 0; m < count; m++)
            NAME(find)((const REAL *)job->columns + pixels[m] * all, (const REAL *)job->rows + pixels[m] * all, all, job,
                       &cells, m * all);
        for (long h = 0; keys && h < heads; h++) {
            const REAL *query = (const REAL *)job->query;
            for (long m = 0; m < count; m++)
                for (long t = 0; t < taps; t++)
                    logits[(m * heads + h) * taps + t] =
                        embedding ? NAME(dot)(query + pixels[m] * depth + h * own, embedding + (h * taps + t) * own, own)
                                  : 0;
            for (long b = h * per_head; b < (h + 1) * per_head; b++) {
                const long first = b / per_group * taps, from = b * (depth / blocks);
                for (long m = 0; m < count; m++)
                    for (long t = 0; t < taps; t++)
                        if (cells.reads[m * all + first + t])
                            logits[(m * heads + h) * taps + t] +=
                                NAME(compare)(query + pixels[m] * depth + from, keys + from, depth, &cells,
                                              m * all + first + t, depth / blocks);
            }
            for (long m = 0; x && m < count; m++)
                NAME(softmax)(logits + (m * heads + h) * taps, taps, (REAL)job->factor);
        }
        for (long m = 0; !keys && m < count; m++)
            for (long n = 0; n < heads * taps; n++)
                logits[m * heads * taps + n] =
                    job->weights ? ((const REAL *)job->weights)[pixels[m] * heads * taps + n] : 1;
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
                    if (step == MANY) NAME(weigh)(out, x + c, channels, &cells, p, by, taps, MANY);
                    if (step == SOME) NAME(weigh)(out, x + c, channels, &cells, p, by, taps, SOME);
                    if (step == 1) NAME(weigh)(out, x + c, channels, &cells, p, by, taps, 1);
                }
            }
        }
    }
    free(at), free(corner), free(logits), free(cells.reads);
    return ready;
}

#undef REAL
#undef NAME
#undef FLOOR
#undef EXP
#undef MOST
