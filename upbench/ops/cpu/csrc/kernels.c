/* Deformed points on the CPU in one pass: where each falls, how alike it is to the query, softmax, weighted sum.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `native.py` is the other side of it.
 * Nothing is kept but what belongs to one tile of output pixels. Maps are rows of channels ([H * W, C]), points all x
 * before all y, and like queries, weights and logits they lie pixel by pixel ([H' * W', groups or heads, taps]).
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define RESTRICT __restrict__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define RESTRICT __restrict
#define ALWAYS_INLINE inline
#endif

/* Of a loop: what it writes, no later turn of it reads. */
#if defined(__GNUC__) && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

/* One form for each generation of vector units; which one runs is decided when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { MANY = 64, SOME = 16 }; /* channels that are summed at once */
#define TILE 8                 /* output pixels along a side of a tile; native.py knows it too */
#define PIXELS (TILE * TILE)

/* keys: NULL to weigh only, by `weights` or, where those are NULL too, by 1. x: NULL to return the logits.
 * blocks: the channels that share a group and a head are one block; columns, rows: the x and y of the points, or for
 * a scale above 0 offsets from the parents in `columns`, see `fetch`. predictor: what makes the points from a query of
 * the map's size, see `derive`; guide, projection: what makes the query, see `project`. A pitch leads from a pixel to
 * the next. */
typedef struct {
    const void *x, *keys, *query, *embedding, *weights, *columns, *rows, *predictor, *guide, *projection;
    const void *out;
    long height, width, out_height, out_width, channels, depth, groups, taps, heads, blocks, kernel;
    long x_pitch, key_pitch, query_pitch, point_pitch, guide_channels, guide_step, guide_pitch, scale, spread;
    double factor, theta, eps;
    int border, inward;
} Job;

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

#define REAL float
#define NAME(name) name##_float
#define FLOOR floorf
#define EXP exp_of
#define TANH tanh_of
#define ERF erf_of
#define SQRT sqrtf
#define MOST FLT_MAX
#include "body.h"

#define REAL double
#define NAME(name) name##_double
#define FLOOR floor
#define EXP exp
#define TANH tanh
#define ERF erf
#define SQRT sqrt
#define MOST DBL_MAX
#include "body.h"

static PyObject *points(PyObject *Py_UNUSED(self), PyObject *args) {
    Job job;
    PyObject *addresses, *sizes;
    Py_ssize_t start, stop;
    int wide, ready;
    if (!PyArg_ParseTuple(args, "O!O!(ddd)pppnn", &PyTuple_Type, &addresses, &PyTuple_Type, &sizes, &job.factor,
                          &job.theta, &job.eps, &job.border, &job.inward, &wide, &start, &stop))
        return NULL;
    const void **tensors[] = {&job.x,    &job.keys,      &job.query, &job.embedding,  &job.weights, &job.columns,
                              &job.rows, &job.predictor, &job.guide, &job.projection, &job.out};
    long *numbers[] = {&job.height,     &job.width,   &job.out_height, &job.out_width,   &job.channels,
                       &job.depth,      &job.groups,  &job.taps,       &job.heads,       &job.blocks,
                       &job.x_pitch,    &job.key_pitch, &job.query_pitch, &job.point_pitch, &job.kernel,
                       &job.scale, &job.spread, &job.guide_channels, &job.guide_step, &job.guide_pitch};
    const Py_ssize_t places = sizeof tensors / sizeof *tensors, counts = sizeof numbers / sizeof *numbers;
    if (PyTuple_Size(addresses) != places || PyTuple_Size(sizes) != counts) {
        PyErr_SetString(PyExc_TypeError, "another number of addresses or sizes than this kernel takes");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < places; i++) *tensors[i] = PyLong_AsVoidPtr(PyTuple_GetItem(addresses, i));
    for (Py_ssize_t i = 0; i < counts; i++) *numbers[i] = (long)PyLong_AsSsize_t(PyTuple_GetItem(sizes, i));
    if (PyErr_Occurred()) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    ready = wide ? points_double(&job, start, stop) : points_float(&job, start, stop);
    Py_END_ALLOW_THREADS;
    if (!ready) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"points", points, METH_VARARGS,
     "Tiles start to stop of a job: addresses, sizes, (factor, theta, eps), border, inward, double, start, stop."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) {
    PyObject *made = PyModule_Create(&module);
    /* Of the addresses and sizes above: `native.py` takes none but its own. */
    if (made && PyModule_AddIntConstant(made, "interface", 4) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
