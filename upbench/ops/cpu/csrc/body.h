/* Included by kernels.c once for each REAL. Loops are written so that compilers take them in vectors. */

/* The corners of the cells of some points: pixels and bilinear weights, each corner's for all points. The first pixel
 * of a point that reads nothing is -1. */
typedef struct {
    int *at[4];
    REAL *weight[4];
} NAME(Cells);

typedef WHOLE NAME(Order) __attribute__((vector_size(SOME * sizeof(REAL))));

/* The corners of some points, and how far each lies from the first along x and y. */
typedef struct {
    int *at[4];
    REAL *right, *down;
} NAME(Corners);

typedef REAL NAME(Lanes) __attribute__((vector_size(SOME * sizeof(REAL)), aligned(sizeof(REAL))));

/* A corner outside the map weighs nothing and names the pixel inside that is nearest to it, which is another corner of
 * the same cell, so that nothing is read that the point does not weigh. What is read at a position that is infinite or
 * not a number is not a number. */
static ALWAYS_INLINE void NAME(find)(const REAL *columns, const REAL *rows, long count, const Job *job,
                                     const NAME(Cells) * to) {
    const int high = (int)job->height, wide = (int)job->width, border = job->border;
    int *at0 = to->at[0], *at1 = to->at[1], *at2 = to->at[2], *at3 = to->at[3];
    REAL *w0 = to->weight[0], *w1 = to->weight[1], *w2 = to->weight[2], *w3 = to->weight[3];
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

/* The query against the four rows of keys of point p, which are blended on the way, and its embedding. n is a constant
 * where it is a common one. */
static ALWAYS_INLINE REAL NAME(compare)(const REAL *q, const REAL *keys, const REAL *embedding, long stride,
                                        const NAME(Cells) * cells, long p, long n) {
    REAL sum = 0;
    if (cells->at[0][p] < 0) {
        for (long c = 0; embedding && c < n; c++) sum += q[c] * embedding[c];
        return sum;
    }
    const REAL *k0 = keys + cells->at[0][p] * stride, *k1 = keys + cells->at[1][p] * stride;
    const REAL *k2 = keys + cells->at[2][p] * stride, *k3 = keys + cells->at[3][p] * stride;
    const REAL w0 = cells->weight[0][p], w1 = cells->weight[1][p], w2 = cells->weight[2][p], w3 = cells->weight[3][p];
    if (embedding)
        for (long c = 0; c < n; c++) sum += q[c] * (embedding[c] + w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c]);
    else
        for (long c = 0; c < n; c++) sum += q[c] * (w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c]);
    return sum;
}

/* out = the weighted sum of points p to p + taps over some lanes of channels, a constant: the sums stay in registers, two
 * of each, so that no addition waits for the one before. */
static ALWAYS_INLINE void NAME(weigh)(REAL *out, const REAL *x, long stride, const NAME(Cells) * cells, long p,
                                      const REAL *weights, long taps, const int lanes) {
    NAME(Lanes) top[MANY / SOME], bottom[MANY / SOME];
    for (int n = 0; n < lanes; n++) top[n] = bottom[n] = (NAME(Lanes)){0};
    for (long t = 0; t < taps; t++, p++) {
        if (cells->at[0][p] < 0) continue;
        const REAL *k0 = x + cells->at[0][p] * stride, *k1 = x + cells->at[1][p] * stride;
        const REAL *k2 = x + cells->at[2][p] * stride, *k3 = x + cells->at[3][p] * stride;
        const REAL by = weights[t], w0 = by * cells->weight[0][p], w1 = by * cells->weight[1][p];
        const REAL w2 = by * cells->weight[2][p], w3 = by * cells->weight[3][p];
        for (int n = 0; n < lanes; n++) {
            top[n] += w0 * *(const NAME(Lanes) *)(k0 + n * SOME);
            bottom[n] += w2 * *(const NAME(Lanes) *)(k2 + n * SOME);
            top[n] += w1 * *(const NAME(Lanes) *)(k1 + n * SOME);
            bottom[n] += w3 * *(const NAME(Lanes) *)(k3 + n * SOME);
        }
    }
    for (int n = 0; n < lanes; n++) *(NAME(Lanes) *)(out + n * SOME) = top[n] + bottom[n];
}

/* n numbers as a result of half precision holds them. */
static ALWAYS_INLINE void NAME(halve)(const REAL *from, uint16_t *RESTRICT to, long n, int form) {
    if (form == BRAIN)
        for (long c = 0; c < n; c++) to[c] = brain_of((float)from[c]);
    else
        for (long c = 0; c < n; c++) to[c] = half_of((float)from[c]);
}

/* The same of one channel. */
static ALWAYS_INLINE void NAME(weigh_one)(REAL *out, const REAL *x, long stride, const NAME(Cells) * cells, long p,
                                          const REAL *weights, long taps) {
    REAL sum = 0;
    for (long t = 0; t < taps; t++, p++)
        for (int k = 0; cells->at[0][p] >= 0 && k < 4; k++)
            sum += weights[t] * cells->weight[k][p] * x[cells->at[k][p] * stride];
    *out = sum;
}

/* Softmax over the taps of logits times factor, for some rows of taps, in place: the powers of all of them at once. */
static ALWAYS_INLINE void NAME(softmax)(REAL *logits, long rows, long taps, REAL factor) {
    for (long n = 0; n < rows; n++) {
        REAL *row = logits + n * taps, most = row[0] * factor;
        for (long t = 0; t < taps; t++) {
            row[t] *= factor;
            most = row[t] > most ? row[t] : most;
        }
        for (long t = 0; t < taps; t++) row[t] -= most;
    }
    for (long n = 0; n < rows * taps; n++) logits[n] = EXP(logits[n]);
    for (long n = 0; n < rows; n++) {
        REAL *row = logits + n * taps, sum = 0;
        for (long t = 0; t < taps; t++) sum += row[t];
        sum = 1 / sum;
        for (long t = 0; t < taps; t++) row[t] *= sum;
    }
}

#include "tile.h"

/* Tiles start to stop. What the pixels of a tile read overlaps: a few channels of it at a time stay in the cache. */
CLONES
static int NAME(points)(const Job *job, long start, long stop) {
    const long taps = job->taps, heads = job->heads, blocks = job->blocks, all = job->groups * taps;
    const long per_group = blocks / job->groups, per_head = blocks / heads, across = (job->out_width + TILE - 1) / TILE;
    const long channels = job->channels, depth = job->depth, own = depth / heads, each = depth / blocks;
    const long pitch = job->key_pitch;
    const REAL *x = job->x, *keys = job->keys, *embedding = job->embedding;
    const long side = TILE + job->kernel, derived = job->predictor ? 1 : 0, guided = job->guide ? 1 : 0;
    const long around = derived * (side + 2) * (side + 2) * depth + guided * PIXELS * depth;
    const long local = derived * side * side * depth + guided * PIXELS * job->guide_channels;
    /* For each point of a tile its x and y, its four corners and two offsets. */
    int *at = malloc(sizeof(int) * 4 * PIXELS * all);
    REAL *reals = malloc(sizeof(REAL) * (8 * PIXELS * all + PIXELS * heads * taps + around + local));
    const int ready = at && reals;
    NAME(Cells) cells;
    NAME(Tile) tile;
    for (int k = 0; ready && k < 4; k++)
        cells.at[k] = at + k * PIXELS * all, cells.weight[k] = reals + k * PIXELS * all;
    tile.columns = reals + 4 * PIXELS * all, tile.rows = tile.columns + PIXELS * all;
    tile.raw = tile.rows + PIXELS * all, tile.around = tile.raw + 2 * PIXELS * all, tile.local = tile.around + around;
    REAL *logits = tile.local + local;
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
                const REAL *block = keys + b * job->key_step;
                for (long m = 0; m < count; m++)
                    for (long t = 0; t < taps; t++) {
                        const REAL *q = tile.query + tile.near[m] + from;
                        const REAL *e = embedding ? embedding + (h * taps + t) * own + from - h * own : NULL;
                        const long p = m * all + first + t;
                        const REAL dot = each == 2 * SOME ? NAME(compare)(q, block, e, pitch, &cells, p, 2 * SOME)
                                                          : NAME(compare)(q, block, e, pitch, &cells, p, each);
                        REAL *to = logits + (m * heads + h) * taps + t;
                        *to = b == h * per_head ? dot : *to + dot;
                    }
            }
        }
        if (keys && x) NAME(softmax)(logits, count * heads, taps, (REAL)job->factor);
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
                const long left = job->x_slice - c % job->x_slice, most = end - c < left ? end - c : left;
                const REAL *from = x + c / job->x_slice * job->x_step + c % job->x_slice;
                step = most >= MANY ? MANY : most >= 2 * SOME ? 2 * SOME : most >= SOME ? SOME : 1;
                for (long m = 0; m < count; m++) {
                    const REAL *by = logits + (m * heads + h) * taps;
                    REAL part[MANY], *out = job->form ? part : (REAL *)job->out + pixels[m] * channels + c;
                    const long p = m * all + first;
                    if (step == MANY) NAME(weigh)(out, from, job->x_pitch, &cells, p, by, taps, MANY / SOME);
                    if (step == 2 * SOME) NAME(weigh)(out, from, job->x_pitch, &cells, p, by, taps, 2);
                    if (step == SOME) NAME(weigh)(out, from, job->x_pitch, &cells, p, by, taps, 1);
                    if (step == 1) NAME(weigh_one)(out, from, job->x_pitch, &cells, p, by, taps);
                    if (job->form) NAME(halve)(part, (uint16_t *)job->out + pixels[m] * channels + c, step, job->form);
                }
            }
        }
    }
    free(at), free(reals);
    return ready;
}

#include "cells.h"
#include "neighbours.h"
#include "slopes.h"

#undef REAL
#undef NAME
#undef FLOOR
#undef EXP
#undef ERF
#undef TANH
#undef SQRT
#undef MOST
#undef WHOLE
