/* Included by map_kinds.h for each type: what affinities.h filters, on its own, and the gradients of both filters and of the guide.
 *
 * Output pixel i is met by pixel 2 i + t - padding of the guide with tap t: pixel 2 i + a meets output pixel i + d with tap
 * a + padding - 2 d. Rows and columns of zeros lie around a plane of gradients. */

enum { NAME(TAPS) = 6, NAME(PAIR) = 2 }; /* taps of a row that are summed at once, and vectors of columns */

/* Planes start to stop of what both filters make of the guide. */
static int NAME(filtered)(const void *given, long start, long stop) {
    const Filters *job = given;
    const long high = (long)job->height, wide = (long)job->width, kernel = (long)job->kernel, padding = (kernel - 1) / 2;
    const Affinity like = {.guide = job->guide, .filters = job->filters, .height = high, .width = wide, .kernel = kernel, .form = PLAIN};
    NAME(Filter) at = {0};
    const int ready = NAME(take_filter)(wide, kernel, 2 * BLOCK, &at);
    for (long plane = start; ready && plane < stop; plane++)
        for (long i = 0; i < high; i += BLOCK) {
            const long rows = high - i < BLOCK ? high - i : BLOCK, apart = BLOCK * at.padded;
            NAME(filter_block)(&like, &at, plane * 4 * high * wide, 2 * i - padding, 2 * BLOCK + kernel - 2, rows, at.maps, apart);
            for (long n = 0; n < 2 * rows; n++) {
                REAL *to = (REAL *)job->out + n / rows * (long)job->apart + (plane * high + i + n % rows) * wide;
                memcpy(to, at.maps + n / rows * apart + n % rows * at.padded, sizeof(REAL) * (size_t)wide);
            }
        }
    NAME(leave_filter)(&at);
    return ready;
}

/* Adds to sums [filter, `size`] what some rows of gradients say of `taps` taps of a row, a constant. rows: the row of the guide
 * that the first of them reads, apart; offsets: of the taps. */
static ALWAYS_INLINE void NAME(slopes_of_taps)(const NAME(Filter) * at, const REAL *rows, const long *offsets, const REAL *grad, long apart,
                                               long count, long wide, NAME(Lanes) * sums, long size, const int taps) {
    NAME(Lanes) sum[2][NAME(TAPS)];
    for (int n = 0; n < 2 * taps; n++) sum[n / taps][n % taps] = (NAME(Lanes)){0};
    for (long y = 0; y < count; y++, grad += wide, rows += 4 * at->pitch)
        for (long j = 0; j < wide; j += SOME) {
            const long some = wide - j < SOME ? wide - j : SOME;
            const NAME(Lanes) u = NAME(load_part)(grad + j, some), v = NAME(load_part)(grad + apart + j, some);
            for (int s = 0; s < taps; s++) {
                const NAME(Lanes) x = *(const NAME(Lanes) *)(rows + offsets[s] + j);
                sum[0][s] += u * x, sum[1][s] += v * x;
            }
        }
    for (int n = 0; n < 2 * taps; n++) sums[n / taps * size + n % taps] += sum[n / taps][n % taps];
}

/* Planes start to stop: of each the gradient of both filters. */
static int NAME(filter_slopes)(const void *given, long start, long stop) {
    const Filters *job = given;
    const long high = (long)job->height, wide = (long)job->width, kernel = (long)job->kernel, size = kernel * kernel;
    const long block = 2 * BLOCK + kernel - 2, padding = (kernel - 1) / 2;
    NAME(Filter) at = {0};
    NAME(Lanes) *sums = malloc(sizeof(NAME(Lanes)) * (size_t)(2 * size));
    const int ready = NAME(take_filter)(wide, kernel, 2 * BLOCK, &at) && sums;
    for (long plane = start; ready && plane < stop; plane++) {
        memset(sums, 0, sizeof(NAME(Lanes)) * (size_t)(2 * size));
        for (long i = 0; i < high; i += BLOCK) {
            const long rows = high - i < BLOCK ? high - i : BLOCK, apart = (long)job->apart;
            const REAL *grad = (const REAL *)job->grad + (plane * high + i) * wide;
            NAME(part_columns)(job->guide, plane * 4 * high * wide, 2 * high, 2 * wide, 2 * i - padding, block, &at, PLAIN);
            for (long r = 0; r < kernel; r++) {
                const REAL *from = at.halves + 2 * r * at.pitch;
                NAME(Lanes) *to = sums + r * kernel;
                long s = 0;
                for (; s + NAME(TAPS) <= kernel; s += NAME(TAPS))
                    NAME(slopes_of_taps)(&at, from, at.offsets + s, grad, apart, rows, wide, to + s, size, NAME(TAPS));
                for (; s < kernel; s++) NAME(slopes_of_taps)(&at, from, at.offsets + s, grad, apart, rows, wide, to + s, size, 1);
            }
        }
        for (long n = 0; n < 2 * size; n++) ((REAL *)job->out)[plane * 2 * size + n] = NAME(sum)(sums[n]);
    }
    free(sums);
    NAME(leave_filter)(&at);
    return ready;
}

/* Some vectors of columns of two rows of the guide, a constant: to [row, half of the columns, `lanes` vectors]. by: of each output pixel
 * that is met, of both filters, the tap of each of the four pixels. */
static ALWAYS_INLINE void NAME(meet)(const REAL *grad, long pitch, long apart, long steps, const REAL *by, NAME(Lanes) * to, const int lanes) {
    NAME(Lanes) sum[4][NAME(PAIR)];
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) sum[n][l] = (NAME(Lanes)){0};
    for (int f = 0; f < 2; f++)
        for (long d = 0; d < steps; d++)
            for (long e = 0; e < steps; e++, by += 4) {
                const REAL *at = grad + f * apart + d * pitch + e;
                for (int l = 0; l < lanes; l++) {
                    const NAME(Lanes) v = *(const NAME(Lanes) *)(at + l * SOME);
                    for (int n = 0; n < 4; n++) sum[n][l] = NAME(plus)(sum[n][l], by[n], v);
                }
            }
    for (int n = 0; n < 4; n++)
        for (int l = 0; l < lanes; l++) to[n * lanes + l] = sum[n][l];
}

/* A row of the guide's gradient from its even and its odd columns, `some` of each. */
static ALWAYS_INLINE void NAME(join_columns)(NAME(Lanes) even, NAME(Lanes) odd, long some, REAL *out) {
    REAL both[2 * SOME];
    REAL *to = some < SOME ? both : out;
#ifdef SHUFFLED
    *(NAME(Lanes) *)to = ZIPPED(even, odd, 0), *(NAME(Lanes) *)(to + SOME) = ZIPPED(even, odd, 1);
#else
    for (int n = 0; n < SOME; n++) to[2 * n] = even[n], to[2 * n + 1] = odd[n];
#endif
    for (long n = 0; some < SOME && n < 2 * some; n++) out[n] = both[n];
}

/* Planes start to stop of the gradient of the guide. */
static int NAME(guide_slopes)(const void *given, long start, long stop) {
    const Filters *job = given;
    const long high = (long)job->height, wide = (long)job->width, kernel = (long)job->kernel, padding = (kernel - 1) / 2;
    const long first = -((kernel - 1 - padding) / 2), steps = (1 + padding) / 2 - first + 1;
    const long pitch = wide + steps + NAME(PAIR) * SOME, apart = (high + steps) * pitch;
    REAL *grad = calloc((size_t)(2 * apart + 2 * steps * steps * 4), sizeof(REAL)), *by = grad + 2 * apart;
    for (long n = 0; grad && n < 2 * steps * steps * 4; n++) {
        const long down = n % 4 / 2 + padding - 2 * (n / 4 / steps % steps + first), right = n % 2 + padding - 2 * (n / 4 % steps + first);
        if (down >= 0 && down < kernel && right >= 0 && right < kernel)
            by[n] = ((const REAL *)job->filters)[(n / (4 * steps * steps) * kernel + down) * kernel + right];
    }
    for (long plane = start; grad && plane < stop; plane++) {
        for (long n = 0; n < 2 * high; n++)
            memcpy(grad + n / high * apart + (n % high - first) * pitch - first,
                   (const REAL *)job->grad + n / high * (long)job->apart + (plane * high + n % high) * wide, sizeof(REAL) * (size_t)wide);
        for (long i = 0; i < high; i++)
            for (long j = 0; j < wide; j += NAME(PAIR) * SOME) {
                NAME(Lanes) four[4 * NAME(PAIR)];
                NAME(meet)(grad + i * pitch + j, pitch, apart, steps, by, four, NAME(PAIR));
                for (long n = 0; n < 2 * NAME(PAIR); n++) {
                    const long l = n % NAME(PAIR), a = n / NAME(PAIR), rest = wide - j - l * SOME;
                    REAL *out = (REAL *)job->out + ((plane * high + i) * 2 + a) * 2 * wide + 2 * (j + l * SOME);
                    if (rest > 0) NAME(join_columns)(four[2 * a * NAME(PAIR) + l], four[(2 * a + 1) * NAME(PAIR) + l], rest < SOME ? rest : SOME, out);
                }
            }
    }
    free(grad);
    return grad != NULL;
}
