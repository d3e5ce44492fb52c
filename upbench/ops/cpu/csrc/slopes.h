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

#ifdef SHUFFLE
/* SOME channels of eight pixels that lie one after another, those of the next channel `step` further: to[pixel, slice].
 * Of channels n and n + 8 together three rounds exchange what is 4, 2 and 1 apart. */
static ALWAYS_INLINE void NAME(turn_eight)(const REAL *from, long step, REAL *RESTRICT to, long slice) {
    NAME(Lanes) a[8], b[8];
    for (int n = 0; n < 8; n++)
        for (int m = 0; m < 8; m++) a[n][m] = from[n * step + m], a[n][m + 8] = from[(n + 8) * step + m];
    for (int n = 0; n < 4; n++) {
        b[n] = SHUFFLE(a[n], a[n + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        b[n + 4] = SHUFFLE(a[n], a[n + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
    for (int n = 0; n < 8; n++) {
        if (n & 2) continue;
        a[n] = SHUFFLE(b[n], b[n + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        a[n + 2] = SHUFFLE(b[n], b[n + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    for (int n = 0; n < 8; n += 2) {
        b[n] = SHUFFLE(a[n], a[n + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        b[n + 1] = SHUFFLE(a[n], a[n + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
    for (int m = 0; m < 8; m++) *(NAME(Lanes) *)(to + m * slice) = b[m];
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
#ifdef SHUFFLE
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

/* The products of a row of the source with the four corners of a point, added to sums. n is a constant. */
static ALWAYS_INLINE void NAME(dots)(const REAL *source, const REAL *x, const NAME(Corners) * corners, long p, long n,
                                     REAL *RESTRICT to, long apart) {
    const REAL *k0 = x + corners->at[0][p] * n, *k1 = x + corners->at[1][p] * n;
    const REAL *k2 = x + corners->at[2][p] * n, *k3 = x + corners->at[3][p] * n;
    REAL s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (long c = 0; c < n; c++)
        s0 += source[c] * k0[c], s1 += source[c] * k1[c], s2 += source[c] * k2[c], s3 += source[c] * k3[c];
    to[0] += s0, to[apart] += s1, to[2 * apart] += s2, to[3 * apart] += s3;
}

/* A row of the source added to the four corners of a point. n is a constant. */
static ALWAYS_INLINE void NAME(add)(const REAL *RESTRICT source, REAL *map, const NAME(Corners) * corners, long p, REAL by,
                                    long n) {
    const REAL right = corners->right[p], down = corners->down[p], below = by * down, above = by - below;
    const REAL w1 = above * right, w0 = above - w1, w3 = below * right, w2 = below - w3;
    REAL *k0 = map + corners->at[0][p] * n, *k1 = map + corners->at[1][p] * n;
    REAL *k2 = map + corners->at[2][p] * n, *k3 = map + corners->at[3][p] * n;
    /* One after another: corners outside the map share a row. */
    INDEPENDENT
    for (long c = 0; c < n; c++) k0[c] += w0 * source[c];
    INDEPENDENT
    for (long c = 0; c < n; c++) k1[c] += w1 * source[c];
    INDEPENDENT
    for (long c = 0; c < n; c++) k2[c] += w2 * source[c];
    INDEPENDENT
    for (long c = 0; c < n; c++) k3[c] += w3 * source[c];
}

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

/* Slices start to stop of the map: what each output pixel holds, added to the pixels around its points. Each is summed
 * tile after tile, so that the number of threads changes nothing. */
static int NAME(scatter)(const void *given, long start, long stop) {
    const Slopes *job = given;
    const long taps = (long)job->taps, groups = (long)job->groups, heads = (long)job->heads, slice = (long)job->slice;
    const long size = (long)(job->height * job->width), channels = (long)job->channels, most = PIXELS * taps;
    const long tiles = (((long)job->out_width + TILE - 1) / TILE) * (((long)job->out_height + TILE - 1) / TILE);
    int *ints = malloc(sizeof(int) * 4 * (size_t)most);
    REAL *reals = malloc(sizeof(REAL) * (size_t)(5 * most + PIXELS * slice + (size + 1) * slice));
    const int ready = ints && reals;
    const NAME(Corners) corners = NAME(corners_in)(ints, reals, most);
    REAL *columns = reals + 2 * most, *rows = columns + most, *by = rows + most, *source = by + most;
    REAL *map = source + PIXELS * slice;
    for (long s = start; ready && s < stop; s++) {
        const long g = s * slice / (channels / groups), h = s * slice / (channels / heads);
        memset(map, 0, sizeof(REAL) * (size_t)(size * slice));
        for (long tile = 0; tile < tiles; tile++) {
            long pixels[PIXELS];
            const long count = NAME(tile_pixels)(job, tile, pixels);
            for (long m = 0; m < count; m++)
                for (long t = 0; t < taps; t++) {
                    columns[m * taps + t] = ((const REAL *)job->columns)[(pixels[m] * groups + g) * taps + t];
                    rows[m * taps + t] = ((const REAL *)job->rows)[(pixels[m] * groups + g) * taps + t];
                    by[m * taps + t] =
                        job->weights ? ((const REAL *)job->weights)[(pixels[m] * heads + h) * taps + t] : 1;
                }
            NAME(corners)(columns, rows, count * taps, job, &corners);
            NAME(stage)(job, pixels, count, s * slice, slice, source);
            for (long m = 0; m < count; m++)
                for (long p = m * taps; p < (m + 1) * taps; p++) {
                    const REAL *from = source + m * slice;
                    if (slice == 2 * MANY)
                        NAME(add)(from, map, &corners, p, by[p], 2 * MANY);
                    else if (slice == MANY)
                        NAME(add)(from, map, &corners, p, by[p], MANY);
                    else if (slice == 2 * SOME)
                        NAME(add)(from, map, &corners, p, by[p], 2 * SOME);
                    else
                        NAME(add)(from, map, &corners, p, by[p], slice);
                }
        }
        for (long n = 0; n < size; n++)
            memcpy((REAL *)job->map + n * channels + s * slice, map + n * slice, sizeof(REAL) * (size_t)slice);
    }
    free(ints), free(reals);
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

/* What a thread holds of the points of a tile, for each pixel, block and tap. products: with the four corners, `most` apart;
 * then the similarities and the slopes in x and y take the place of the first three. */
typedef struct {
    REAL *columns, *rows, *weights, *products, *source;
    NAME(Corners) corners;
    long most;
} NAME(Slope);

/* Similarities and slopes of the points of a tile from the products with their corners. */
static ALWAYS_INLINE void NAME(slope)(const Slopes *job, long points, const NAME(Slope) * of) {
    const REAL last_x = (REAL)(job->width - 1), last_y = (REAL)(job->height - 1);
    const int border = job->border != 0;
    const REAL *columns = of->columns, *rows = of->rows, *weights = of->weights;
    const REAL *rights = of->corners.right, *downs = of->corners.down;
    REAL *p0 = of->products, *p1 = p0 + of->most, *p2 = p1 + of->most, *p3 = p2 + of->most;
    INDEPENDENT
    for (long p = 0; p < points; p++) {
        const REAL right = rights[p], down = downs[p], by = weights[p], across = p1[p] - p0[p], under = p3[p] - p2[p];
        const REAL above = p0[p] + right * across, below = p2[p] + right * under;
        const int in_x = (border == 0) | ((columns[p] > 0) & (columns[p] < last_x));
        const int in_y = (border == 0) | ((rows[p] > 0) & (rows[p] < last_y));
        p0[p] = above + down * (below - above);
        p1[p] = in_x ? by * (across + down * (under - across)) : 0;
        p2[p] = in_y ? by * (below - above) : 0;
    }
}

/* [count, blocks, taps] -> [.., parts, taps] at the pixels: sums over the blocks of each part. */
static ALWAYS_INLINE void NAME(put)(const REAL *from, const long *pixels, long count, long blocks, long parts, long taps,
                                    void *out) {
    for (long m = 0; m < count; m++)
        for (long b = 0; b < blocks; b++, from += taps) {
            REAL *to = (REAL *)out + (pixels[m] * parts + b * parts / blocks) * taps;
            if (b % (blocks / parts))
                for (long t = 0; t < taps; t++) to[t] += from[t];
            else
                for (long t = 0; t < taps; t++) to[t] = from[t];
        }
}

/* [.., parts, taps] at the pixels -> [count, blocks, taps]. */
static ALWAYS_INLINE void NAME(take)(const void *in, const long *pixels, long count, long blocks, long parts, long taps,
                                     REAL *RESTRICT to) {
    for (long m = 0; m < count; m++)
        for (long b = 0; b < blocks; b++, to += taps) {
            const REAL *from = (const REAL *)in + (pixels[m] * parts + b * parts / blocks) * taps;
            for (long t = 0; t < taps; t++) to[t] = in ? from[t] : 1;
        }
}

/* Tiles start to stop: how alike what each output pixel holds is to its points, and the slopes of the weighted sum of that
 * in the positions of the points. */
static int NAME(slopes)(const void *given, long start, long stop) {
    const Slopes *job = given;
    const long taps = (long)job->taps, groups = (long)job->groups, slice = (long)job->slice, blocks = (long)job->blocks;
    const long heads = (long)job->heads, size = (long)(job->height * job->width), channels = (long)job->channels;
    const long all = blocks * taps, most = PIXELS * all;
    int *ints = malloc(sizeof(int) * 4 * (size_t)most);
    REAL *reals = malloc(sizeof(REAL) * (size_t)(9 * most + PIXELS * slice));
    const int ready = ints && reals;
    NAME(Slope) of = {.corners = NAME(corners_in)(ints, reals, most), .most = most};
    of.columns = reals + 2 * most, of.rows = of.columns + most, of.weights = of.rows + most;
    of.products = of.weights + most, of.source = of.products + 4 * most;
    for (long tile = start; ready && tile < stop; tile++) {
        long pixels[PIXELS];
        const long count = NAME(tile_pixels)(job, tile, pixels);
        NAME(take)(job->columns, pixels, count, blocks, groups, taps, of.columns);
        NAME(take)(job->rows, pixels, count, blocks, groups, taps, of.rows);
        NAME(take)(job->weights, pixels, count, blocks, heads, taps, of.weights);
        NAME(normalise)(of.columns, count * all, (long)job->width);
        NAME(normalise)(of.rows, count * all, (long)job->height);
        NAME(corners)(of.columns, of.rows, count * all, job, &of.corners);
        memset(of.products, 0, sizeof(REAL) * 4 * (size_t)most);
        for (long c = 0; c < channels; c += slice) {
            const REAL *x = (const REAL *)job->x + c * (size + 1);
            NAME(stage)(job, pixels, count, c, slice, of.source);
            for (long m = 0; m < count; m++)
                for (long t = 0; t < taps; t++) {
                    const REAL *from = of.source + m * slice;
                    const long p = (m * blocks + c / (channels / blocks)) * taps + t;
                    REAL *to = of.products + p;
                    if (slice == 2 * MANY)
                        NAME(dots)(from, x, &of.corners, p, 2 * MANY, to, most);
                    else if (slice == MANY)
                        NAME(dots)(from, x, &of.corners, p, MANY, to, most);
                    else if (slice == 2 * SOME)
                        NAME(dots)(from, x, &of.corners, p, 2 * SOME, to, most);
                    else
                        NAME(dots)(from, x, &of.corners, p, slice, to, most);
                }
        }
        NAME(slope)(job, count * all, &of);
        NAME(put)(of.products, pixels, count, blocks, heads, taps, job->dots);
        NAME(put)(of.products + most, pixels, count, blocks, groups, taps, job->to_columns);
        NAME(put)(of.products + 2 * most, pixels, count, blocks, groups, taps, job->to_rows);
    }
    free(ints), free(reals);
    return ready;
}
