/* Included by map_kinds.h for each type: means over boxes, and the guided filter that is made of them. */

/* Pixels within the radius of each of `size` along one side: one over their number. */
static ALWAYS_INLINE void NAME(shares)(REAL *to, long size, long radius) {
    for (long j = 0; j < size; j++) {
        const long first = j < radius ? 0 : j - radius, last = size - 1 - j < radius ? size - 1 : j + radius;
        to[j] = 1 / (REAL)(last - first + 1);
    }
}

/* Sums over 2 reach + 1 numbers of a line, which has as many zeros on each side. Every sum is taken anew: a running one would keep
 * the rounding of all before it. */
static ALWAYS_INLINE void NAME(sums_across)(const REAL *line, long reach, long wide, REAL *to) {
    for (long j = 0; j < wide; j += SOME) {
        NAME(Lanes) sum = *(const NAME(Lanes) *)(line + j);
        for (long n = 1; n <= 2 * reach; n++) sum += *(const NAME(Lanes) *)(line + j + n);
        *(NAME(Lanes) *)(to + j) = sum;
    }
}

/* The sum over the rows within the radius of row i at some columns. */
static ALWAYS_INLINE NAME(Lanes) NAME(sum_down)(const REAL *part, long pitch, long high, long radius, long i, long j) {
    const long first = i < radius ? 0 : i - radius, last = high - 1 - i < radius ? high - 1 : i + radius;
    NAME(Lanes) sum = *(const NAME(Lanes) *)(part + first * pitch + j);
    for (long n = first + 1; n <= last; n++) sum += *(const NAME(Lanes) *)(part + n * pitch + j);
    return sum;
}

static ALWAYS_INLINE void NAME(store_some)(REAL *to, NAME(Lanes) v, long rest) {
    if (rest < SOME)
        NAME(store_part)(to, v, rest);
    else
        *(NAME(Lanes) *)to = v;
}

/* Planes start to stop. */
static int NAME(box)(const void *given, long start, long stop) {
    const Box *job = given;
    const long high = (long)job->height, wide = (long)job->width, radius = (long)job->radius;
    const long reach = radius < wide ? radius : wide - 1, pitch = (wide + SOME - 1) / SOME * SOME;
    const int transposed = job->transposed != 0;
    REAL *memory = calloc((size_t)(2 * pitch + 2 * reach + high + high * pitch), sizeof(REAL));
    if (!memory) return 0;
    REAL *across = memory, *line = across + pitch, *down = line + pitch + 2 * reach, *part = down + high;
    NAME(shares)(across, wide, radius), NAME(shares)(down, high, radius);
    for (long plane = start; plane < stop; plane++) {
        const REAL *x = (const REAL *)job->x + plane * high * wide;
        REAL *out = (REAL *)job->out + plane * high * wide;
        for (long i = 0; i < high; i++) {
            REAL *from = line + reach;
            if (transposed)
                for (long j = 0; j < wide; j++) from[j] = x[i * wide + j] * across[j] * down[i];
            else
                memcpy(from, x + i * wide, sizeof(REAL) * (size_t)wide);
            NAME(sums_across)(line, reach, wide, part + i * pitch);
        }
        for (long i = 0; i < high; i++)
            for (long j = 0; j < wide; j += SOME) {
                NAME(Lanes) sum = NAME(sum_down)(part, pitch, high, radius, i, j);
                if (!transposed) sum *= *(const NAME(Lanes) *)(across + j) * down[i];
                NAME(store_some)(out + i * wide + j, sum, wide - j);
            }
    }
    free(memory);
    return 1;
}

/* Every `step`th number of a row. */
static ALWAYS_INLINE void NAME(subsample)(const REAL *row, long step, long count, REAL *to) {
    long j = 0;
#ifdef SHUFFLED
    for (; step == 2 && j + SOME < count; j += SOME) {
        const NAME(Lanes) a = *(const NAME(Lanes) *)(row + 2 * j), b = *(const NAME(Lanes) *)(row + 2 * j + SOME);
        *(NAME(Lanes) *)(to + j) = EVEN(a, b);
    }
#endif
    for (; j < count; j++) to[j] = row[j * step];
}

/* Where each of `out` pixels of one side lies on `size`: the pixel before it, and how far beyond; and within the first and last. */
static ALWAYS_INLINE void NAME(positions)(long size, long out, long *before, REAL *beyond) {
    for (long n = 0; n < out; n++) {
        const double position = ((double)n + 0.5) * (double)size / (double)out - 0.5, inside = position > 0 ? position : 0;
        before[n] = (long)inside < size - 1 ? (long)inside : size - 1;
        beyond[n] = (REAL)(inside - (double)before[n]);
    }
}

/* Row `to` = a guidance + b, where a and b are rows of means with a number more on each side, at the output's columns. */
static ALWAYS_INLINE void NAME(affine_row)(const REAL *guidance, const REAL *a, const REAL *b, long count, long wide,
                                           const long *before, const REAL *beyond, REAL *to) {
    long j = 0;
#ifdef SHUFFLED
    const REAL near = (REAL)0.75, far = (REAL)0.25;
    for (; wide == 2 * count && j + SOME <= count; j += SOME) {
        NAME(Lanes) both[2][2];
        for (int n = 0; n < 2; n++) {
            const REAL *at = (n ? b : a) + j;
            const NAME(Lanes) own = near * *(const NAME(Lanes) *)at;
            const NAME(Lanes) even = own + far * *(const NAME(Lanes) *)(at - 1), odd = own + far * *(const NAME(Lanes) *)(at + 1);
            both[n][0] = ZIPPED(even, odd, 0), both[n][1] = ZIPPED(even, odd, 1);
        }
        for (int n = 0; n < 2; n++) {
            const long at = 2 * j + n * SOME;
            *(NAME(Lanes) *)(to + at) = both[0][n] * *(const NAME(Lanes) *)(guidance + at) + both[1][n];
        }
    }
    j *= 2;
#endif
    for (; j < wide; j++) {
        const REAL *from = a + before[j], *other = b + before[j];
        const REAL factor = from[0] + beyond[j] * (from[1] - from[0]), shift = other[0] + beyond[j] * (other[1] - other[0]);
        to[j] = factor * guidance[j] + shift;
    }
}

/* Planes start to stop. Of each: the means of guidance, source, guidance^2 and guidance * source, of which one pixel of some was
 * kept; from those a and b, their means, and these at every pixel. */
static int NAME(guided)(const void *given, long start, long stop) {
    const Guided *job = given;
    const long high = (long)job->height, wide = (long)job->width, step = (long)job->subsample, radius = (long)job->radius;
    const long tall = high < step ? 1 : high / step, broad = wide < step ? 1 : wide / step;
    const long reach = radius < broad ? radius : broad - 1, pitch = (broad + SOME - 1) / SOME * SOME, apart = tall * pitch;
    const long line = pitch + 2 * reach + SOME;
    REAL *memory = calloc((size_t)(6 * apart + 6 * line + pitch + tall + high + wide), sizeof(REAL));
    long *before = malloc(sizeof(long) * (size_t)(high + wide));
    const int ready = memory && before;
    REAL *parts = memory, *lines = parts + 6 * apart, *across = lines + 6 * line, *down = across + pitch;
    REAL *beyond = down + tall;
    if (ready) {
        NAME(shares)(across, broad, radius), NAME(shares)(down, tall, radius);
        NAME(positions)(tall, high, before, beyond), NAME(positions)(broad, wide, before + high, beyond + high);
    }
    for (long plane = start; ready && plane < stop; plane++) {
        const REAL *guidance = (const REAL *)job->guidance + plane * high * wide;
        const REAL *source = (const REAL *)job->source + plane * high * wide;
        for (long y = 0; y < tall; y++) {
            REAL *at = lines + reach;
            NAME(subsample)(guidance + y * step * wide, step, broad, at);
            NAME(subsample)(source + y * step * wide, step, broad, at + line);
            for (long j = 0; j < broad; j++)
                at[2 * line + j] = at[j] * at[j], at[3 * line + j] = at[j] * at[line + j];
            for (int n = 0; n < 4; n++)
                NAME(sums_across)(lines + n * line, reach, broad, parts + n * apart + y * pitch);
        }
        for (long y = 0; y < tall; y++) {
            REAL *to = lines + 4 * line + reach;
            for (long j = 0; j < broad; j += SOME) {
                const NAME(Lanes) share = *(const NAME(Lanes) *)(across + j) * down[y];
                NAME(Lanes) mean[4];
                for (int n = 0; n < 4; n++) mean[n] = NAME(sum_down)(parts + n * apart, pitch, tall, radius, y, j) * share;
                const NAME(Lanes) a = (mean[3] - mean[0] * mean[1]) / (mean[2] - mean[0] * mean[0] + (REAL)job->eps);
                NAME(store_some)(to + j, a, broad - j);
                NAME(store_some)(to + line + j, mean[1] - a * mean[0], broad - j);
            }
            for (int n = 4; n < 6; n++)
                NAME(sums_across)(lines + n * line, reach, broad, parts + n * apart + y * pitch);
        }
        for (int n = 0; n < 2; n++)
            for (long y = 0; y < tall; y++)
                for (long j = 0; j < pitch; j += SOME)
                    *(NAME(Lanes) *)(parts + n * apart + y * pitch + j) =
                        NAME(sum_down)(parts + (4 + n) * apart, pitch, tall, radius, y, j) *
                        (*(const NAME(Lanes) *)(across + j) * down[y]);
        for (long y = 0; y < high; y++) {
            const long above = before[y] * pitch, below = above + (before[y] + 1 < tall ? pitch : 0);
            REAL *rows[2];
            for (int n = 0; n < 2; n++) {
                const REAL *from = parts + n * apart;
                REAL *to = rows[n] = lines + n * line + 1;
                for (long j = 0; j < broad; j++) to[j] = from[above + j] + beyond[y] * (from[below + j] - from[above + j]);
                to[-1] = to[0], to[broad] = to[broad - 1];
            }
            NAME(affine_row)(guidance + y * wide, rows[0], rows[1], broad, wide, before + high, beyond + high,
                             (REAL *)job->out + (plane * high + y) * wide);
        }
        memset(lines, 0, sizeof(REAL) * (size_t)(2 * line)); /* their margins are zeros again */
    }
    free(memory), free(before);
    return ready;
}
