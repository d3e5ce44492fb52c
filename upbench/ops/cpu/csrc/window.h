/* Included by windows.c for each pair of types: windows of low-resolution pixels, which all output pixels of a cell share.
 *
 * A cell is a low-resolution pixel with the output pixels whose parent it is, its children. Each row of channels of its window
 * is read once for up to four of them. A tile is a row of cells. */

/* What a thread works in. at, tap: where in memory the pixels of a window that lie inside lie, and which taps these are. */
typedef struct {
    const STORED **at;
    long *tap;
    long inside;
    REAL *weights; /* [CHILDREN, padded taps] */
} NAME(Desk);

static ALWAYS_INLINE long NAME(padded)(long taps) { return (taps + SOME - 1) / SOME * SOME; }

static int NAME(take_desk)(NAME(Desk) * desk, long taps, long sums) {
    desk->at = malloc(sizeof(STORED *) * (size_t)taps);
    desk->tap = malloc(sizeof(long) * (size_t)taps);
    desk->weights = malloc(sizeof(REAL) * (size_t)(CHILDREN * NAME(padded)(taps) + sums));
    return desk->at && desk->tap && desk->weights;
}

static void NAME(leave_desk)(NAME(Desk) * desk) { free(desk->at), free(desk->tap), free(desk->weights); }

/* Which pixel of a side of `size` stands at place n, which may be outside; -1 for none. */
static ALWAYS_INLINE long NAME(inside)(long n, long size, int border) {
    if (n >= 0 && n < size) return n;
    if (border == REPEATED) return n < 0 ? 0 : size - 1;
    return border == MIRRORED ? (n < 0 ? -n : 2 * (size - 1) - n) : -1;
}

/* The window of the cell in row i and column j. */
static ALWAYS_INLINE void NAME(look)(const Windows *job, const STORED *x, long i, long j, NAME(Desk) * desk) {
    const long kernel = (long)job->kernel, origin = (long)job->origin;
    long count = 0;
    for (long r = 0; r < kernel; r++) {
        const long y = NAME(inside)(i + origin + r, (long)job->height, (int)job->border);
        if (y < 0) continue;
        const STORED *row = x + y * (long)job->x_row;
        for (long s = 0; s < kernel; s++) {
            const long column = NAME(inside)(j + origin + s, (long)job->width, (int)job->border);
            if (column < 0) continue;
            desk->at[count] = row + column * (long)job->x_pitch, desk->tap[count++] = r * kernel + s;
        }
    }
    desk->inside = count;
}

/* The softmax of the weights of some taps, in place; of their sigmoids where `squashed`. */
static ALWAYS_INLINE void NAME(soften)(REAL *weights, long taps, int squashed) {
    const long padded = NAME(padded)(taps);
    NAME(Lanes) sum = {0};
    if (squashed)
        for (long t = 0; t < padded; t += SOME) {
            const NAME(Lanes) v = *(NAME(Lanes) *)(weights + t), zero = v * 0;
            const NAME(Lanes) shrunk = NAME(exp)(NAME(either)(v < zero, v, -v)), rest = 1 / (1 + shrunk);
            *(NAME(Lanes) *)(weights + t) = NAME(either)(v < zero, shrunk * rest, rest);
        }
    for (long t = taps; t < padded; t++) weights[t] = weights[0];
    NAME(Lanes) large = *(NAME(Lanes) *)weights;
    for (long t = SOME; t < padded; t += SOME) {
        const NAME(Lanes) v = *(NAME(Lanes) *)(weights + t);
        large = NAME(either)(v > large, v, large);
    }
    REAL most = large[0];
    for (int n = 1; n < SOME; n++) most = large[n] > most ? large[n] : most;
    for (long t = taps; t < padded; t++) weights[t] = -MOST;
    for (long t = 0; t < padded; t += SOME) {
        const NAME(Lanes) v = NAME(exp)(*(NAME(Lanes) *)(weights + t) - most);
        *(NAME(Lanes) *)(weights + t) = v, sum += v;
    }
    for (long t = taps; t < padded; t++) sum[t - padded + SOME] -= weights[t];
    const REAL share = 1 / NAME(sum)(sum);
    for (long t = 0; t < padded; t += SOME) *(NAME(Lanes) *)(weights + t) *= share;
}

/* The weights of `count` children from `pixels` on, in desk->weights, or where they lie if nothing is done with them. */
static ALWAYS_INLINE void NAME(weigh)(const Windows *job, const NAME(Desk) * desk, long cell, long group, const long *pixels,
                                      const long *children, int count, const REAL **rows) {
    const long taps = (long)(job->kernel * job->kernel), padded = NAME(padded)(taps), step = (long)job->tap_step;
    const STORED *from = (const STORED *)job->weights + group * (long)job->group_step;
    if (FORM == PLAIN && step == 1 && !job->softmax && !job->coarse) {
        for (int m = 0; m < count; m++) rows[m] = (const REAL *)(from + pixels[m] * (long)job->weight_pitch);
        return;
    }
    for (int m = 0; m < count; m++) {
        REAL *to = desk->weights + m * padded;
        const STORED *at = from + (job->shuffled ? cell * (long)job->weight_pitch + children[m]
                                                 : pixels[m] * (long)job->weight_pitch);
        rows[m] = to;
        if (step == 1)
            for (long t = 0; t < taps; t += SOME)
                *(NAME(Lanes) *)(to + t) = NAME(load_part)(at + t, taps - t < SOME ? taps - t : SOME);
        else
            for (long t = 0; t < taps; t++) to[t] = NAME(number)(at + t * step);
        if (job->coarse) {
            const STORED *more = (const STORED *)job->coarse + cell * (long)job->coarse_pitch;
            for (long t = 0; t < taps; t += SOME)
                *(NAME(Lanes) *)(to + t) += NAME(load_part)(more + t, taps - t < SOME ? taps - t : SOME);
        }
        if (job->softmax) NAME(soften)(to, taps, job->softmax > 1);
    }
}

/* `lanes` times SOME channels from c on of `count` children: what the taps inside hold, times their weights. */
static ALWAYS_INLINE void NAME(blend)(const NAME(Desk) * desk, const REAL *const *rows, STORED *const *out, long c,
                                      const int count, const int lanes, int streams) {
    NAME(Lanes) sum[CHILDREN][4];
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = (NAME(Lanes)){0};
    for (long n = 0; n < desk->inside; n++) {
        const STORED *at = desk->at[n] + c;
        const long t = desk->tap[n];
        NAME(Lanes) v[4];
        for (int l = 0; l < lanes; l++) v[l] = NAME(load)(at + l * SOME);
        for (int m = 0; m < count; m++) {
            const REAL by = rows[m][t];
            for (int l = 0; l < lanes; l++) sum[m][l] += by * v[l];
        }
    }
    for (int m = 0; m < count; m++)
        for (int l = 0; l < lanes; l++)
            if (streams)
                NAME(stream)(out[m] + c + l * SOME, sum[m][l]);
            else
                NAME(store)(out[m] + c + l * SOME, sum[m][l]);
}

/* The same of the last channels, fewer than SOME. */
static ALWAYS_INLINE void NAME(blend_rest)(const NAME(Desk) * desk, const REAL *const *rows, STORED *const *out, long c,
                                           long some, int count) {
    NAME(Lanes) sum[CHILDREN];
    for (int m = 0; m < count; m++) sum[m] = (NAME(Lanes)){0};
    for (long n = 0; n < desk->inside; n++) {
        const NAME(Lanes) v = NAME(load_part)(desk->at[n] + c, some);
        for (int m = 0; m < count; m++) sum[m] += rows[m][desk->tap[n]] * v;
    }
    for (int m = 0; m < count; m++) NAME(store_part)(out[m] + c, sum[m], some);
}

/* All channels of a group of `count` children, a constant. */
static ALWAYS_INLINE void NAME(assemble_group)(const NAME(Desk) * desk, const REAL *const *rows, STORED *const *out, long c,
                                               long end, const int count, int streams) {
    if (wide_registers)
        for (; c + 4 * SOME <= end; c += 4 * SOME) NAME(blend)(desk, rows, out, c, count, 4, streams);
    for (; c + SOME <= end; c += SOME) NAME(blend)(desk, rows, out, c, count, 1, streams);
    if (c < end) NAME(blend_rest)(desk, rows, out, c, end - c, count);
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

CLONES static int NAME(assemble)(const Windows *job, long start, long stop) {
    const long channels = (long)job->channels, groups = (long)job->groups, each = channels / groups;
    NAME(Desk) desk;
    const int ready = NAME(take_desk)(&desk, (long)(job->kernel * job->kernel), 0);
    for (long i = start; ready && i < stop; i++)
        for (long j = 0; j < (long)job->cells_across; j++) {
            long pixels[CHILDREN], children[CHILDREN], n = 0;
            int count;
            NAME(look)(job, (const STORED *)job->x, i, j, &desk);
            while ((count = NAME(children)(job, i, j, n, pixels, children)) > 0) {
                STORED *out[CHILDREN];
                const REAL *rows[CHILDREN];
                for (int m = 0; m < count; m++) out[m] = (STORED *)job->out + pixels[m] * (long)job->out_pitch;
                for (long g = 0; g < groups; g++) {
                    NAME(weigh)(job, &desk, i * (long)job->cells_across + j, g, pixels, children, count, rows);
                    if (count == 4) NAME(assemble_group)(&desk, rows, out, g * each, (g + 1) * each, 4, (int)job->streams);
                    if (count == 2) NAME(assemble_group)(&desk, rows, out, g * each, (g + 1) * each, 2, (int)job->streams);
                    if (count == 1) NAME(assemble_group)(&desk, rows, out, g * each, (g + 1) * each, 1, (int)job->streams);
                }
                n += count;
            }
        }
    NAME(leave_desk)(&desk);
    FENCE;
    return ready;
}
