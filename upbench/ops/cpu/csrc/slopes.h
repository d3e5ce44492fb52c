/* Included by body.h: gradients of sums over deformed points. A map lies in slices of channels, each [H * W + 1, slice] with
 * the channels of one block alone; the last row is what corners outside the map read (zeros) or are added to (nothing). */

/* The four corners of some points, those outside the map in the row after the last, and how far each point is from the first.
 * What is not a number stays so in right and down. */
static ALWAYS_INLINE void NAME(corners)(const REAL *columns, const REAL *rows, long count, const Slopes *job,
                                        const NAME(Corners) * to) {
    const int high = (int)job->height, wide = (int)job->width, none = high * wide, border = job->border != 0;
    int *at0 = to->at[0], *at1 = to->at[1], *at2 = to->at[2], *at3 = to->at[3];
    REAL *right = to->right, *down = to->down;
    const REAL last_x = (REAL)(wide - 1), last_y = (REAL)(high - 1);
    const REAL least = border ? 0 : -2, most_x = border ? last_x : last_x + 2, most_y = border ? last_y : last_y + 2;
    INDEPENDENT
    for (long p = 0; p < count; p++) {
        const int finite = (columns[p] >= -MOST) & (columns[p] <= MOST) & (rows[p] >= -MOST) & (rows[p] <= MOST);
        REAL x = columns[p] >= least ? columns[p] : least, y = rows[p] >= least ? rows[p] : least;
        x = x <= most_x ? x : most_x, y = y <= most_y ? y : most_y;
        const REAL before = FLOOR(x), above = FLOOR(y);
        const int j = (int)before, i = (int)above;
        const int left = (j >= 0) & (j < wide), next = (j >= -1) & (j + 1 < wide);
        const int top = (i >= 0) & (i < high), under = (i >= -1) & (i + 1 < high);
        right[p] = x - before;
        down[p] = finite ? y - above : (REAL)NAN;
        at0[p] = top & left ? i * wide + j : none, at1[p] = top & next ? i * wide + j + 1 : none;
        at2[p] = under & left ? (i + 1) * wide + j : none, at3[p] = under & next ? (i + 1) * wide + j + 1 : none;
    }
}

#ifdef SHUFFLED
/* SOME channels of eight pixels that lie one after another, those of the next channel `step` further: to[pixel, slice]. */
static ALWAYS_INLINE void NAME(turn_eight)(const REAL *from, long step, REAL *RESTRICT to, long slice) {
#if SOME == 16
    /* Of channels n and n + 8 together three rounds exchange what is 4, 2 and 1 apart. */
    NAME(Lanes) a[8], b[8];
    for (int n = 0; n < 8; n++)
        for (int m = 0; m < 8; m++) a[n][m] = from[n * step + m], a[n][m + 8] = from[(n + 8) * step + m];
    /* What the tile after the next reads: planes lie too far apart for the processor to see that. */
    for (int n = 0; n < SOME; n++) PREFETCH(from + n * step + 2 * TILE);
    for (int n = 0; n < 4; n++) b[n] = SWAPPED(a[n], a[n + 4], 0, 4), b[n + 4] = SWAPPED(a[n], a[n + 4], 1, 4);
    for (int n = 0; n < 8; n++)
        if (!(n & 2)) a[n] = SWAPPED(b[n], b[n + 2], 0, 2), a[n + 2] = SWAPPED(b[n], b[n + 2], 1, 2);
    for (int n = 0; n < 8; n += 2) b[n] = SWAPPED(a[n], a[n + 1], 0, 1), b[n + 1] = SWAPPED(a[n], a[n + 1], 1, 1);
    for (int m = 0; m < 8; m++) *(NAME(Lanes) *)(to + m * slice) = b[m];
#else
    for (int n = 0; n < SOME; n++) PREFETCH(from + n * step + 2 * TILE);
    for (int m = 0; m < 8; m += SOME) {
        NAME(Lanes) v[SOME];
        for (int n = 0; n < SOME; n++) v[n] = *(const NAME(Lanes) *)(from + n * step + m);
        NAME(turn)(v);
        for (int n = 0; n < SOME; n++) *(NAME(Lanes) *)(to + (m + n) * slice) = v[n];
    }
#endif
}
#endif

/* `slice` channels from c on of what the pixels of a tile hold: to[m, slice]. */
static ALWAYS_INLINE void NAME(stage)(const Slopes *job, const long *pixels, long count, long c, long slice,
                                      REAL *RESTRICT to) {
    const long step = (long)job->source_step, pitch = (long)job->source_pitch;
    const REAL *source = (const REAL *)job->source + c * step;
    if (step == 1) {
        for (long m = 0; m < count; m++) memcpy(to + m * slice, source + pixels[m] * pitch, sizeof(REAL) * slice);
        return;
    }
#ifdef SHUFFLED
    const long after = (long)job->out_width - pixels[0] % (long)job->out_width;
    if (pitch == 1 && after >= TILE && slice % SOME == 0) {
        for (long m = 0; m < count; m += TILE)
            for (long n = 0; n < slice; n += SOME)
                NAME(turn_eight)(source + n * step + pixels[m], step, to + m * slice + n, slice);
        return;
    }
#endif
    for (long n = 0; n < slice; n++)
        for (long m = 0; m < count; m++) to[m * slice + n] = source[n * step + pixels[m] * pitch];
}

#include "corners.h"

static ALWAYS_INLINE long NAME(tile_pixels)(const Slopes *job, long tile, long *pixels) {
    const long across = ((long)job->out_width + TILE - 1) / TILE, top = tile / across * TILE, left = tile % across * TILE;
    long count = 0;
    for (long i = top; i < top + TILE && i < (long)job->out_height; i++)
        for (long j = left; j < left + TILE && j < (long)job->out_width; j++)
            pixels[count++] = i * (long)job->out_width + j;
    return count;
}

/* Where `corners` writes, in memory of 4 ints and 2 reals for each of some points. */
static ALWAYS_INLINE NAME(Corners) NAME(corners_in)(int *ints, REAL *reals, long points) {
    const NAME(Corners) made = {{ints, ints + points, ints + 2 * points, ints + 3 * points}, reals, reals + points};
    return made;
}

/* Rows of taps, `step` apart, to others, `step_to` apart; added there with `more`. taps is a constant where it is a common
 * one, so that few numbers are no loop. */
static ALWAYS_INLINE void NAME(copy_taps)(const REAL *from, long step, REAL *to, long step_to, long count, long taps,
                                          int more) {
    for (long m = 0; m < count; m++, from += step, to += step_to) {
        PREFETCH(from + TILE * step); /* of the next tile */
        if (REGISTERS < 32) PREFETCH(from + TILE * step + taps - 1);
        if (more)
            for (long t = 0; t < taps; t++) to[t] += from[t];
        else
            memcpy(to, from, sizeof(REAL) * (size_t)taps);
    }
}

/* [.., parts, taps] at the pixels -> [count, taps] of one part, or back with `put`. */
static ALWAYS_INLINE void NAME(move_taps)(REAL *at, const long *pixels, long count, long parts, long part, long taps,
                                          REAL *here, int put, int more) {
    for (long m = 0, n; m < count; m += n) {
        for (n = 1; m + n < count && pixels[m + n] == pixels[m] + n; n++) {
        }
        REAL *there = at + (pixels[m] * parts + part) * taps, *mine = here + m * taps;
        const REAL *from = put ? mine : there;
        REAL *to = put ? there : mine;
        const long step = put ? taps : parts * taps, step_to = put ? parts * taps : taps;
        if (taps == 9)
            NAME(copy_taps)(from, step, to, step_to, n, 9, more);
        else
            NAME(copy_taps)(from, step, to, step_to, n, taps, more);
    }
}

#include "sorted.h"

/* What the pixels of a tile hold, added to the pixels around their points: rows of `slice` channels. */
static ALWAYS_INLINE void NAME(add_tile)(const REAL *source, REAL *map, const NAME(Corners) * corners, const REAL *by, long count, long taps,
                                         long slice) {
    for (long m = 0; m < count; m++)
        if (slice == 2 * MANY)
            NAME(add)(source + m * slice, map, corners, m * taps, by, taps, 2 * MANY / SOME);
        else if (slice == MANY)
            NAME(add)(source + m * slice, map, corners, m * taps, by, taps, MANY / SOME);
        else if (slice == 2 * SOME)
            NAME(add)(source + m * slice, map, corners, m * taps, by, taps, 2);
        else if (slice == SOME)
            NAME(add)(source + m * slice, map, corners, m * taps, by, taps, 1);
        else
            NAME(add_of)(source + m * slice, map, corners, m * taps, by, taps, slice);
}

/* Slices start to stop of the map: what each output pixel holds, added to the pixels around its points. Each is summed some tiles
 * after others, so that the number of threads changes nothing. */
static int NAME(scatter)(const void *given, long start, long stop) {
    const Slopes *job = given;
    const long taps = (long)job->taps, groups = (long)job->groups, heads = (long)job->heads, slice = (long)job->slice;
    const long high = (long)job->height, wide = (long)job->width, size = high * wide, channels = (long)job->channels;
    const long across = ((long)job->out_width + TILE - 1) / TILE, down = ((long)job->out_height + TILE - 1) / TILE;
    /* Where cells hold few points, or points few channels, to sort them takes longer. */
    const int many = (long)(job->out_height * job->out_width) * taps >= 16 * size;
    const int sorts = many && slice % SOME == 0 && slice * sizeof(REAL) >= 256;
    const long joined = sorts ? SORTED_TILES(slice) : 1, held = joined * joined * PIXELS, most = held * taps;
    const long beside = (across + joined - 1) / joined;
    int *ints = malloc(sizeof(int) * (size_t)(6 * most + (high + 4) * (wide + 4) + 1));
    int *tops = ints + 4 * most, *lefts = tops + most, *ends = lefts + most;
    REAL *reals = malloc(sizeof(REAL) * (size_t)(5 * most + held * slice + (size + 1) * slice) + ALIGNED);
    NAME(Sorted) *sorted = malloc(sizeof(NAME(Sorted)) * (size_t)(sorts ? most : 1));
    const int ready = ints && reals && sorted;
    /* A vector that lies in two lines of the cache takes twice as long. */
    REAL *map = NAME(aligned)(reals), *source = map + (size + 1) * slice, *columns = source + held * slice;
    REAL *rows = columns + most, *by = rows + most;
    const NAME(Corners) corners = NAME(corners_in)(ints, by + most, most);
    for (long s = start; ready && s < stop; s++) {
        const long g = s * slice / (channels / groups), h = s * slice / (channels / heads);
        memset(map, 0, sizeof(REAL) * (size_t)((size + 1) * slice));
        for (long tile = 0; tile < beside * ((down + joined - 1) / joined); tile++) {
            long count = 0;
            for (long n = 0; n < joined * joined; n++) {
                const long i = tile / beside * joined + n / joined, j = tile % beside * joined + n % joined;
                if (i >= down || j >= across) continue;
                long pixels[PIXELS];
                const long some = NAME(tile_pixels)(job, i * across + j, pixels), at = count * taps;
                NAME(move_taps)((REAL *)job->columns, pixels, some, groups, g, taps, columns + at, 0, 0);
                NAME(move_taps)((REAL *)job->rows, pixels, some, groups, g, taps, rows + at, 0, 0);
                for (long m = 0; !job->weights && m < some * taps; m++) by[at + m] = 1;
                if (job->weights) NAME(move_taps)((REAL *)job->weights, pixels, some, heads, h, taps, by + at, 0, 0);
                NAME(stage)(job, pixels, some, s * slice, slice, source + count * slice);
                count += some;
            }
            NAME(corners)(columns, rows, count * taps, job, &corners);
            if (sorts) {
                NAME(cells_of)(columns, rows, count * taps, job, tops, lefts);
                NAME(add_sorted)(source, map, &corners, by, count, taps, slice, tops, lefts, ends, sorted);
            } else
                NAME(add_tile)(source, map, &corners, by, count, taps, slice);
        }
        for (long n = 0; n < size; n++)
            memcpy((REAL *)job->map + n * channels + s * slice, map + n * slice, sizeof(REAL) * (size_t)slice);
    }
    free(ints), free(reals), free(sorted);
    return ready;
}

/* Positions as torch's sampling sees them after they were normalised, so that on the border between two cells the slope is
 * taken from the same side. In two steps, which no compiler may join. */
static ALWAYS_INLINE void NAME(normalise)(REAL *positions, long count, long size) {
    const REAL last = (REAL)(size > 2 ? size - 1 : 1);
    for (long p = 0; p < count; p++) positions[p] = positions[p] * 2 / last - 1;
    BARRIER;
    for (long p = 0; p < count; p++) positions[p] = positions[p] + 1;
    BARRIER;
    for (long p = 0; p < count; p++) positions[p] = positions[p] * (last / 2);
}

/* What a thread holds of the points of a tile, for each pixel of a block and each tap. products: with the four corners. The
 * similarities and the slopes in x and y take the place of weights, columns and rows. */
typedef struct {
    REAL *columns, *rows, *weights, *products, *source;
    NAME(Corners) corners;
} NAME(Slope);

/* Similarities and slopes of some points from the products with their corners. */
static ALWAYS_INLINE void NAME(slope)(const Slopes *job, long points, const NAME(Slope) * of) {
    const REAL last_x = (REAL)(job->width - 1), last_y = (REAL)(job->height - 1);
    const int border = job->border != 0;
    REAL *columns = of->columns, *rows = of->rows, *weights = of->weights;
    const REAL *rights = of->corners.right, *downs = of->corners.down, *products = of->products;
    INDEPENDENT
    for (long p = 0; p < points; p++) {
        const REAL p0 = products[4 * p], p1 = products[4 * p + 1], p2 = products[4 * p + 2], p3 = products[4 * p + 3];
        const REAL right = rights[p], down = downs[p], by = weights[p], across = p1 - p0, under = p3 - p2;
        const REAL above = p0 + right * across, below = p2 + right * under;
        const int in_x = (border == 0) | ((columns[p] > 0) & (columns[p] < last_x));
        const int in_y = (border == 0) | ((rows[p] > 0) & (rows[p] < last_y));
        weights[p] = above + down * (below - above);
        columns[p] = in_x ? by * (across + down * (under - across)) : 0;
        rows[p] = in_y ? by * (below - above) : 0;
    }
}

/* Tiles start to stop: how alike what each output pixel holds is to its points, and the slopes of the weighted sum of that
 * in the positions of the points. */
static int NAME(slopes)(const void *given, long start, long stop) {
    const Slopes *job = given;
    const long taps = (long)job->taps, groups = (long)job->groups, slice = (long)job->slice, blocks = (long)job->blocks;
    const long heads = (long)job->heads, size = (long)(job->height * job->width), each = (long)job->channels / blocks;
    const long most = PIXELS * taps;
    int *ints = malloc(sizeof(int) * 4 * (size_t)most);
    REAL *reals = malloc(sizeof(REAL) * (size_t)(9 * most + PIXELS * slice + SOME) + ALIGNED);
    const int ready = ints && reals;
    NAME(Slope) of = {.source = NAME(aligned)(reals)};
    of.products = of.source + PIXELS * slice, of.columns = of.products + 4 * most + SOME, of.rows = of.columns + most;
    of.weights = of.rows + most, of.corners = NAME(corners_in)(ints, of.weights + most, most);
    for (long tile = start; ready && tile < stop; tile++) {
        long pixels[PIXELS];
        const long count = NAME(tile_pixels)(job, tile, pixels);
        for (long b = 0; b < blocks; b++) {
            const long g = b * groups / blocks, h = b * heads / blocks;
            NAME(move_taps)((REAL *)job->columns, pixels, count, groups, g, taps, of.columns, 0, 0);
            NAME(move_taps)((REAL *)job->rows, pixels, count, groups, g, taps, of.rows, 0, 0);
            for (long n = 0; !job->weights && n < count * taps; n++) of.weights[n] = 1;
            if (job->weights) NAME(move_taps)((REAL *)job->weights, pixels, count, heads, h, taps, of.weights, 0, 0);
            NAME(normalise)(of.columns, count * taps, (long)job->width);
            NAME(normalise)(of.rows, count * taps, (long)job->height);
            NAME(corners)(of.columns, of.rows, count * taps, job, &of.corners);
            memset(of.products, 0, sizeof(REAL) * 4 * (size_t)(count * taps));
            for (long c = b * each; c < (b + 1) * each; c += slice) {
                const REAL *x = (const REAL *)job->x + c * (size + 1);
                NAME(stage)(job, pixels, count, c, slice, of.source);
                if (slice == 2 * MANY)
                    NAME(dots)(of.source, x, &of.corners, 0, count, taps, of.products, 2 * MANY / SOME);
                else if (slice == MANY)
                    NAME(dots)(of.source, x, &of.corners, 0, count, taps, of.products, MANY / SOME);
                else if (slice == 2 * SOME)
                    NAME(dots)(of.source, x, &of.corners, 0, count, taps, of.products, 2);
                else if (slice == SOME)
                    NAME(dots)(of.source, x, &of.corners, 0, count, taps, of.products, 1);
                else
                    NAME(dots_of)(of.source, x, &of.corners, 0, count, taps, of.products, slice);
            }
            NAME(slope)(job, count * taps, &of);
            /* Of each head or group the first block is written, the others are added. */
            NAME(move_taps)(job->dots, pixels, count, heads, h, taps, of.weights, 1, b * heads % blocks != 0);
            NAME(move_taps)(job->to_columns, pixels, count, groups, g, taps, of.columns, 1, b * groups % blocks != 0);
            NAME(move_taps)(job->to_rows, pixels, count, groups, g, taps, of.rows, 1, b * groups % blocks != 0);
        }
    }
    free(ints), free(reals);
    return ready;
}
