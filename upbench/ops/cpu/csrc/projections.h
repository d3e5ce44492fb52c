/* Included by map_kinds.h for each type: moments of planes, and pointwise convolutions of planes to planes. */

enum { NAME(PARTS) = WIDE ? (REGISTERS < 32 ? 1 : 2) : REGISTERS < 32 ? 2 : 4 }; /* vectors of pixels that are summed at once */

#undef PLANE_PITCH /* from a plane of a parcel to the next: a power of two would bring them all to a few sets of a small cache */
#if REGISTERS >= 32
#define PLANE_PITCH PARCEL
#else
#define PLANE_PITCH (PARCEL + 16)
#endif

#include "bfloat_planes.h"

/* Planes start to stop: mean and variance of each. */
static int NAME(moments)(const void *given, long start, long stop) {
    const Moments *job = given;
    const long count = (long)job->pixels;
    for (long plane = start; plane < stop; plane++) {
        const REAL *x = (const REAL *)job->x + plane * count;
        double *out = (double *)job->out + 2 * plane, total = 0, squares = 0, near = 0;
#if BY_PAIRS
        if (job->paired) {
            NAME(moments_pairs)((const uint16_t *)job->x + plane * count, count, out);
            continue;
        }
#endif
        const long few = count < 64 * SOME ? count : 64 * SOME;
        for (long n = 0; n < few; n++) near += (double)x[n];
        const REAL shift = (REAL)(near / (double)few); /* numbers near their mean have squares that add up well */
        for (long first = 0; first < count; first += 256 * SOME) {
            const long last = count - first < 256 * SOME ? count : first + 256 * SOME;
            NAME(Lanes) sum[2] = {{0}}, square[2] = {{0}};
            long n = first;
            for (; n + 2 * SOME <= last; n += 2 * SOME)
                for (int l = 0; l < 2; l++) {
                    const NAME(Lanes) v = *(const NAME(Lanes) *)(x + n + l * SOME) - shift;
                    sum[l] += v, square[l] += v * v;
                }
            total += (double)NAME(sum)(sum[0] + sum[1]), squares += (double)NAME(sum)(square[0] + square[1]);
            for (; n < last; n++) {
                const double v = (double)(x[n] - shift);
                total += v, squares += v * v;
            }
        }
        const double mean = total / (double)count, spread = squares / (double)count - mean * mean;
        out[0] = (double)shift + mean, out[1] = spread > 0 ? spread : 0;
    }
    return 1;
}

/* OUTPUTS of some vectors of pixels, added to `sums`: near [channels, PLANE_PITCH], weights [channels, outputs]. */
static ALWAYS_INLINE void NAME(weigh_planes)(const REAL *near, const REAL *weights, long channels, long outputs, REAL *sums) {
    NAME(Lanes) sum[OUTPUTS][NAME(PARTS)];
    for (int o = 0; o < OUTPUTS; o++)
        for (int l = 0; l < NAME(PARTS); l++) sum[o][l] = *(const NAME(Lanes) *)(sums + o * PLANE_PITCH + l * SOME);
    for (long k = 0; k < channels; k++) {
        NAME(Lanes) v[NAME(PARTS)];
        for (int l = 0; l < NAME(PARTS); l++) v[l] = *(const NAME(Lanes) *)(near + k * PLANE_PITCH + l * SOME);
        for (int o = 0; o < OUTPUTS; o++)
            for (int l = 0; l < NAME(PARTS); l++) sum[o][l] += weights[k * outputs + o] * v[l];
    }
    for (int o = 0; o < OUTPUTS; o++)
        for (int l = 0; l < NAME(PARTS); l++) *(NAME(Lanes) *)(sums + o * PLANE_PITCH + l * SOME) = sum[o][l];
}

/* Some pixels of some planes. What is far apart in memory is asked for ahead: every plane is on another page. */
static ALWAYS_INLINE void NAME(fetch_planes)(const REAL *x, long step, long planes, long some, REAL *near) {
    for (long k = 0; k < planes; k++)
        for (long m = 0; m < PARCEL; m += SOME) {
            const REAL *at = x + k * step + m;
            const long rest = some - m < SOME ? some - m : SOME;
            *(NAME(Lanes) *)(near + k * PLANE_PITCH + m) = rest > 0 ? NAME(load_part)(at, rest) : (NAME(Lanes)){0};
            PREFETCH(at + AHEAD * step);
        }
}

/* Parcels of pixels start to stop. */
static int NAME(planes)(const void *given, long start, long stop) {
    const Planes *job = given;
#if BY_PAIRS
    if (job->paired) return NAME(planes_pairs)(job, start, stop);
#endif
    const long channels = (long)job->channels, outputs = (long)job->outputs, pixels = (long)job->pixels;
    const long padded = (outputs + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    const REAL *weights = job->weights, *bias = weights + channels * padded;
    /* Whole lines of the cache: a vector that lies in two is read as two. */
    REAL *near = aligned_alloc(64, sizeof(REAL) * (size_t)((DEEP + padded) * PLANE_PITCH)), *sums = near + DEEP * PLANE_PITCH;
    for (long parcel = start; near && parcel < stop; parcel++) {
        const long first = parcel * PARCEL, some = pixels - first < PARCEL ? pixels - first : PARCEL;
        for (long o = 0; o < padded; o++)
            for (long m = 0; m < PARCEL; m++) sums[o * PLANE_PITCH + m] = bias[o];
        for (long c = 0; c < channels; c += DEEP) {
            const long deep = channels - c < DEEP ? channels - c : DEEP;
            NAME(fetch_planes)((const REAL *)job->x + c * pixels + first, pixels, deep, some, near);
#if REGISTERS >= 32
            /* What is gathered next, a plane of it for each vectors of pixels, comes near while these are weighed. */
            const int last = c + deep >= channels;
            const REAL *next = (const REAL *)job->x + (last ? 0 : c + deep) * pixels + first + (last ? PARCEL : 0);
            const long more = last ? pixels - first - PARCEL : some;
            const long planes = last ? (channels < DEEP ? channels : DEEP) : channels - c - deep < DEEP ? channels - c - deep : DEEP;
            long asked = 0;
            for (long o = 0; o < padded; o += OUTPUTS)
                for (long m = 0; m < PARCEL; m += NAME(PARTS) * SOME) {
                    for (long n = 0; n < 8 && asked < planes * PARCEL; n++, asked += 64 / sizeof(REAL))
                        if (asked % PARCEL < more) PREFETCH(next + asked / PARCEL * pixels + asked % PARCEL);
                    NAME(weigh_planes)(near + m, weights + c * padded + o, deep, padded, sums + o * PLANE_PITCH + m);
                }
#else
            for (long m = 0; m < PARCEL; m += NAME(PARTS) * SOME)
                for (long o = 0; o < padded; o += OUTPUTS)
                    NAME(weigh_planes)(near + m, weights + c * padded + o, deep, padded, sums + o * PLANE_PITCH + m);
#endif
        }
        for (long o = 0; o < outputs; o++)
            for (long m = 0; m < some; m += SOME)
                NAME(store_some)((REAL *)job->out + o * pixels + first + m, *(const NAME(Lanes) *)(sums + o * PLANE_PITCH + m), some - m);
    }
    free(near);
    return near != NULL;
}
