/* Included by point_kinds.h. Loops are written so that compilers take them in vectors. */

/* The corners of the cells of some points: pixels and bilinear weights, each corner's for all points. The first pixel
 * of a point that reads nothing is -1. */
typedef struct {
    int *at[4];
    REAL *weight[4];
#if REGISTERS < 32
    long apart; /* from those of a corner to those of the next, of both */
#endif
} NAME(Cells);

/* The first place in some memory where a vector lies in one line of the cache. ALIGNED bytes more are needed. */
static ALWAYS_INLINE REAL *NAME(aligned)(void *memory) {
    return (REAL *)(((uintptr_t)memory + ALIGNED - 1) / ALIGNED * ALIGNED);
}

/* The corners of some points, and how far each lies from the first along x and y. */
typedef struct {
    int *at[4];
    REAL *right, *down;
} NAME(Corners);

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

/* Softmax over the taps of logits times factor, for some rows of taps: the powers of all of them at once. Returns where it lies:
 * in place, or where a row is a vector in `other`, which has room for SOME more numbers. */
static ALWAYS_INLINE REAL *NAME(softmax)(REAL *logits, REAL *other, long rows, long taps, REAL factor) {
#if SOME == 16 && !WIDE && defined(__AVX512F__)
    if (taps <= SOME) {
        const __mmask16 used = (__mmask16)((1 << taps) - 1);
        for (long n = 0; n < rows; n++) { /* what is written beyond a row belongs to the next one, which comes later */
            const __m512 row = _mm512_mul_ps(_mm512_maskz_loadu_ps(used, logits + n * taps), _mm512_set1_ps(factor));
            const __m512 v = _mm512_sub_ps(row, _mm512_set1_ps(_mm512_mask_reduce_max_ps(used, row)));
            const __m512 power = _mm512_maskz_mov_ps(used, (__m512)NAME(exp)((NAME(Lanes))v));
            _mm512_storeu_ps(other + n * taps, _mm512_mul_ps(power, _mm512_set1_ps(1 / _mm512_reduce_add_ps(power))));
        }
        return other;
    }
#endif
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
    return logits;
}

#include "tile.h"
#include "reads.h"

#undef GUIDES /* pixels of the guide that are held */
#if REGISTERS < 32
#define GUIDES (2 * PIXELS)
#else
#define GUIDES PIXELS
#endif

/* Tiles start to stop. */
static int NAME(points)(const void *given, long start, long stop) {
    const Job *job = given;
    const long taps = job->taps, heads = job->heads, all = job->groups * taps, depth = job->depth;
    const long across = (job->out_width + TILE - 1) / TILE, down = (job->out_height + TILE - 1) / TILE;
    const long side = TILE + job->kernel, derived = job->predictor ? 1 : 0, guided = job->guide ? 1 : 0;
    const long around = derived * (side + 2) * (side + 2) * depth + guided * PIXELS * depth;
    const long room = derived ? NAME(room_for_squares)(depth / job->groups, 2 * taps) : 0;
    const long local = derived * side * side * depth + guided * GUIDES * job->guide_channels;
    /* For each point of a tile its x and y, its four corners and two offsets. */
    int *at = malloc(sizeof(int) * (size_t)(4 * PIXELS * all));
    REAL *reals = malloc(sizeof(REAL) * (size_t)(8 * PIXELS * all + 2 * PIXELS * heads * taps + SOME + PIXELS * taps + SOME + around + local + room) + ALIGNED);
    NAME(Read) *reads = malloc(sizeof(NAME(Read)) * (size_t)(PIXELS * taps + 1));
    const int ready = at && reals && reads;
#if REGISTERS < 32
    long held = -1; /* the tile whose guide was read with that of the one before */
#endif
    NAME(Cells) cells;
#if REGISTERS < 32
    cells.apart = PIXELS * all;
#endif
    NAME(Tile) tile;
    tile.around = NAME(aligned)(reals), tile.local = tile.around + around;
    tile.room = tile.local + local;
    REAL *numbers = tile.room + room;
    for (int k = 0; ready && k < 4; k++)
        cells.at[k] = at + k * PIXELS * all, cells.weight[k] = numbers + k * PIXELS * all;
    tile.columns = numbers + 4 * PIXELS * all, tile.rows = tile.columns + PIXELS * all;
    tile.raw = tile.rows + PIXELS * all;
    REAL *logits = tile.raw + 2 * PIXELS * all, *powers = logits + PIXELS * heads * taps, *dots = powers + PIXELS * heads * taps + SOME;
    for (long n = start; ready && n < stop; n++) {
        const long top = n / across * TILE, left = n % across * TILE;
        long pixels[PIXELS], count = 0;
        for (long i = top; i < top + TILE && i < job->out_height; i++)
            for (long j = left; j < left + TILE && j < job->out_width; j++) pixels[count++] = i * job->out_width + j;
        if (derived)
            NAME(derive)(job, top, left, pixels, count, &tile);
        else
            NAME(fetch)(job, pixels, count, &tile);
        if (job->scale && n + 1 < across * down) NAME(ask_for)(job, (n + 1) / across * TILE, (n + 1) % across * TILE);
#if REGISTERS < 32
        if (guided) {
            const int two = n % across % 2 == 0 && n + 1 < stop && left + 2 * TILE <= job->out_width &&
                            count == PIXELS && job->guide_pitch == 1;
            NAME(project)(job, pixels, count, &tile, -1, two, held == n);
            if (two) held = n + 1;
        }
#else
        if (guided) {
            const long next = (n + 1) / across * TILE * job->out_width + (n + 1) % across * TILE;
            NAME(project)(job, pixels, count, &tile, n + 1 < across * down && job->guide_pitch == 1 ? next : -1, 0, 0);
        }
#endif
        tile.query = derived || guided ? tile.around : job->query;
        for (long m = 0; m < count && !derived; m++) tile.near[m] = guided ? m * depth : pixels[m] * job->query_pitch;
        NAME(find)(tile.columns, tile.rows, count * all, job, &cells);
        if (job->keys) NAME(compare_all)(job, &tile, &cells, count, logits, dots);
        const REAL *weights = logits;
        if (job->keys && job->x) weights = NAME(softmax)(logits, powers, count * heads, taps, (REAL)job->factor);
        for (long m = 0; !job->keys && m < count; m++)
            for (long t = 0; t < heads * taps; t++)
                logits[m * heads * taps + t] =
                    job->weights ? ((const REAL *)job->weights)[pixels[m] * heads * taps + t] : 1;
        if (job->x) NAME(weigh_all)(job, &cells, pixels, count, weights, reads);
        for (long m = 0; !job->x && m < count; m++)
            memcpy((REAL *)job->out + pixels[m] * heads * taps, logits + m * heads * taps,
                   sizeof(REAL) * (size_t)(heads * taps));
    }
    FENCE;
    free(at), free(reals), free(reads);
    return ready;
}

#include "normed.h"
#include "cells.h"
#include "neighbours.h"
#include "slopes.h"
