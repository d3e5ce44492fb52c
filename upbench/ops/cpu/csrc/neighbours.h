/* Included by body.h: every pixel of a map with the window of neighbours around it, `dilation` apart, channel by channel as
 * the planes lie: dot products with each, and sums of all by weights of the pixel's own. A tile is a row of the map. */

/* x[c, p] * x[c, q] summed over the channels, of two pixels. */
static ALWAYS_INLINE REAL NAME(dot)(const REAL *p, const REAL *q, long channels, long plane) {
    REAL sum = 0;
    for (long c = 0; c < channels; c++) sum += p[c * plane] * q[c * plane];
    return sum;
}

/* Cosines of row i with the taps of one row of windows, which lie in row y. by: one over the norm of every pixel. side is a
 * constant where it is a common one. */
static ALWAYS_INLINE void NAME(compare_rows)(const Neighbours *job, long i, long y, long tap_row, const long side) {
    const long width = (long)job->width, plane = (long)job->height * width, channels = (long)job->channels;
    const long apart = (long)job->dilation, half = side / 2, reach = half * apart, wide = 2 * SOME;
    const REAL *here = (const REAL *)job->x + i * width, *there = (const REAL *)job->x + y * width;
    const REAL *by = (const REAL *)job->by + i * width, *other_by = (const REAL *)job->by + y * width;
    /* Without the centre, which is no neighbour of its own. */
    REAL *out[MOST_SIDE];
    for (long t = 0; t < side; t++) {
        const long tap = tap_row * side + t, centre = side * side / 2;
        out[t] = tap == centre ? NULL : (REAL *)job->out + (tap - (tap > centre)) * plane + i * width;
    }
    const long last = width - reach - wide;
    long from = width, to = width;
    if (last >= reach) from = reach, to = last + wide;
    for (long j = from; j < to; j += wide) {
        const long at = j > last ? last : j;
        NAME(Lanes) sum[MOST_SIDE][2];
        for (long t = 0; t < side; t++) sum[t][0] = sum[t][1] = (NAME(Lanes)){0};
        for (long c = 0; c < channels; c++) {
            const REAL *p = here + c * plane + at, *q = there + c * plane + at - reach;
            const NAME(Lanes) first = *(const NAME(Lanes) *)p, second = *(const NAME(Lanes) *)(p + SOME);
            for (long t = 0; t < side; t++) {
                sum[t][0] += first * *(const NAME(Lanes) *)(q + t * apart);
                sum[t][1] += second * *(const NAME(Lanes) *)(q + t * apart + SOME);
            }
        }
        for (long t = 0; t < side; t++)
            for (int n = 0; out[t] && n < 2; n++) {
                const long k = at + n * SOME;
                *(NAME(Lanes) *)(out[t] + k) = sum[t][n] * *(const NAME(Lanes) *)(by + k) *
                                               *(const NAME(Lanes) *)(other_by + k + t * apart - reach);
            }
    }
    for (long j = 0; j < width; j = j + 1 == from ? to : j + 1)
        for (long t = 0; t < side; t++) {
            const long k = j + t * apart - reach;
            if (!out[t]) continue;
            out[t][j] = k < 0 || k >= width ? 0 : NAME(dot)(here + j, there + k, channels, plane) * by[j] * other_by[k];
        }
}

static int NAME(compare_neighbours)(const void *given, long start, long stop) {
    const Neighbours *job = given;
    const long side = (long)job->side, width = (long)job->width, height = (long)job->height;
    for (long i = start; i < stop; i++)
        for (long r = 0; r < side; r++) {
            const long y = i + (r - side / 2) * (long)job->dilation;
            if (y < 0 || y >= height) {
                for (long tap = r * side; tap < (r + 1) * side; tap++)
                    if (tap != side * side / 2)
                        memset((REAL *)job->out + ((tap - (tap > side * side / 2)) * height + i) * width, 0,
                               sizeof(REAL) * (size_t)width);
            } else if (side == 3)
                NAME(compare_rows)(job, i, y, r, 3);
            else
                NAME(compare_rows)(job, i, y, r, side);
        }
    return 1;
}

/* Row i of every channel: the sum over all taps of by[tap, p] * x[c, p + offset], the centre among them. */
static ALWAYS_INLINE void NAME(blend_row)(const Neighbours *job, long i, const long side) {
    const long width = (long)job->width, high = (long)job->height, plane = high * width;
    const long apart = (long)job->dilation, reach = side / 2 * apart, last = width - reach - SOME;
    const long above = (reach - i + apart - 1) / apart, below = (high - 1 - i + reach) / apart + 1;
    const long first_row = above > 0 ? above : 0, end_row = below < side ? below : side;
    const REAL *by = (const REAL *)job->by + i * width;
    long from = width, to = width;
    if (last >= reach) from = reach, to = last + SOME;
    for (long c = 0; c < (long)job->channels; c++) {
        const REAL *x = (const REAL *)job->x + c * plane + i * width;
        REAL *out = (REAL *)job->out + c * plane + i * width;
        for (long j = from; j < to; j += SOME) {
            const long at = j > last ? last : j;
            NAME(Lanes) sum = {0};
            for (long r = first_row; r < end_row; r++)
                for (long t = 0; t < side; t++)
                    sum += *(const NAME(Lanes) *)(by + (r * side + t) * plane + at) *
                           *(const NAME(Lanes) *)(x + at + (r * apart - reach) * width + t * apart - reach);
            *(NAME(Lanes) *)(out + at) = sum;
        }
        for (long j = 0; j < width; j = j + 1 == from ? to : j + 1) {
            REAL sum = 0;
            for (long r = first_row; r < end_row; r++)
                for (long t = 0; t < side; t++) {
                    const long k = j + t * apart - reach;
                    if (k >= 0 && k < width) sum += by[(r * side + t) * plane + j] * x[(r * apart - reach) * width + k];
                }
            out[j] = sum;
        }
    }
}

static int NAME(blend_neighbours)(const void *given, long start, long stop) {
    const Neighbours *job = given;
    for (long i = start; i < stop; i++)
        if (job->side == 3)
            NAME(blend_row)(job, i, 3);
        else
            NAME(blend_row)(job, i, (long)job->side);
    return 1;
}
