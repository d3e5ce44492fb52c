/* Deformed points on the CPU in one pass: where each falls, how alike it is to the query, softmax, weighted sum.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `_native.py` is the other side of it.
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
#define TILE 8                 /* output pixels along a side of a tile; _native.py knows it too */
#define PIXELS (TILE * TILE)

/* keys: NULL to weigh only, by `weights` or, where those are NULL too, by 1. x: NULL to return the logits.
 * blocks: the channels that share a group and a head are one block; columns, rows: the x and y of the points. */
typedef struct {
    const void *x, *keys, *query, *embedding, *weights, *columns, *rows, *predictor;
    void *out;
    long out_height, out_width, channels, depth, groups, taps, heads, blocks, kernel;
    double factor, theta, eps;
    int height, width, border, inward;
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
#include "_kernels_body.h"

#define REAL double
#define NAME(name) name##_double
#define FLOOR floor
#define EXP exp
#define TANH tanh
#define ERF erf
#define SQRT sqrt
#define MOST DBL_MAX
#include "_kernels_body.h"

static PyObject *points(PyObject *Py_UNUSED(self), PyObject *args) {
    Job job;
    unsigned long long at[9];
    Py_ssize_t n[11], start, stop;
    int wide, ready;
    if (!PyArg_ParseTuple(args, "(KKKKKKKKK)(nnnnnnnnnnn)(ddd)pppnn", &at[0], &at[1], &at[2], &at[3], &at[4], &at[5],
                          &at[6], &at[7], &at[8], &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9],
                          &n[10], &job.factor, &job.theta, &job.eps, &job.border, &job.inward, &wide, &start, &stop))
        return NULL;
    const void **tensors[] = {&job.x,       &job.keys,    &job.query, &job.embedding,
                              &job.weights, &job.columns, &job.rows,  &job.predictor};
    for (int i = 0; i < 8; i++) *tensors[i] = (const void *)(uintptr_t)at[i];
    job.out = (void *)(uintptr_t)at[8];
    job.height = (int)n[0], job.width = (int)n[1], job.out_height = n[2], job.out_width = n[3];
    job.channels = n[4], job.depth = n[5], job.groups = n[6], job.taps = n[7], job.heads = n[8], job.blocks = n[9];
    job.kernel = n[10];
    Py_BEGIN_ALLOW_THREADS;
    ready = wide ? points_double(&job, start, stop) : points_float(&job, start, stop);
    Py_END_ALLOW_THREADS;
    if (!ready) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"points", points, METH_VARARGS, "Tiles start to stop of a job: addresses, sizes, numbers, border, inward, double, start, stop."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) {
    PyObject *made = PyModule_Create(&module);
    /* Of the addresses and sizes above: `_native.py` takes none but its own. */
    if (made && PyModule_AddIntConstant(made, "interface", 2) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
