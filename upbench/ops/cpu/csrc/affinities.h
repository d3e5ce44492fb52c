/* Included by map_kinds.h for each type: the products of two filtered, normed and rectified features, summed over a group of norms;
 * and the means that their filters are made of.
 *
 * A plane is filtered at stride 2: the even and the odd columns of a few of its rows lie apart, so that every tap reads its pixels in
 * whole vectors. What is filtered stays in the cache until its mean and variance are known. */

enum { NAME(ABREAST) = WIDE ? 1 : REGISTERS >= 32 ? 4 : 3 }; /* vectors of columns that are summed at once */

/* What a thread works in. halves: of each of some rows the even, then the odd columns, `pitch` numbers each, `left` of them before
 * the first column; maps: of each channel and filter what was filtered. offsets: of each tap of a row where it reads. */
typedef struct {
    REAL *halves, *maps;
    long *offsets;
    long pitch, left, padded;
} NAME(Filter);

/* The memory of a filter for blocks of rows of planes whose maps are `wide`, and for so many rows of maps; `leave_filter` frees it. */
static int NAME(take_filter)(long wide, long kernel, long rows, NAME(Filter) * at) {
    const long padding = (kernel - 1) / 2, block = 2 * BLOCK + kernel - 2;
    at->left = (padding + 1) / 2, at->padded = (wide + SOME - 1) / SOME * SOME;
    at->pitch = at->left + at->padded + kernel / 2 + SOME;
    at->halves = calloc((size_t)(2 * block * at->pitch), sizeof(REAL));
    at->maps = malloc(sizeof(REAL) * (size_t)(rows * at->padded));
    at->offsets = malloc(sizeof(long) * (size_t)kernel);
    for (long s = 0; at->offsets && s < kernel; s++) {
        const long column = s - padding, half = column & 1;
        at->offsets[s] = half * at->pitch + at->left + (column - half) / 2;
    }
    return at->halves && at->maps && at->offsets;
}

static void NAME(leave_filter)(NAME(Filter) * at) {
    free(at->halves), free(at->maps), free(at->offsets);
}

/* Some numbers of a map in a form from number n on; without `some` none. */
static ALWAYS_INLINE NAME(Lanes) NAME(take)(const void *map, long n, long some, const int form) {
    if (some <= 0) return (NAME(Lanes)){0};
#if WIDENS
    if (form != PLAIN) return NAME(widened)((const uint16_t *)map + n, some < SOME ? some : SOME, form);
#else
    (void)form;
#endif
    return NAME(load_part)((const REAL *)map + n, some < SOME ? some : SOME);
}

/* Columns of rows `first` to `first + rows` of a plane, which begins with number `origin` of a guide, apart; outside it zeros. */
static ALWAYS_INLINE void NAME(part_columns)(const void *guide, long origin, long high, long wide, long first, long rows,
                                             const NAME(Filter) * at, const int form) {
    for (long n = 0; n < rows; n++) {
        REAL *even = at->halves + 2 * n * at->pitch + at->left, *odd = even + at->pitch;
        const long row = origin + (first + n) * wide;
        const int outside = first + n < 0 || first + n >= high;
        for (long j = 0; j < wide; j += 2 * SOME) {
            NAME(Lanes) a = {0}, b = {0};
            if (!outside) a = NAME(take)(guide, row + j, wide - j, form), b = NAME(take)(guide, row + j + SOME, wide - j - SOME, form);
#ifdef SHUFFLED
            *(NAME(Lanes) *)(even + j / 2) = EVEN(a, b), *(NAME(Lanes) *)(odd + j / 2) = ODD(a, b);
#else
            for (int m = 0; m < SOME / 2; m++) {
                even[j / 2 + m] = a[2 * m], even[j / 2 + SOME / 2 + m] = b[2 * m];
                odd[j / 2 + m] = a[2 * m + 1], odd[j / 2 + SOME / 2 + m] = b[2 * m + 1];
            }
#endif
        }
    }
}

/* The taps of one row of pixels for those rows of two outputs that read it: sum [output, filter, columns]. */
static ALWAYS_INLINE void NAME(taps_of_row)(const REAL *row, const long *offsets, long kernel, const REAL *upper,
                                            const REAL *lower, long filter, NAME(Lanes) (*sum)[2][NAME(ABREAST)],
                                            const int has_upper, const int has_lower, const int lanes) {
    for (long s = 0; s < kernel; s++) {
        NAME(Lanes) v[NAME(ABREAST)];
        for (int l = 0; l < lanes; l++) v[l] = *(const NAME(Lanes) *)(row + offsets[s] + l * SOME);
        for (int f = 0; f < 2; f++) {
            if (has_upper)
                for (int l = 0; l < lanes; l++) sum[0][f][l] += upper[f * filter + s] * v[l];
            if (has_lower)
                for (int l = 0; l < lanes; l++) sum[1][f][l] += lower[f * filter + s] * v[l];
        }
    }
}

/* Two rows of outputs of both filters from `rows` on, some vectors of columns: to [filter], apart. */
static ALWAYS_INLINE void NAME(filter_rows)(const NAME(Filter) * at, const REAL *rows, const REAL *filters, long kernel,
                                            REAL *to, long apart, const int lanes) {
    NAME(Lanes) sum[2][2][NAME(ABREAST)];
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) sum[n / 2][n % 2][l] = (NAME(Lanes)){0};
    const long size = kernel * kernel;
    for (long r = 0; r < kernel + 2; r++) {
        const REAL *row = rows + 2 * r * at->pitch, *upper = filters + r * kernel, *lower = upper - 2 * kernel;
        if (r >= 2 && r < kernel)
            NAME(taps_of_row)(row, at->offsets, kernel, upper, lower, size, sum, 1, 1, lanes);
        else if (r < kernel)
            NAME(taps_of_row)(row, at->offsets, kernel, upper, lower, size, sum, 1, 0, lanes);
        else if (r >= 2)
            NAME(taps_of_row)(row, at->offsets, kernel, upper, lower, size, sum, 0, 1, lanes);
    }
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) *(NAME(Lanes) *)(to + n % 2 * apart + n / 2 * at->padded + l * SOME) = sum[n / 2][n % 2][l];
}

#include "bfloat_affinities.h"

/* Both filters of row `first` of a plane and those after it, `block` rows: some rows of maps. */
static ALWAYS_INLINE void NAME(filter_block)(const Affinity *job, const NAME(Filter) * at, long plane, long first, long block,
                                             long rows, REAL *maps, long apart) {
    const long kernel = (long)job->kernel, high = 2 * (long)job->height, wide = 2 * (long)job->width;
    if (job->form == HALF)
        NAME(part_columns)(job->guide, plane, high, wide, first, block, at, HALF);
    else if (job->form == BFLOAT)
        NAME(part_columns)(job->guide, plane, high, wide, first, block, at, BFLOAT);
    else
        NAME(part_columns)(job->guide, plane, high, wide, first, block, at, PLAIN);
    for (long y = 0; y < rows; y += 2) {
        const REAL *from = at->halves + 4 * y * at->pitch;
        REAL *to = maps + y * at->padded;
        long j = 0;
        for (; j + NAME(ABREAST) * SOME <= at->padded; j += NAME(ABREAST) * SOME)
            NAME(filter_rows)(at, from + j, job->filters, kernel, to + j, apart, NAME(ABREAST));
        for (; j < at->padded; j += SOME) NAME(filter_rows)(at, from + j, job->filters, kernel, to + j, apart, 1);
    }
}

/* Adds sums of the numbers of some rows, less `shift`, and of their squares. */
static ALWAYS_INLINE void NAME(add_moments)(const REAL *map, long rows, long wide, long padded, REAL shift, double *sums) {
    NAME(Lanes) number, sum = {0}, squares = {0};
    for (int n = 0; n < SOME; n++) number[n] = (REAL)n;
    for (long y = 0; y < rows; y++)
        for (long j = 0; j < wide; j += SOME) {
            NAME(Lanes) v = *(const NAME(Lanes) *)(map + y * padded + j) - shift;
            if (wide - j < SOME) v = NAME(either)(number < (REAL)(wide - j), v, (NAME(Lanes)){0});
            sum += v, squares += v * v;
        }
    sums[0] += (double)NAME(sum)(sum), sums[1] += (double)NAME(sum)(squares);
}

/* The sum over some channels of the products of both maps, normed and rectified. factors: of each channel the factors of both
 * filters, then their shifts. */
static ALWAYS_INLINE void NAME(sum_products)(const Affinity *job, const NAME(Filter) * at, const REAL *factors, long channels,
                                             long apart, REAL *out) {
    const long high = (long)job->height, wide = (long)job->width;
    const REAL slope = (REAL)job->slope;
    const NAME(Lanes) zero = {0};
    for (long y = 0; y < high; y++)
        for (long j = 0; j < wide; j += SOME) {
            NAME(Lanes) total = {0};
            for (long c = 0; c < channels; c++) {
                const REAL *map = at->maps + 2 * c * apart + y * at->padded + j, *by = factors + 4 * c;
                const NAME(Lanes) u = *(const NAME(Lanes) *)map * by[0] + by[2];
                const NAME(Lanes) v = *(const NAME(Lanes) *)(map + apart) * by[1] + by[3];
                total += NAME(either)(u > zero, u, u * slope) * NAME(either)(v > zero, v, v * slope);
            }
            if (wide - j < SOME)
                NAME(store_part)(out + y * wide + j, total, wide - j);
            else
                *(NAME(Lanes) *)(out + y * wide + j) = total;
        }
}

/* Groups of channels start to stop. */
static int NAME(affinity)(const void *given, long start, long stop) {
    const Affinity *job = given;
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, kernel = (long)job->kernel;
    const long padding = (kernel - 1) / 2, block = 2 * BLOCK + kernel - 2, tall = (high + 1) / 2 * 2;
    NAME(Filter) at = {0};
    REAL *factors = malloc(sizeof(REAL) * (size_t)(4 * channels));
    const int ready = NAME(take_filter)(wide, kernel, 2 * channels * (tall + BLOCK), &at) && factors;
    const long apart = (tall + BLOCK) * at.padded;
    for (long group = start; ready && group < stop; group++) {
        double sums[2][2] = {{0}};
        REAL shift[2] = {0};
        for (long c = 0; c < channels; c++) {
            const long plane = (group * channels + c) * (long)job->step, first = -padding;
            for (long i = 0; i < high; i += BLOCK) {
                const long rows = high - i < BLOCK ? high - i : BLOCK;
                REAL *maps = at.maps + 2 * c * apart + i * at.padded;
#if BY_PAIRS
                if (job->pairs)
                    NAME(filter_block_pairs)(job, &at, (const uint16_t *)job->guide + plane, 2 * i + first, block, rows, maps, apart);
                else
#endif
                    NAME(filter_block)(job, &at, plane, 2 * i + first, block, rows, maps, apart);
                for (int f = 0; f < 2; f++) {
                    if (!c && !i) { /* numbers near their mean have squares that add up well */
                        double own[2] = {0};
                        NAME(add_moments)(maps + f * apart, rows, wide, at.padded, 0, own);
                        shift[f] = (REAL)(own[0] / (double)(rows * wide));
                    }
                    NAME(add_moments)(maps + f * apart, rows, wide, at.padded, shift[f], sums[f]);
                }
            }
        }
        const double count = (double)channels * (double)high * (double)wide;
        for (long c = 0; c < channels; c++)
            for (int f = 0; f < 2; f++) {
                const long n = 2 * (group * channels + c) + f;
                const double mean = sums[f][0] / count, spread = sums[f][1] / count - mean * mean;
                const double factor = (double)((const REAL *)job->scale)[n] / sqrt((spread > 0 ? spread : 0) + job->eps);
                factors[4 * c + f] = (REAL)factor;
                factors[4 * c + 2 + f] = (REAL)((double)((const REAL *)job->shift)[n] - (mean + (double)shift[f]) * factor);
            }
        NAME(sum_products)(job, &at, factors, channels, apart, (REAL *)job->out + group * high * wide);
    }
    free(factors);
    NAME(leave_filter)(&at);
    return ready;
}

/* Planes start to stop: the means of the cells of a grid that divides them, and last the mean of all. */
static int NAME(pool)(const void *given, long start, long stop) {
    const Pool *job = given;
    const long high = (long)job->height, wide = (long)job->width, size = (long)job->size;
    const long rows = high / size, columns = wide / size, count = size * size;
    REAL *line = malloc(sizeof(REAL) * (size_t)(wide + SOME));
    for (long plane = start; line && plane < stop; plane++) {
        long x = plane * high * wide;
        REAL *out = (REAL *)job->out + plane * (count + 1);
        double all = 0;
        for (long n = 0; n < count; n += size) {
#if BY_PAIRS
            if (job->paired) {
                NAME(sum_pairs)((const uint16_t *)job->x + x, rows, wide, line), x += rows * wide;
                for (long a = 0; a < size; a++) {
                    double sum = 0;
                    for (long j = 0; j < columns / 2; j++) sum += (double)line[a * (columns / 2) + j];
                    out[n + a] = (REAL)(sum / (double)(rows * columns)), all += sum;
                }
                continue;
            }
#endif
            memset(line, 0, sizeof(REAL) * (size_t)wide);
            for (long y = 0; y < rows; y++, x += wide)
                for (long j = 0; j < wide; j += SOME) {
                    NAME(Lanes) *to = (NAME(Lanes) *)(line + j);
                    if (job->form == HALF)
                        *to += NAME(take)(job->x, x + j, wide - j, HALF);
                    else if (job->form == BFLOAT)
                        *to += NAME(take)(job->x, x + j, wide - j, BFLOAT);
                    else
                        *to += NAME(take)(job->x, x + j, wide - j, PLAIN);
                }
            for (long a = 0; a < size; a++) {
                double sum = 0;
                for (long j = 0; j < columns; j++) sum += (double)line[a * columns + j];
                out[n + a] = (REAL)(sum / (double)(rows * columns)), all += sum;
            }
        }
        out[count] = (REAL)(all / (double)(high * wide));
    }
    free(line);
    return line != NULL;
}
