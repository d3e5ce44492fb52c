/* Included by forms.h for each pair of types: dot products with the pixels of a window, and the transpose of a sum over
 * windows. See window.h. */

static int NAME(similarity)(const void *given, long start, long stop) {
    const Windows *job = given;
    const long heads = (long)job->groups, depth = (long)job->channels / heads, taps = (long)(job->kernel * job->kernel);
    const long padded = NAME(padded)(taps);
    NAME(Desk) desk;
    const int ready = NAME(take_desk)(&desk, taps, 0);
    for (long i = start; ready && i < stop; i++)
        for (long j = 0; j < (long)job->cells_across; j++) {
            long pixels[CHILDREN], children[CHILDREN], n = 0;
            int count;
            NAME(look)(job, job->x, (long)job->x_row, (long)job->x_pitch, i, j, &desk);
            while ((count = NAME(children)(job, i, j, n, pixels, children)) > 0) {
                for (long h = 0; h < heads; h++) {
                    const STORED *queries[CHILDREN];
                    for (int m = 0; m < count; m++)
                        queries[m] = (const STORED *)job->query + pixels[m] * (long)job->query_pitch + h * depth;
                    NAME(compare_children)(&desk, queries, h * depth, depth, count);
                    for (int m = 0; m < count; m++) {
                        STORED *to = (STORED *)job->out + pixels[m] * (long)job->out_pitch + h * taps;
                        const REAL *from = desk.weights + m * padded;
                        NAME(store_all)(to, from, taps);
                    }
                }
                n += count;
            }
        }
    NAME(leave_desk)(&desk);
    return ready;
}

/* The places n where pixel p of a side of `size` is read: p itself, and mirrored outside. Returns how many. */
static ALWAYS_INLINE int NAME(images)(long p, long size, long reach, int border, long *places) {
    int count = 0;
    places[count++] = p;
    if (border == MIRRORED && p > 0 && p <= reach) places[count++] = -p;
    if (border == MIRRORED && p < size - 1 && p >= size - 1 - reach) places[count++] = 2 * (size - 1) - p;
    return count;
}

/* Who reads a pixel: children of other cells, and by which weight. */
typedef struct {
    const STORED **at;
    const STORED **weights;
    REAL *by;
    long count;
} NAME(Readers);

static ALWAYS_INLINE void NAME(add_readers)(const Windows *job, long y, long x, NAME(Readers) * to) {
    const long kernel = (long)job->kernel, origin = (long)job->origin;
    for (long r = 0; r < kernel; r++) {
        const long i = y - origin - r;
        if (i < 0 || i >= (long)job->height) continue;
        for (long s = 0; s < kernel; s++) {
            const long j = x - origin - s;
            if (j < 0 || j >= (long)job->width) continue;
            for (long a = (long)job->rows[i]; a < (long)job->rows[i + 1]; a++)
                for (long b = (long)job->columns[j]; b < (long)job->columns[j + 1]; b++) {
                    const long pixel = a * (long)job->out_width + b;
                    to->at[to->count] = (const STORED *)job->query + pixel * (long)job->query_pitch;
                    to->weights[to->count++] = (const STORED *)job->weights + pixel * (long)job->weight_pitch +
                                               (r * kernel + s) * (long)job->tap_step;
                }
        }
    }
}

/* `lanes` times SOME channels of the sum over all readers. */
static ALWAYS_INLINE void NAME(gather)(const NAME(Readers) * from, STORED *out, long c, const int lanes) {
    NAME(Lanes) sum[8];
    for (int l = 0; l < lanes; l++) sum[l] = (NAME(Lanes)){0};
    for (long n = 0; n < from->count; n++)
        for (int l = 0; l < lanes; l++) sum[l] += from->by[n] * NAME(load)(from->at[n] + c + l * SOME);
    for (int l = 0; l < lanes; l++) NAME(store)(out + c + l * SOME, sum[l]);
}

/* Pixels of the low-resolution map, a tile of TALL x BROAD at a time: what reads one of them mostly reads the next. */
static int NAME(scatter)(const void *given, long start, long stop) {
    const Windows *job = given;
    const long channels = (long)job->channels, groups = (long)job->groups, each = channels / groups;
    const long width = (long)job->width, height = (long)job->height, across = (width + BROAD - 1) / BROAD;
    const long most = (long)job->most, reach = (long)(job->kernel / 2);
    NAME(Readers) readers = {malloc(sizeof(STORED *) * (size_t)most), malloc(sizeof(STORED *) * (size_t)most),
                             malloc(sizeof(REAL) * (size_t)most), 0};
    const int ready = readers.at && readers.weights && readers.by;
    for (long tile = start; ready && tile < stop; tile++)
        for (long p = 0; p < TALL * BROAD; p++) {
            const long y = tile / across * TALL + p / BROAD, x = tile % across * BROAD + p % BROAD;
            if (y >= height || x >= width) continue;
            long rows[3], columns[3];
            const int high = NAME(images)(y, height, reach, (int)job->border, rows);
            const int broad = NAME(images)(x, width, reach, (int)job->border, columns);
            STORED *out = (STORED *)job->out + (y * width + x) * (long)job->out_pitch;
            readers.count = 0;
            for (int a = 0; a < high; a++)
                for (int b = 0; b < broad; b++) NAME(add_readers)(job, rows[a], columns[b], &readers);
            for (long g = 0; g < groups; g++) {
                for (long n = 0; n < readers.count; n++)
                    readers.by[n] = NAME(number)(readers.weights[n] + g * (long)job->group_step);
                long c = g * each;
                const long end = c + each;
                for (; c + 8 * SOME <= end; c += 8 * SOME) NAME(gather)(&readers, out, c, 8);
                for (; c + 2 * SOME <= end; c += 2 * SOME) NAME(gather)(&readers, out, c, 2);
                for (; c + SOME <= end; c += SOME) NAME(gather)(&readers, out, c, 1);
                if (c < end) {
                    NAME(Lanes) sum = {0};
                    for (long n = 0; n < readers.count; n++)
                        sum += readers.by[n] * NAME(load_part)(readers.at[n] + c, end - c);
                    NAME(store_part)(out + c, sum, end - c);
                }
            }
        }
    free(readers.at), free(readers.weights), free(readers.by);
    return ready;
}
