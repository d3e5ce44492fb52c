/* Steps on whole maps that are short loops: means over boxes, paired differences, the softmax over few taps.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `map_kernels.py` is the other side of it. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define RESTRICT __restrict__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define RESTRICT __restrict
#define ALWAYS_INLINE inline
#endif

#define APART ALWAYS_INLINE /* the clones of a function may pass a vector in other registers */

/* One form for each generation of vector units; which one runs is decided when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* of vectors in functions that are inlined everywhere */
#endif

enum { SOME = 16, TILE = 8, PIXELS = TILE * TILE }; /* SOME, TILE: map_kernels.py knows them too */
#define PLAIN 0
#define BRAIN 1
#define HALF 2

/* What each entry is given: one struct, filled by name in `map_kernels.py`. Every field is 8 bytes wide; dtype comes last.
 *
 * Planes [height, width] one after another, the mean over (2 radius + 1)^2 pixels or, transposed, what its gradient is. */
typedef struct {
    const void *x;
    void *out;
    int64_t height, width, radius, transposed, dtype;
} Box;

/* key, query: planes [channels, height, width]. weights: for each group of outputs and each SOME of them [inputs, SOME], where the
 * inputs are the taps of each channel of the key, then the channels of the query; then the bias. inner: the same of the second
 * layer, whose inputs are the outputs of the group. out: [height * width, outputs]; sums: of each tile of those and of their
 * squares [2, outputs]. */
typedef struct {
    const void *key, *query, *weights, *inner;
    void *out, *sums;
    int64_t height, width, channels, outputs, groups, kernel, dilation, dtype;
} Differences;

/* The gradients of the same, given that of the scores, planes [scores, height * width], and `hidden`, what was returned. weights: as
 * above; first, inner: those of the two layers as rows of inputs; last: [scores, outputs], then for each output what a norm adds
 * to the gradient and what it adds per value of it. For each strip of tiles: dkey [channels, TILE + 2 reach, width], dfirst
 * [groups, inputs, outputs / groups], dinner likewise, dbiases [2, outputs]. */
typedef struct {
    const void *key, *query, *grad, *hidden, *weights, *first, *inner, *last;
    void *dkey, *dquery, *dfirst, *dinner, *dbiases;
    int64_t height, width, channels, outputs, groups, kernel, dilation, scores, dtype;
} DifferenceSlopes;

/* Rows of taps. grad: NULL, or the gradient of the softmax x, from which that of the logits is made. */
typedef struct {
    const void *x, *grad;
    void *out;
    int64_t rows, taps, dtype;
} Softmax;

#define FORM PLAIN
#define REAL float
#define STORED float
#define WIDE 0
#define NAME(name) name##_float
#include "lanes.h"
#include "layers.h"
#include "layer_slopes.h"
#undef REAL
#undef STORED
#undef WIDE
#undef NAME

#define REAL double
#define STORED double
#define WIDE 1
#define NAME(name) name##_double
#include "lanes.h"
#include "layers.h"
#include "layer_slopes.h"

typedef int (*Work)(const void *, long, long);

/* Runs the form of an entry for the dtype of a job: address and size of the struct, the tiles to take. */
static PyObject *run(PyObject *args, size_t expected, size_t dtype_at, const Work *forms) {
    unsigned long long address;
    Py_ssize_t size, start, stop;
    if (!PyArg_ParseTuple(args, "Knnn", &address, &size, &start, &stop)) return NULL;
    const char *job = (const char *)(uintptr_t)address;
    if ((size_t)size != expected) {
        PyErr_SetString(PyExc_TypeError, "another struct than this entry takes");
        return NULL;
    }
    int ready;
    Py_BEGIN_ALLOW_THREADS;
    ready = forms[*(const int64_t *)(job + dtype_at)](job, (long)start, (long)stop);
    Py_END_ALLOW_THREADS;
    if (!ready) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* In the order of `map_kernels.DTYPES`. */
#define ENTRY(name, Job) \
    static PyObject *name(PyObject *Py_UNUSED(self), PyObject *args) { \
        static const Work forms[] = {name##_float, name##_double}; \
        return run(args, sizeof(Job), offsetof(Job, dtype), forms); \
    }
ENTRY(box, Box)
ENTRY(differences, Differences)
ENTRY(difference_slopes, DifferenceSlopes)
ENTRY(softmax, Softmax)

static PyMethodDef methods[] = {
    {"box", box, METH_VARARGS, "Planes start to stop of means over boxes: address and size of a Box, start, stop."},
    {"differences", differences, METH_VARARGS, "Tiles start to stop of paired differences: of a Differences."},
    {"difference_slopes", difference_slopes, METH_VARARGS, "Strips start to stop of their gradients: of a DifferenceSlopes."},
    {"softmax", softmax, METH_VARARGS, "Blocks of rows start to stop of a softmax over taps: of a Softmax."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_maps", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__maps(void) {
    PyObject *made = PyModule_Create(&module);
    /* Of the structs above: `map_kernels.py` takes none but its own. */
    if (made && PyModule_AddIntConstant(made, "interface", 2) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
