/* Included by body.h: what a tile of output pixels reads, its queries and its points, fetched or made. */

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

/* The same of a square of pixels of one group, where the channels are whole vectors: the filters stay in registers, and of SOME pixels at
 * once the sums wait for each other no longer. in: [wide, wide, depth], to: [side, side, each]. */
static ALWAYS_INLINE void NAME(activate_square)(const REAL *in, long wide, long depth, const REAL *filters, const REAL *gamma, const REAL *beta,
                                                REAL eps, REAL *to, long side, long each) {
    for (long c = 0; c < each; c += SOME) {
        NAME(Lanes) by[9];
        for (int k = 0; k < 9; k++) by[k] = *(const NAME(Lanes) *)(filters + k * each + c);
        for (long n = 0; n < side * side; n++) {
            const REAL *at = in + (n / side * wide + n % side) * depth + c;
            NAME(Lanes) sum = {0};
            for (int k = 0; k < 9; k++) sum += by[k] * *(const NAME(Lanes) *)(at + (k / 3 * wide + k % 3) * depth);
            *(NAME(Lanes) *)(to + n * each + c) = sum;
        }
    }
    for (long first = 0; first < side * side; first += SOME) {
        const long some = side * side - first < SOME ? side * side - first : SOME;
        REAL *rows = to + first * each, means[SOME], factors[SOME];
        NAME(Lanes) sum[SOME] = {{0}};
        for (long n = 0; n < some; n++)
            for (long c = 0; c < each; c += SOME) sum[n] += *(const NAME(Lanes) *)(rows + n * each + c);
        *(NAME(Lanes) *)means = NAME(sums)(sum) * (1 / (REAL)each);
        for (long n = 0; n < some; n++) {
            NAME(Lanes) squares = {0};
            for (long c = 0; c < each; c += SOME) {
                const NAME(Lanes) off = *(const NAME(Lanes) *)(rows + n * each + c) - means[n];
                squares += off * off;
            }
            sum[n] = squares;
        }
        *(NAME(Lanes) *)factors = NAME(sums)(sum) * (1 / (REAL)each) + eps;
        for (int n = 0; n < SOME; n++) factors[n] = 1 / SQRT(factors[n]);
        for (long n = 0; n < some; n++)
            for (long c = 0; c < each; c += SOME) {
                NAME(Lanes) *at = (NAME(Lanes) *)(rows + n * each + c);
                *at = (*at - means[n]) * factors[n] * *(const NAME(Lanes) *)(gamma + c) + *(const NAME(Lanes) *)(beta + c);
            }
    }
    for (long n = 0; n < side * side * each; n++) to[n] = to[n] / 2 * (1 + ERF(to[n] * (REAL)0.70710678118654752));
}

/* Some rows and lanes of outputs, both constants, of what follows. ahead: NULL, or what is asked for on the way, a line of the
 * cache for each of the numbers that are read, `ahead_step` apart. */
static ALWAYS_INLINE void NAME(predict_lanes)(const REAL *in, long stride, long pitch, long step, long k, long run,
                                              const REAL *weight, const REAL *bias, REAL *RESTRICT to, long apart,
                                              const REAL *ahead, long ahead_step, const int rows, const int lanes) {
    const long size = k * run * SOME;
    NAME(Lanes) sum[TILE][3];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = *(const NAME(Lanes) *)(bias + l * SOME);
    for (long y = 0; y < k; y++)
        for (long c = 0; c < run; c++, weight += SOME) {
            NAME(Lanes) by[3];
            for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weight + l * size);
            if (ahead) PREFETCH_FAR(ahead), ahead += ahead_step;
            for (int m = 0; m < rows; m++)
                for (int l = 0; l < lanes; l++)
                    sum[m][l] = NAME(plus)(sum[m][l], in[y * stride + m * pitch + c * step], by[l]);
        }
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) *(NAME(Lanes) *)(to + m * apart + l * SOME) = sum[m][l];
}

/* The outputs of a small convolution at a row of TILE pixels, `apart` from each other in `to`. in: for each of the k
 * rows of its window, `stride` apart, the first of `run` numbers that the first pixel reads, `step` apart; those of the
 * next pixel are `pitch` further. weight: [outputs / SOME, k, run, SOME], then [what remains, k, run]. */
static ALWAYS_INLINE void NAME(predict)(const REAL *in, long stride, long pitch, long step, long k, long run,
                                        const REAL *weight, const REAL *bias, long outputs, REAL *RESTRICT to,
                                        long apart, const REAL *ahead, long ahead_step) {
    const long whole = outputs / SOME * SOME, size = k * run * SOME;
    long o = 0;
#if REGISTERS >= 32
    if (ahead && 3 * SOME <= whole) {
        NAME(predict_lanes)(in, stride, pitch, step, k, run, weight, bias, to, apart, ahead, ahead_step, TILE, 3);
        o = 3 * SOME, weight += 3 * size;
    }
    for (; REGISTERS >= 32 && o + 3 * SOME <= whole; o += 3 * SOME, weight += 3 * size)
        NAME(predict_lanes)(in, stride, pitch, step, k, run, weight, bias + o, to + o, apart, NULL, 0, TILE, 3);
    for (; REGISTERS >= 32 && o + 2 * SOME <= whole; o += 2 * SOME, weight += 2 * size)
        NAME(predict_lanes)(in, stride, pitch, step, k, run, weight, bias + o, to + o, apart, NULL, 0, TILE, 2);
#else
    /* Half the rows; four lanes are two and two. */
    for (long left; (left = (whole - o) / SOME) > 1;) {
        const long lanes = left == 2 || left == 4 ? 2 : 3;
        for (long m = 0; m < TILE; m += TILE / 2)
            if (lanes == 3)
                NAME(predict_lanes)(in + m * pitch, stride, pitch, step, k, run, weight, bias + o, to + m * apart + o, apart, NULL, 0, TILE / 2, 3);
            else
                NAME(predict_lanes)(in + m * pitch, stride, pitch, step, k, run, weight, bias + o, to + m * apart + o, apart, NULL, 0, TILE / 2, 2);
        o += lanes * SOME, weight += lanes * size;
    }
#endif
    for (; o < whole; o += SOME, weight += size)
        NAME(predict_lanes)(in, stride, pitch, step, k, run, weight, bias + o, to + o, apart, NULL, 0, TILE, 1);
#if SOME == 8 && !WIDE
    /* Two outputs of four pixels, the channels in lanes. */
    for (; o + 2 <= outputs && step == 1 && run % SOME == 0; o += 2, weight += 2 * k * run)
        for (long m = 0; m < TILE; m += 4) {
            NAME(Lanes) sum[SOME] = {{0}};
            for (long y = 0; y < k; y++)
                for (long c = 0; c < run; c += SOME) {
                    const REAL *from = in + y * stride + m * pitch + c, *by = weight + y * run + c;
                    const NAME(Lanes) first = *(const NAME(Lanes) *)by, second = *(const NAME(Lanes) *)(by + k * run);
                    for (int n = 0; n < 4; n++) {
                        const NAME(Lanes) read = *(const NAME(Lanes) *)(from + n * pitch);
                        sum[2 * n] += first * read, sum[2 * n + 1] += second * read;
                    }
                }
            const NAME(Lanes) found = NAME(sums)(sum);
            for (int n = 0; n < 4; n++)
                to[(m + n) * apart + o] = bias[o] + found[2 * n], to[(m + n) * apart + o + 1] = bias[o + 1] + found[2 * n + 1];
        }
#endif
    for (; o < outputs; o++, weight += k * run)
        for (int m = 0; m < TILE; m++) {
            REAL sum = bias[o];
            for (long y = 0; y < k; y++)
                for (long c = 0; c < run; c++) sum += in[y * stride + m * pitch + c * step] * weight[y * run + c];
            to[m * apart + o] = sum;
        }
}

/* What a tile of pixels reads: their queries (each at `near` in `query`) and the x and y of their points. */
typedef struct {
    REAL *around, *local, *room, *raw, *columns, *rows;
    const REAL *query;
    long near[PIXELS];
} NAME(Tile);

#include "square_sums.h"
#include "tile_squares.h"
#include "bfloat_tile.h"

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
            (const REAL *)job->offsets + (i / scale * job->width + j / scale) * job->offset_pitch + child * 2 * all;
        for (long n = 0; n < all; n++) columns[n] = from[n] + (REAL)(j / scale);
        for (long n = 0; n < all; n++) rows[n] = from[all + n] + (REAL)(i / scale);
    }
}

/* Has the offsets of a tile brought near while another one is worked on. */
static ALWAYS_INLINE void NAME(ask_for)(const Job *job, long top, long left) {
    const long line = ALIGNED / sizeof(REAL), scale = job->scale, last = (top + TILE - 1) / scale;
    const long columns = (left + TILE - 1) / scale + 1 < job->width ? (left + TILE - 1) / scale + 1 : job->width;
    for (long i = top / scale; i <= last && i < job->height; i++) {
        const REAL *from = (const REAL *)job->offsets + (i * job->width + left / scale) * job->offset_pitch;
        const REAL *end = (const REAL *)job->offsets + (i * job->width + columns) * job->offset_pitch;
        for (; from < end; from += line) PREFETCH_FAR(from);
    }
}

#if REGISTERS < 32
/* The guide at the pixels of a tile and of the one to the right of it, [2, channels, PIXELS]: together they are as wide as a
 * line of the cache, which would be gone before it is read for the second time. */
static ALWAYS_INLINE void NAME(fetch_two)(const Job *job, const long *pixels, REAL *RESTRICT to) {
    const long inner = job->guide_channels;
    for (long c = 0; c < inner; c++, to += PIXELS)
        for (int m = 0; m < TILE; m++) {
            const REAL *from = (const REAL *)job->guide + c * job->guide_step + pixels[m * TILE];
            PREFETCH(from + 2 * TILE);
            for (int n = 0; n < TILE; n++) to[m * TILE + n] = from[n];
            for (int n = 0; n < TILE; n++) to[inner * PIXELS + m * TILE + n] = from[TILE + n];
        }
}
#endif

/* Queries made of the guide [channels, H', W'] by a pointwise convolution: bias, then weight as `predict` takes it. held: whether
 * `fetch_two` was called for this tile or the one before; two: whether it may be called. */
static ALWAYS_INLINE void NAME(project)(const Job *job, const long *pixels, long count, NAME(Tile) * tile, long next, int two, int held) {
    const long inner = job->guide_channels, depth = job->depth, pitch = job->guide_pitch;
    const long after = job->out_width - pixels[0] % job->out_width, wide = after < TILE ? after : TILE;
    const REAL *numbers = job->projection;
#if REGISTERS < 32
    const long local = held ? inner * PIXELS : 0; /* where it lies */
    if (two) NAME(fetch_two)(job, pixels, tile->local);
    for (long c = 0; c < inner && !two && !held; c++)
#else
    enum { local = 0 };
    const int whole = wide == TILE && pitch == 1 && count == PIXELS;
    for (long c = 0; whole && c < inner; c++) {
        const REAL *from = (const REAL *)job->guide + c * job->guide_step + pixels[0];
        for (int m = 0; m < TILE; m++) memcpy(tile->local + c * PIXELS + m * TILE, from + m * job->out_width, sizeof(REAL) * TILE);
    }
    for (long c = 0; c < inner && !whole; c++)
#endif
        for (long m = 0; m < count; m += wide) {
            const REAL *from = (const REAL *)job->guide + c * job->guide_step + pixels[m] * pitch;
            REAL *RESTRICT to = tile->local + c * PIXELS + m;
#if REGISTERS < 32
            PREFETCH(from + 2 * TILE * pitch); /* of the tile after the next: planes lie too far apart to be foreseen */
#endif
            if (wide == TILE && pitch == 1)
                for (int n = 0; n < TILE; n++) to[n] = from[n];
            else
                for (long n = 0; n < wide; n++) to[n] = from[n * pitch];
        }
    for (long m = 0; m < count; m += TILE) {
        const REAL *ahead = REGISTERS < 32 || next < 0 ? NULL : (const REAL *)job->guide + next + m / TILE * job->out_width;
        NAME(predict)(tile->local + local + m, 0, 1, PIXELS, 1, inner, numbers + depth, numbers, depth,
                      tile->around + m * depth, depth, ahead, job->guide_step);
    }
}

/* Queries and points made of the low-resolution query by the predictor of LDA-AQU. Its numbers lie one after another:
 * filters [9, each], gamma, beta, bias and places of the taps [x of all, y of all], weight as `predict` takes it, and of 3x3 taps what
 * `predict_squares` takes. */
static ALWAYS_INLINE void NAME(derive)(const Job *job, long top, long left, const long *pixels, long count,
                                       NAME(Tile) * tile) {
    const long depth = job->depth, groups = job->groups, taps = job->taps, each = depth / groups, k = job->kernel;
    const long near = k / 2, side = TILE + 2 * near, wide = side + 2, outputs = 2 * taps;
    const REAL *filters = job->predictor, *gamma = filters + 9 * each, *beta = gamma + each, *bias = beta + each;
    const REAL *places = bias + outputs, *weight = places + outputs;
    long steps[9];
    for (int n = 0; n < 9; n++) steps[n] = (n / 3 * wide + n % 3) * depth;
    NAME(resize)(job, top - near - 1, left - near - 1, wide, tile->around);
    for (long g = 0; g < groups && each % SOME == 0; g++) {
        REAL *to = tile->local + g * side * side * each;
        if (each == 32)
            NAME(activate_square)(tile->around + g * each, wide, depth, filters, gamma, beta, (REAL)job->eps, to, side, 32);
        else
            NAME(activate_square)(tile->around + g * each, wide, depth, filters, gamma, beta, (REAL)job->eps, to, side, each);
    }
    for (long n = 0; n < side * side; n++) {
        const long i = n / side, j = n % side, y = top - near + i, x = left - near + j;
        const int inside = y >= 0 && x >= 0 && y < job->out_height && x < job->out_width;
        for (long g = 0; g < groups && (!inside || each % SOME); g++) {
            REAL *to = tile->local + (g * side * side + n) * each;
            if (!inside)
                memset(to, 0, sizeof(REAL) * each);
            else
                NAME(activate)(tile->around + (i * wide + j) * depth + g * each, steps, filters, gamma, beta, (REAL)job->eps, to, each);
        }
    }
#if BY_PAIRS
    const int predicted = job->pairs && NAME(predict_offsets)(job, tile, bias);
#else
    enum { predicted = 0 };
#endif
    /* What whole vectors hold is made a square at a time, if the inputs are whole vectors too: those numbers follow the others. */
    const long whole = k == 3 && each % SOME == 0 ? outputs / SOME * SOME : 0;
    for (long g = 0; g < groups && !predicted; g++) {
        REAL *to = tile->raw + g * outputs;
        if (whole)
            NAME(predict_squares)(tile->local + g * side * side * each, side, each, weight + outputs * k * k * each, bias, whole, to,
                                  groups * outputs, tile->room);
        for (long i = 0; i < TILE && whole < outputs; i++)
            NAME(predict)(tile->local + (g * side + i) * side * each, side * each, each, 1, k, k * each, weight + whole * k * k * each,
                          bias + whole, outputs - whole, to + i * TILE * groups * outputs + whole, groups * outputs, NULL, 0);
    }
    const long values = PIXELS * groups * outputs;
    const REAL theta = (REAL)job->theta;
    REAL *RESTRICT raw = tile->raw;
    for (long n = 0; n < values; n++) raw[n] = theta * TANH(raw[n]);
    const REAL high = (REAL)(job->height - 1), broad = (REAL)(job->width - 1);
    const REAL down = (REAL)(job->out_height > 1 ? job->out_height - 1 : 1);
    const REAL right = (REAL)(job->out_width > 1 ? job->out_width - 1 : 1);
    for (long m = 0; m < count; m++) {
        const long i = pixels[m] / job->out_width - top, j = pixels[m] % job->out_width - left;
        const REAL y = (REAL)(top + i), x = (REAL)(left + j);
        tile->near[m] = ((i + near + 1) * wide + j + near + 1) * depth;
        for (long g = 0; g < groups; g++) {
            const REAL *move = raw + ((i * TILE + j) * groups + g) * outputs;
            REAL *columns = tile->columns + (m * groups + g) * taps, *rows = tile->rows + (m * groups + g) * taps;
            INDEPENDENT
            for (long t = 0; t < taps; t++) {
                const REAL step_x = move[t] + places[t], step_y = move[taps + t] + places[taps + t];
                /* Multiplied before it is divided: the last pixel falls on the last exactly. */
                columns[t] = job->in_input_pixels ? x * broad / right + step_x : (x + step_x) * broad / right;
                rows[t] = job->in_input_pixels ? y * high / down + step_y : (y + step_y) * high / down;
            }
        }
    }
}
