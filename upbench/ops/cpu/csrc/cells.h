/* Included by body.h: attention of output pixels to boxes of cells, the weights averaged over the heads of a group.
 *
 * A tile is a run of rows times a run of columns of output pixels that all see the same cells, so that nothing is masked:
 * two products of small matrices with a softmax between them. Its pixels are taken MOST_PIXELS or fewer at a time. */

/* out[m, n] = sum over k of a[m, k] * b[k, n], of some rows and lanes of columns, both constants: the sums stay in
 * registers. */
static ALWAYS_INLINE void NAME(block)(const REAL *a, long a_pitch, const REAL *b, long b_pitch, long inner, REAL *out,
                                      long out_pitch, const int rows, const int lanes) {
    NAME(Lanes) sum[MOST_ROWS][2];
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) sum[m][n] = (NAME(Lanes)){0};
    for (long k = 0; k < inner; k++) {
        NAME(Lanes) right[2];
        for (int n = 0; n < lanes; n++) right[n] = *(const NAME(Lanes) *)(b + k * b_pitch + n * SOME);
        for (int m = 0; m < rows; m++) {
            const REAL left = a[m * a_pitch + k];
            for (int n = 0; n < lanes; n++) sum[m][n] += left * right[n];
        }
    }
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) *(NAME(Lanes) *)(out + m * out_pitch + n * SOME) = sum[m][n];
}

/* The same of `lanes` times SOME columns and any number of rows. */
static ALWAYS_INLINE void NAME(strip)(const REAL *a, long a_pitch, const REAL *b, long b_pitch, long inner, REAL *out,
                                      long out_pitch, long rows, const int lanes) {
    long m = 0;
    for (; m + MOST_ROWS <= rows; m += MOST_ROWS)
        NAME(block)(a + m * a_pitch, a_pitch, b, b_pitch, inner, out + m * out_pitch, out_pitch, MOST_ROWS, lanes);
    for (; m + 2 <= rows; m += 2)
        NAME(block)(a + m * a_pitch, a_pitch, b, b_pitch, inner, out + m * out_pitch, out_pitch, 2, lanes);
    if (m < rows) NAME(block)(a + m * a_pitch, a_pitch, b, b_pitch, inner, out + m * out_pitch, out_pitch, 1, lanes);
}

/* The same of any number of columns of b; those of `out` are padded to whole lanes. */
static ALWAYS_INLINE void NAME(product)(const REAL *a, long a_pitch, const REAL *b, long b_pitch, long inner, REAL *out,
                                        long out_pitch, long rows, long columns) {
    long n = 0;
    for (; n + SOME < columns; n += 2 * SOME)
        NAME(strip)(a, a_pitch, b + n, b_pitch, inner, out + n, out_pitch, rows, 2);
    if (n < columns) NAME(strip)(a, a_pitch, b + n, b_pitch, inner, out + n, out_pitch, rows, 1);
}

/* e^(v - largest) of n values in place; returns their sum. */
static ALWAYS_INLINE REAL NAME(raise)(REAL *RESTRICT v, long n) {
    REAL largest = v[0], sum = 0;
    for (long k = 1; k < n; k++) largest = v[k] > largest ? v[k] : largest;
    for (long k = 0; k < n; k++) v[k] = EXP(v[k] - largest);
    for (long k = 0; k < n; k++) sum += v[k];
    return sum;
}

/* What one thread works in: a tile's keys [depth, wide] and some columns of its values [cells, 2 SOME]; a few pixels'
 * queries, logits [heads, pixels, wide], weights [groups, pixels, wide], and sums [pixels, 2 SOME]. */
typedef struct {
    REAL *keys, *values, *query, *logits, *weights, *sums;
    long *pixels;
} NAME(Desk);

/* The weights of `count` pixels, in desk->weights. */
static ALWAYS_INLINE void NAME(weigh_cells)(const Boxes *job, const REAL *query, const NAME(Desk) * desk, long count,
                                            long cells, long wide) {
    const long depth = (long)job->depth, heads = (long)job->heads, groups = (long)job->groups, each = depth / heads;
    const REAL factor = (REAL)job->factor, share = (REAL)groups / (REAL)heads;
    const long step = (long)job->query_step, pitch = (long)job->query_pitch;
    if (step == 1)
        for (long m = 0; m < count; m++) {
            const REAL *from = query + desk->pixels[m] * pitch;
            for (long c = 0; c < depth; c++) desk->query[m * depth + c] = from[c] * factor;
        }
    else
        for (long c = 0; c < depth; c++)
            for (long m = 0; m < count; m++)
                desk->query[m * depth + c] = query[c * step + desk->pixels[m] * pitch] * factor;
    for (long h = 0; h < heads; h++) {
        REAL *logits = desk->logits;
        REAL *weights = desk->weights + h * groups / heads * count * wide;
        const int first = h % (heads / groups) == 0;
        NAME(product)(desk->query + h * each, depth, desk->keys + h * each * wide, wide, each, logits, wide, count, cells);
        for (long m = 0; m < count; m++) {
            const REAL scale = share / NAME(raise)(logits + m * wide, cells);
            const REAL *RESTRICT from = logits + m * wide;
            REAL *RESTRICT to = weights + m * wide;
            if (first)
                for (long k = 0; k < cells; k++) to[k] = from[k] * scale;
            else
                for (long k = 0; k < cells; k++) to[k] += from[k] * scale;
        }
    }
}

/* The weighted sums of `count` pixels, channels of one group from `c` on, at most 2 SOME of them. */
static ALWAYS_INLINE void NAME(sum_cells)(const Boxes *job, const NAME(Desk) * desk, const REAL *weights, long wide,
                                          long cells, long count, long c, long some) {
    const long pitch = (long)job->out_pitch;
    REAL *out = (REAL *)job->out + c;
    NAME(product)(weights, wide, desk->values, 2 * SOME, cells, desk->sums, 2 * SOME, count, some);
    for (long m = 0; m < count; m++) {
        REAL *RESTRICT to = out + desk->pixels[m] * pitch;
        const REAL *RESTRICT from = desk->sums + m * 2 * SOME;
        if (some == 2 * SOME)
            for (int n = 0; n < 2 * SOME; n++) to[n] = from[n];
        else
            for (long n = 0; n < some; n++) to[n] = from[n];
    }
}

#if REGISTERS < 32
/* The weighted sums of a few pixels over lanes of channels, both constants, read from the map as it lies: for so few no copy
 * of its cells is earned back. from: the first cell. */
static ALWAYS_INLINE void NAME(sum_few)(const Boxes *job, const REAL *from, long high, long broad, const REAL *weights, long wide,
                                        const long *pixels, REAL *out, const int rows, const int lanes) {
    NAME(Lanes) sum[MOST_ROWS][3];
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) sum[m][n] = (NAME(Lanes)){0};
    const long pitch = (long)job->x_pitch, down = (long)job->width * pitch;
    for (long i = 0; i < high; i++, from += down)
        for (long j = 0; j < broad; j++, weights++) {
            NAME(Lanes) right[3];
            for (int n = 0; n < lanes; n++) right[n] = *(const NAME(Lanes) *)(from + j * pitch + n * SOME);
            for (int m = 0; m < rows; m++)
                for (int n = 0; n < lanes; n++) sum[m][n] = NAME(plus)(sum[m][n], weights[m * wide], right[n]);
        }
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) *(NAME(Lanes) *)(out + pixels[m] * (long)job->out_pitch + n * SOME) = sum[m][n];
}

/* The same of all lanes of a group's channels. */
static ALWAYS_INLINE void NAME(sum_all)(const Boxes *job, const REAL *from, long high, long broad, const REAL *weights, long wide,
                                        const long *pixels, REAL *out, long each, const int rows) {
    long c = 0;
    for (; c + 3 * SOME <= each && c + 4 * SOME != each; c += 3 * SOME)
        NAME(sum_few)(job, from + c, high, broad, weights, wide, pixels, out + c, rows, 3);
    for (; c + 2 * SOME <= each; c += 2 * SOME)
        NAME(sum_few)(job, from + c, high, broad, weights, wide, pixels, out + c, rows, 2);
    for (; c < each; c += SOME) NAME(sum_few)(job, from + c, high, broad, weights, wide, pixels, out + c, rows, 1);
}

/* A row of n keys: whole lanes where there are enough, of which the last overlap those before. */
static ALWAYS_INLINE void NAME(copy_keys)(REAL *to, const REAL *from, long n) {
    if (n < SOME)
        for (long j = 0; j < n; j++) to[j] = from[j];
    else
        for (long j = 0; j < n; j += SOME) {
            const long at = j + SOME > n ? n - SOME : j;
            *(NAME(Lanes) *)(to + at) = *(const NAME(Lanes) *)(from + at);
        }
}
#endif

/* One tile: `spans` are its first output row and the one after the last, the same of columns, then of cells. */
static ALWAYS_INLINE void NAME(attend_cells)(const Boxes *job, const int64_t *rows, const int64_t *columns,
                                             const NAME(Desk) * desk, long most) {
    const long high = (long)(rows[3] - rows[2]), broad = (long)(columns[3] - columns[2]), cells = high * broad;
    const long wide = (cells + SOME - 1) / SOME * SOME, width = (long)job->width, depth = (long)job->depth;
    const long across = (long)(columns[1] - columns[0]), all = (long)(rows[1] - rows[0]) * across;
    const long groups = (long)job->groups, each = (long)job->channels / groups;
    for (long c = 0; c < depth; c++) {
        REAL *to = desk->keys + c * wide;
#if REGISTERS < 32
        for (long i = 0; i < high; i++, to += broad)
            NAME(copy_keys)(to, (const REAL *)job->keys + c * (long)job->key_step + (rows[2] + i) * width + columns[2], broad);
#else
        for (long i = 0; i < high; i++)
            for (long j = 0; j < broad; j++)
                *to++ = ((const REAL *)job->keys)[c * (long)job->key_step + (rows[2] + i) * width + columns[2] + j];
#endif
        for (long k = cells; k < wide; k++) *to++ = 0;
    }
    for (long start = 0; start < all; start += most) {
        const long count = all - start < most ? all - start : most;
        for (long m = 0; m < count; m++)
            desk->pixels[m] = (long)(rows[0] + (start + m) / across) * (long)job->out_width + (long)columns[0] +
                              (start + m) % across;
        NAME(weigh_cells)(job, (const REAL *)job->query, desk, count, cells, wide);
#if REGISTERS < 32
        if (count <= MOST_ROWS && each % SOME == 0) {
            for (long g = 0; g < groups; g++) {
                const REAL *from = (const REAL *)job->x + (rows[2] * width + columns[2]) * job->x_pitch + g * each;
                const REAL *weights = desk->weights + g * count * wide;
                REAL *out = (REAL *)job->out + g * each;
                if (count == MOST_ROWS)
                    NAME(sum_all)(job, from, high, broad, weights, wide, desk->pixels, out, each, MOST_ROWS);
                else
                    for (long m = 0; m < count; m++)
                        NAME(sum_all)(job, from, high, broad, weights + m * wide, wide, desk->pixels + m, out, each, 1);
            }
            continue;
        }
#endif
        for (long g = 0; g < groups; g++)
            for (long c = 0; c < each; c += 2 * SOME) {
                const long some = each - c < 2 * SOME ? each - c : 2 * SOME;
                REAL *to = desk->values;
                for (long i = 0; i < high; i++) {
                    const REAL *from = (const REAL *)job->x + ((rows[2] + i) * width + columns[2]) * job->x_pitch +
                                       g * each + c;
                    for (long j = 0; j < broad; j++, from += job->x_pitch, to += 2 * SOME)
                        if (some == 2 * SOME)
                            memcpy(to, from, sizeof(REAL) * 2 * SOME);
                        else
                            memcpy(to, from, sizeof(REAL) * some);
                }
                NAME(sum_cells)(job, desk, desk->weights + g * count * wide, wide, cells, count, g * each + c, some);
            }
    }
}

static int NAME(boxes)(const void *given, long start, long stop) {
    const Boxes *job = given;
    const long wide = ((long)job->most_cells + SOME - 1) / SOME * SOME, most = (long)job->most_pixels;
    const long depth = (long)job->depth, groups = (long)job->groups;
    const long parts[] = {depth * wide, wide * 2 * SOME, most * depth, most * wide, groups * most * wide, most * 2 * SOME};
    long total = 0;
    for (int n = 0; n < 6; n++) total += parts[n];
    REAL *memory = calloc((size_t)total + 64, sizeof(REAL));
    long *pixels = malloc(sizeof(long) * (size_t)most);
    if (!memory || !pixels) {
        free(memory), free(pixels);
        return 0;
    }
    REAL *at = (REAL *)(((uintptr_t)memory + 63) / 64 * 64);
    NAME(Desk) desk = {.pixels = pixels};
    desk.keys = at, at += parts[0];
    desk.values = at, at += parts[1];
    desk.query = at, at += parts[2];
    desk.logits = at, at += parts[3];
    desk.weights = at, at += parts[4];
    desk.sums = at;
    for (long tile = start; tile < stop; tile++)
        NAME(attend_cells)(job, job->rows + 4 * (tile / (long)job->across), job->columns + 4 * (tile % (long)job->across),
                           &desk, most);
    free(memory), free(pixels);
    return 1;
}
