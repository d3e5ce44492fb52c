/* Included by forms.h for each pair of types: windows of low-resolution pixels, which all output pixels of a cell share.
 *
 * A cell is a low-resolution pixel with the output pixels whose parent it is, its children. Each row of channels of its window
 * is read once for up to four of them. A tile is a row of cells. */

/* What a thread works in. at, tap: where in memory the pixels of a window that lie inside lie, and which taps these are. */
typedef struct {
    const STORED **at;
    long *tap;
    long inside, taps;
    REAL *weights; /* [CHILDREN, padded taps], then those of all children of a cell */
    uint32_t *pairs; /* [CHILDREN, padded taps / 2], see pairs.h */
} NAME(Desk);

static int NAME(take_desk)(NAME(Desk) * desk, long taps, long spread) {
    desk->taps = taps;
    desk->at = malloc(sizeof(STORED *) * (size_t)taps);
    desk->tap = malloc(sizeof(long) * (size_t)taps);
    desk->weights = malloc(sizeof(REAL) * (size_t)(CHILDREN * NAME(padded)(taps) + spread + CHILDREN * SOME));
    desk->pairs = malloc(sizeof(uint32_t) * (size_t)(CHILDREN * NAME(padded)(taps) / 2));
    return desk->at && desk->tap && desk->weights && desk->pairs;
}

static void NAME(leave_desk)(NAME(Desk) * desk) { 
    free(desk->at), free(desk->tap), free(desk->weights), free(desk->pairs);
}

/* Which pixel of a side of `size` stands at place n, which may be outside; -1 for none. */
static ALWAYS_INLINE long NAME(inside)(long n, long size, int border) {
    if (n >= 0 && n < size) return n;
    if (border == REPEATED) return n < 0 ? 0 : size - 1;
    return border == MIRRORED ? (n < 0 ? -n : 2 * (size - 1) - n) : -1;
}

/* The window of the cell in row i and column j of a map. */
static APART void NAME(look)(const Windows *job, const STORED *x, long x_row, long x_pitch, long i, long j,
                                     NAME(Desk) * desk) {
    const long kernel = (long)job->kernel, origin = (long)job->origin;
    long count = 0;
    for (long r = 0; r < kernel; r++) {
        const long y = NAME(inside)(i + origin + r, (long)job->height, (int)job->border);
        if (y < 0) continue;
        const STORED *row = x + y * x_row;
        for (long s = 0; s < kernel; s++) {
            const long column = NAME(inside)(j + origin + s, (long)job->width, (int)job->border);
            if (column < 0) continue;
            desk->at[count] = row + column * x_pitch, desk->tap[count++] = r * kernel + s;
        }
    }
    desk->inside = count;
}

/* The softmax of the weights of some taps, in place. */
static APART void NAME(soften)(REAL *weights, long taps) {
    const long padded = NAME(padded)(taps), end = padded - SOME;
    NAME(Lanes) number;
    for (int n = 0; n < SOME; n++) number[n] = (REAL)n;
    const NAME(Mask) used = number < (REAL)(taps - end);
    NAME(Lanes) last = *(NAME(Lanes) *)(weights + end), large = NAME(either)(used, last, (NAME(Lanes)){0} + weights[0]);
    for (long t = 0; t < end; t += SOME) {
        const NAME(Lanes) v = *(NAME(Lanes) *)(weights + t);
        large = NAME(either)(v > large, v, large);
    }
    const REAL most = NAME(largest)(large);
    NAME(Lanes) sum = NAME(either)(used, NAME(exp)(last - most), (NAME(Lanes)){0});
    last = sum;
    for (long t = 0; t < end; t += SOME) {
        const NAME(Lanes) v = NAME(exp)(*(NAME(Lanes) *)(weights + t) - most);
        *(NAME(Lanes) *)(weights + t) = v, sum += v;
    }
    const REAL share = 1 / NAME(sum)(sum);
    *(NAME(Lanes) *)(weights + end) = last * share;
    for (long t = 0; t < end; t += SOME) *(NAME(Lanes) *)(weights + t) *= share;
}

/* The weights of all four children of a cell, which lie in turn: each child's together. Returns whether that was done. */
static ALWAYS_INLINE int NAME(unshuffle)(const Windows *job, const REAL *spread, REAL *weights, int count) {
#ifdef SHUFFLED
    const long padded = NAME(padded)((long)(job->kernel * job->kernel));
    if (!job->shuffled || job->tap_step != CHILDREN || count != CHILDREN) return 0;
    for (long t = 0; t < padded; t += SOME) {
        const NAME(Lanes) *v = (const NAME(Lanes) *)(spread + CHILDREN * t);
        NAME(Lanes) *to = (NAME(Lanes) *)(weights + t);
        const long step = padded / SOME;
        for (int n = 0; n < 2; n++) {
            const NAME(Lanes) first = n ? ODD(v[0], v[1]) : EVEN(v[0], v[1]);
            const NAME(Lanes) last = n ? ODD(v[2], v[3]) : EVEN(v[2], v[3]);
            to[n * step] = EVEN(first, last), to[(n + 2) * step] = ODD(first, last);
        }
    }
    return 1;
#else
    (void)job, (void)spread, (void)weights, (void)count;
    return 0;
#endif
}

/* The weights of `count` children from `pixels` on, in desk->weights, or where they lie if nothing is done with them. */
static ALWAYS_INLINE void NAME(weigh)(const Windows *job, const NAME(Desk) * desk, long cell, long group, const long *pixels,
                                      const long *children, int count, const REAL **rows) {
    const long taps = (long)(job->kernel * job->kernel), padded = NAME(padded)(taps), step = (long)job->tap_step;
    const STORED *from = (const STORED *)job->weights + group * (long)job->group_step;
    if (FORM == PLAIN && step == 1 && !job->softmax) {
        for (int m = 0; m < count; m++) rows[m] = (const REAL *)(from + pixels[m] * (long)job->weight_pitch);
        return;
    }
    REAL *spread = desk->weights + CHILDREN * padded;
    if (job->shuffled) NAME(load_all)(spread, from + cell * (long)job->weight_pitch, taps * step);
    const int whole = NAME(unshuffle)(job, spread, desk->weights, count);
    for (int m = 0; m < count; m++) {
        REAL *to = desk->weights + m * padded;
        rows[m] = to;
        if (!whole && job->shuffled)
            for (long t = 0; t < taps; t++) to[t] = spread[t * step + children[m]];
        else if (!whole)
            NAME(load_all)(to, from + pixels[m] * (long)job->weight_pitch, taps);
        if (job->softmax) NAME(soften)(to, taps);
    }
}

/* A few output pixels: weights of their taps, where they lie, and what is mixed in at which share, or NULL. */
typedef struct {
    const REAL *rows[CHILDREN];
    STORED *out[CHILDREN];
    const STORED *guide[CHILDREN];
    REAL gate;
} NAME(Pixels);

#include "pairs.h"

/* `lanes` times SOME channels from c on of `count` pixels: what the taps inside hold, times their weights. */
static ALWAYS_INLINE void NAME(blend)(const NAME(Desk) * desk, const NAME(Pixels) * to, long c, const int count,
                                      const int lanes, int streams) {
    NAME(Lanes) sum[CHILDREN][4];
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = (NAME(Lanes)){0};
    for (long n = 0; n < desk->inside; n++) {
        const STORED *at = desk->at[n] + c;
        const long t = desk->tap[n];
        NAME(Lanes) v[4];
        for (int l = 0; l < lanes; l++) v[l] = NAME(load)(at + l * SOME);
        for (int m = 0; m < count; m++) {
            const REAL by = to->rows[m][t];
            for (int l = 0; l < lanes; l++) sum[m][l] += by * v[l];
        }
    }
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++) {
            const long at = c + l * SOME;
            if (to->guide[m]) sum[m][l] += to->gate * (NAME(load)(to->guide[m] + at) - sum[m][l]);
            if (streams)
                NAME(stream)(to->out[m] + at, sum[m][l]);
            else
                NAME(store)(to->out[m] + at, sum[m][l]);
        }
}

/* The same of the last channels, fewer than SOME. */
static ALWAYS_INLINE void NAME(blend_rest)(const NAME(Desk) * desk, const NAME(Pixels) * to, long c, long some, int count) {
    for (int m = 0; m < count; m++) {
        NAME(Lanes) sum = {0};
        for (long n = 0; n < desk->inside; n++)
            sum += to->rows[m][desk->tap[n]] * NAME(load_part)(desk->at[n] + c, some);
        if (to->guide[m]) sum += to->gate * (NAME(load_part)(to->guide[m] + c, some) - sum);
        NAME(store_part)(to->out[m] + c, sum, some);
    }
}

/* Channels c to `end` of `count` pixels, a constant. */
static ALWAYS_INLINE void NAME(blend_all)(const NAME(Desk) * desk, const NAME(Pixels) * to, long c, long end,
                                          const int count, int streams) {
    c = NAME(blend_of_pairs)(desk, to, desk->taps, c, end, count, streams);
    if (REGISTERS >= 32)
        for (; c + 4 * SOME <= end; c += 4 * SOME) NAME(blend)(desk, to, c, count, 4, streams);
    else if (SOME == 8 && !WIDE && count == 4)
        for (; c + 2 * SOME <= end; c += 2 * SOME) NAME(blend)(desk, to, c, count, 2, streams);
    else if (SOME == 8 && !WIDE)
        for (; c + 4 * SOME <= end; c += 4 * SOME) NAME(blend)(desk, to, c, count, 4, streams);
    for (; c + SOME <= end; c += SOME) NAME(blend)(desk, to, c, count, 1, streams);
    if (c < end) NAME(blend_rest)(desk, to, c, end - c, count);
}

static APART void NAME(blend_children)(const NAME(Desk) * desk, const NAME(Pixels) * to, long c, long end, int count,
                                       int streams) {
    if (count == 4) NAME(blend_all)(desk, to, c, end, 4, streams);
    if (count == 2) NAME(blend_all)(desk, to, c, end, 2, streams);
    if (count == 1) NAME(blend_all)(desk, to, c, end, 1, streams);
}

/* The output pixels of a cell, up to CHILDREN of them from child n on: their places and their numbers among the children.
 * Returns how many: a power of two. */
static ALWAYS_INLINE int NAME(children)(const Windows *job, long i, long j, long n, long *pixels, long *children) {
    const long top = (long)job->rows[i], left = (long)job->columns[j], across = (long)job->columns[j + 1] - left;
    const long rest = ((long)job->rows[i + 1] - top) * across - n;
    const int count = rest >= 4 ? 4 : rest >= 2 ? 2 : (int)rest;
    for (int m = 0; m < count; m++) {
        children[m] = n + m;
        pixels[m] = (top + (n + m) / across) * (long)job->out_width + left + (n + m) % across;
    }
    return count;
}

/* The dot products of `count` queries with SOME / count keys, query by query. */
static ALWAYS_INLINE NAME(Lanes) NAME(dots)(const STORED *const *queries, const STORED *const *keys, long depth,
                                            const int count) {
    const int taps = SOME / count;
    NAME(Lanes) sum[SOME];
    for (int n = 0; n < SOME; n++) sum[n] = (NAME(Lanes)){0};
    long c = NAME(dots_of_pairs)(queries, keys, depth, count, sum);
    for (; c + SOME <= depth; c += SOME) {
        NAME(Lanes) q[CHILDREN];
        for (int m = 0; m < count; m++) q[m] = NAME(load)(queries[m] + c);
        for (int t = 0; t < taps; t++) {
            const NAME(Lanes) k = NAME(load)(keys[t] + c);
            for (int m = 0; m < count; m++) sum[m * taps + t] += q[m] * k;
        }
    }
    if (c < depth) {
        NAME(Lanes) q[CHILDREN];
        for (int m = 0; m < count; m++) q[m] = NAME(load_part)(queries[m] + c, depth - c);
        for (int t = 0; t < taps; t++) {
            const NAME(Lanes) k = NAME(load_part)(keys[t] + c, depth - c);
            for (int m = 0; m < count; m++) sum[m * taps + t] += q[m] * k;
        }
    }
    return NAME(sums)(sum);
}

/* The logits of `count` children, a constant, in desk->weights: those of taps outside are 0. */
static ALWAYS_INLINE void NAME(compare)(const NAME(Desk) * desk, const STORED *const *queries, long first, long depth,
                                        long taps, const int count) {
    const long padded = NAME(padded)(taps);
    const int some = SOME / count;
    if (desk->inside < taps) memset(desk->weights, 0, sizeof(REAL) * (size_t)(count * padded));
    for (long n = 0; n < desk->inside; n += some) {
        const STORED *keys[SOME];
        for (long t = 0; t < some; t++) keys[t] = desk->at[n + t < desk->inside ? n + t : n] + first;
        const NAME(Lanes) found = NAME(dots)(queries, keys, depth, count);
        if (desk->inside == taps && n + some <= padded) {
            /* Taps one after another; those past the last one are not read. */
            for (int m = 0; m < count; m++)
                memcpy(desk->weights + m * padded + n, (const REAL *)&found + m * some, sizeof(REAL) * (size_t)some);
            continue;
        }
        for (long t = 0; t < some && n + t < desk->inside; t++)
            for (int m = 0; m < count; m++) desk->weights[m * padded + desk->tap[n + t]] = found[m * some + t];
    }
}

#if SOME == 16 && FORM == PLAIN && !WIDE && defined(__GNUC__) && !defined(__clang__)
__attribute__((noclone)) /* else the size of the module would decide whether a copy for first = 0 is made */
#endif
static APART void NAME(compare_children)(const NAME(Desk) * desk, const STORED *const *queries, long first, long depth, int count) {
    if (count == 4) NAME(compare)(desk, queries, first, depth, desk->taps, 4);
    if (count == 2) NAME(compare)(desk, queries, first, depth, desk->taps, 2);
    if (count == 1) NAME(compare)(desk, queries, first, depth, desk->taps, 1);
}

/* Output rows of cells i = start to stop, a strip of cells at a time. The weights are given, or where it `attends` those of the
 * query's likeness to the keys. */
static ALWAYS_INLINE int NAME(reassemble)(const Windows *job, long start, long stop, const int attends) {
    const long channels = (long)job->channels, groups = (long)job->groups, each = channels / groups;
    const long taps = (long)(job->kernel * job->kernel), across = (long)job->cells_across;
    const int planes = (job->guide || attends) && job->guide_step > 1, streams = (int)job->streams;
    const STORED *map = attends ? job->query : job->guide;
    const long depth = attends ? (long)job->depth : channels, pitch = NAME(padded)(depth);
    STORED *fetched = malloc(sizeof(STORED) * (size_t)(planes ? (long)job->most * pitch : 1));
    NAME(Desk) desk;
    const int ready = NAME(take_desk)(&desk, taps, taps * (long)job->tap_step) && fetched;
    for (long i = start; ready && i < stop; i++)
        for (long j = 0; j < across; j++) {
            const long top = (long)job->rows[i], strip = j / STRIP * STRIP, last = strip + STRIP, cell = i * across + j;
            const long from = (long)job->columns[strip], to = (long)job->columns[last < across ? last : across];
            if (planes && j == strip)
                NAME(fetch)(map, depth, (long)job->guide_step, (long)job->out_width, top, (long)job->rows[i + 1], from, to, fetched);
            long pixels[CHILDREN], children[CHILDREN], n = 0;
            const STORED *queries[CHILDREN];
            int count;
            NAME(Pixels) few = {.gate = job->gate ? NAME(number)((const STORED *)job->gate + cell) : 0};
            while ((count = NAME(children)(job, i, j, n, pixels, children)) > 0) {
                for (int m = 0; m < count; m++) {
                    few.out[m] = (STORED *)job->out + pixels[m] * (long)job->out_pitch;
                    const long row = pixels[m] / (long)job->out_width - top, column = pixels[m] % (long)job->out_width;
                    const STORED *at = planes ? fetched + (row * (to - from) + column - from) * pitch
                                       : map  ? map + pixels[m] * (long)(attends ? job->query_pitch : job->guide_pitch)
                                              : NULL;
                    few.guide[m] = job->guide ? at : NULL;
                    queries[m] = at;
                }
                if (attends) {
                    NAME(look)(job, job->keys, (long)job->key_row, (long)job->key_pitch, i, j, &desk);
                    NAME(compare_children)(&desk, queries, 0, depth, count);
                    for (int m = 0; m < count; m++) {
                        REAL *weights = desk.weights + m * NAME(padded)(taps);
                        NAME(soften)(weights, taps);
                        few.rows[m] = weights;
                    }
                }
                if (attends || !n) NAME(look)(job, job->x, (long)job->x_row, (long)job->x_pitch, i, j, &desk);
                for (long g = 0; g < groups; g++) {
                    const long c = g * each, end = c + each;
                    if (!attends) NAME(weigh)(job, &desk, cell, g, pixels, children, count, few.rows);
                    NAME(blend_children)(&desk, &few, c, end, count, streams);
                }
                n += count;
            }
        }
    NAME(leave_desk)(&desk);
    free(fetched);
    FENCE;
    return ready;
}

static int NAME(assemble)(const void *given, long start, long stop) {
    return NAME(reassemble)(given, start, stop, 0);
}

static int NAME(attend)(const void *given, long start, long stop) {
    return NAME(reassemble)(given, start, stop, 1);
}
