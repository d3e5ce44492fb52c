/* Deformed points on the CPU in one pass: where each falls, how alike it is to the query, softmax, weighted sum.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `native.py` is the other side of it.
 * Nothing is kept but what belongs to one tile of output pixels. Maps are rows of channels ([H * W, C]), points all x
 * before all y, and like queries, weights and logits they lie pixel by pixel ([H' * W', groups or heads, taps]).
 */

#include "vectors.h"

/* Of a loop: what it writes, no later turn of it reads. */
#if defined(__GNUC__) && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

/* What is written to memory before it is not computed together with what follows. */
#if defined(__GNUC__)
#define BARRIER __asm__ volatile("" ::: "memory")
#else
#define BARRIER (void)0
#endif

enum { MOST_ROWS = 4 };        /* pixels that are */
enum { NEAR = 32 };            /* pixels of a tile of normed.h; normed.py knows it too */
enum { MOST_SIDE = 7 };        /* taps along a side of a window of neighbours; local_similarity.py knows it too */
#define TILE 8                 /* output pixels along a side of a tile; native.py knows it too */
#define PIXELS (TILE * TILE)
#define ALIGNED 64 /* bytes of a line of the cache */

#include "jobs.h"

/* e^v for v <= 0, to 2e-7 of it. Unlike the library's it can be taken in vectors. */
static ALWAYS_INLINE float exp_of(float v) {
    const float t = v * 1.44269504f;
    int whole = (int)(t - 0.5f);
    whole = whole < -126 ? -126 : whole;
    float f = t - (float)whole;
    f = (f < -1 ? -1 : f) * 0.693147181f;
    union {
        int bits;
        float value;
    } power = {(whole + 127) << 23};
    const float tail = f * f * (1.f / 2 + f * (1.f / 6 + f * (1.f / 24 + f * (1.f / 120 + f * (1.f / 720)))));
    return power.value * (1 + f + tail);
}

static ALWAYS_INLINE uint32_t bits_of(float v) {
    union {
        float value;
        uint32_t bits;
    } of = {v};
    return of.bits;
}

/* The nearest bfloat16, of two as near the even one. */
static ALWAYS_INLINE uint16_t bfloat_of(float v) {
    const uint32_t bits = bits_of(v), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

/* The nearest float16, likewise. Below its normal numbers the sum with one half rounds at the right place. */
static ALWAYS_INLINE uint16_t half_of(float v) {
    const uint32_t bits = bits_of(v), size = bits & 0x7fffffff, sign = (bits >> 16) & 0x8000;
    const uint32_t small = bits_of(fabsf(v) + 0.5f) - 0x3f000000, normal = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    uint32_t found = size < 0x38800000 ? small : normal;
    found = size >= 0x47800000 ? 0x7c00 : found;
    found = size > 0x7f800000 ? 0x7e00 : found;
    return (uint16_t)(sign | found);
}

/* tanh(v) to 1e-7. */
static ALWAYS_INLINE float tanh_of(float v) {
    const float shrunk = exp_of(-2 * fabsf(v));
    return copysignf((1 - shrunk) / (1 + shrunk), v);
}

/* erf(v) to 1e-7, as a quotient of two polynomials in v^2. */
static ALWAYS_INLINE float erf_of(float v) {
    v = v < -4 ? -4 : v > 4 ? 4 : v;
    const float s = v * v;
    const float above =
        -1.60960333262415e-02f +
        s * (-2.95459980854025e-03f +
             s * (-7.34990630326855e-04f +
                  s * (-5.69250639462346e-05f +
                       s * (-2.10102402082508e-06f + s * (2.77068142495902e-08f + s * -2.72614225801306e-10f)))));
    const float below = -1.42647390514189e-02f +
                        s * (-7.37332916720468e-03f +
                             s * (-1.68282697438203e-03f + s * (-2.13374055278905e-04f + s * -1.45660718464996e-05f)));
    return v * above / below;
}

#include "bfloat.h"

/* The entries of one generation, of float32 and of float64. */
typedef struct {
    Work points[2], boxes[2], compare_neighbours[2], blend_neighbours[2], slopes[2], scatter[2], normed[2];
} Entries;

#define KINDS "point_kinds.h"
#define MAY_BE_HALF 0
#define ENTRIES(of) \
    of(points), of(boxes), of(compare_neighbours), of(blend_neighbours), of(slopes), of(scatter), of(normed)
#include "generations.h"

static PyObject *given(PyObject *Py_UNUSED(self), PyObject *args) {
    Called call;
    if (!parsed(args, sizeof(Given), &call)) return NULL;
    const Given *from = call.job;
    Job job = job_of(&from->maps);
    job.columns = from->columns, job.rows = from->rows, job.weights = from->weights;
    return done(&call, entries->points[from->maps.wide != 0], &job);
}

static PyObject *predicted(PyObject *Py_UNUSED(self), PyObject *args) {
    Called call;
    if (!parsed(args, sizeof(Predicted), &call)) return NULL;
    const Predicted *from = call.job;
    Job job = job_of(&from->maps);
    job.predictor = from->layers, job.pairs = from->pairs, job.kernel = (long)from->kernel;
    job.theta = from->theta, job.eps = from->eps, job.in_input_pixels = from->in_input_pixels != 0;
    return done(&call, entries->points[from->maps.wide != 0], &job);
}

static PyObject *moved(PyObject *Py_UNUSED(self), PyObject *args) {
    Called call;
    if (!parsed(args, sizeof(Moved), &call)) return NULL;
    const Moved *from = call.job;
    Job job = job_of(&from->maps);
    job.offsets = from->offsets, job.guide = from->guide, job.projection = from->projection;
    job.offset_pitch = (long)from->offset_pitch, job.scale = (long)from->scale, job.spread = (long)from->spread;
    job.guide_channels = (long)from->guide_channels, job.guide_step = (long)from->guide_step;
    job.guide_pitch = (long)from->guide_pitch;
    return done(&call, entries->points[from->maps.wide != 0], &job);
}

static PyObject *boxes(PyObject *Py_UNUSED(self), PyObject *args) {
    return run(args, sizeof(Boxes), offsetof(Boxes, wide), entries->boxes);
}

static PyObject *neighbours(PyObject *Py_UNUSED(self), PyObject *args) {
    Called call;
    if (!parsed(args, sizeof(Neighbours), &call)) return NULL;
    const Neighbours *job = call.job;
    const Work *forms = job->compare ? entries->compare_neighbours : entries->blend_neighbours;
    return done(&call, forms[job->wide != 0], job);
}

static PyObject *slopes(PyObject *Py_UNUSED(self), PyObject *args) {
    Called call;
    if (!parsed(args, sizeof(Slopes), &call)) return NULL;
    const Slopes *job = call.job;
    const Work *forms = job->map ? entries->scatter : entries->slopes;
    return done(&call, forms[job->wide != 0], job);
}

static PyObject *normed(PyObject *Py_UNUSED(self), PyObject *args) {
    return run(args, sizeof(Normed), offsetof(Normed, wide), entries->normed);
}

static PyMethodDef methods[] = {
    {"normed", normed, METH_VARARGS, "Tiles of normed and projected planes: of a Normed."},
    {"given", given, METH_VARARGS, "Tiles over given points: address and size of a Given, tiles, tiles of a piece, threads."},
    {"predicted", predicted, METH_VARARGS, "The same over predicted points: of a Predicted."},
    {"moved", moved, METH_VARARGS, "The same over points moved from their parents: of a Moved."},
    {"boxes", boxes, METH_VARARGS, "Tiles of attention to cells: of a Boxes."},
    {"neighbours", neighbours, METH_VARARGS, "Rows of windows of neighbours: of a Neighbours."},
    {"slopes", slopes, METH_VARARGS, "Gradients over given points: slices of a map, or tiles: of a Slopes."},
    USE_OPENMP,
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) {
    return made_of(&module, 16); /* `native.py` and those it serves take the structs above alone */
}
