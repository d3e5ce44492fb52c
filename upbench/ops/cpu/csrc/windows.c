/* Windows on the CPU: sums over them, dot products with them and the transpose of the first, in one pass over their rows.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `window_kernels.py` is the other side of it.
 * Maps are rows of channels ([H * W, C]) and weights rows of taps ([H' * W', groups, taps]). What lies in memory may be half
 * precision; what is computed is at least float32. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define APART __attribute__((noinline)) /* what is called where many others are inlined too, and need not be held twice */
#endif

#if defined(__GNUC__)
#define PREFETCH(at) __builtin_prefetch(at)
#else
#define PREFETCH(at) (void)0
#endif

/* All of it is compiled for each generation of vector units; which one runs is decided when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__linux__) && \
    !defined(ONE_GENERATION)
#define GENERATIONS 1
#endif
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* of vectors in functions that are inlined everywhere */
#endif
#if defined(__SSE2__) && defined(__GNUC__) && !defined(__clang__)
#define FENCE __builtin_ia32_sfence()
#else
#define FENCE (void)0
#endif

enum { SOME = 16, CHILDREN = 4, TALL = 32, BROAD = 16, PIXELS = 32, STRIP = 16 }; /* TALL, BROAD, PIXELS: window_kernels.py knows them too */
enum { ZEROS, MIRRORED, REPEATED };                      /* what is read outside a map */
#define PLAIN 0
#define BRAIN 1
#define HALF 2

/* Two vectors a, b of 16, seen as groups: the first halves of all plus the second halves. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED(a, b, halves) (halves(a, b, 0) + halves(a, b, 1))
#define PICK __builtin_shufflevector
#define HALVES_OF_16(a, b, n) \
    PICK(a, b, 8 * n, 8 * n + 1, 8 * n + 2, 8 * n + 3, 8 * n + 4, 8 * n + 5, 8 * n + 6, 8 * n + 7, 8 * n + 16, 8 * n + 17, \
         8 * n + 18, 8 * n + 19, 8 * n + 20, 8 * n + 21, 8 * n + 22, 8 * n + 23)
#define HALVES_OF_8(a, b, n) \
    PICK(a, b, 4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3, 4 * n + 8, 4 * n + 9, 4 * n + 10, 4 * n + 11, 4 * n + 16, 4 * n + 17, \
         4 * n + 18, 4 * n + 19, 4 * n + 24, 4 * n + 25, 4 * n + 26, 4 * n + 27)
#define HALVES_OF_4(a, b, n) \
    PICK(a, b, 2 * n, 2 * n + 1, 2 * n + 4, 2 * n + 5, 2 * n + 8, 2 * n + 9, 2 * n + 12, 2 * n + 13, 2 * n + 16, 2 * n + 17, \
         2 * n + 20, 2 * n + 21, 2 * n + 24, 2 * n + 25, 2 * n + 28, 2 * n + 29)
#define HALVES_OF_2(a, b, n) \
    PICK(a, b, n, n + 2, n + 4, n + 6, n + 8, n + 10, n + 12, n + 14, n + 16, n + 18, n + 20, n + 22, n + 24, n + 26, n + 28, \
         n + 30)
/* A vector whose lanes moved by s. */
#define TURNED_8(v) PICK(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define TURNED_4(v) PICK(v, v, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define TURNED_2(v) PICK(v, v, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define TURNED_1(v) PICK(v, v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
/* Blocks of s of two vectors, a's and b's in turn: of each pair of blocks the first (n = 0), or the second. */
#define SWAPPED_8(a, b, n) \
    PICK(a, b, 8 * n + 0, 8 * n + 1, 8 * n + 2, 8 * n + 3, 8 * n + 4, 8 * n + 5, 8 * n + 6, 8 * n + 7, \
         8 * n + 16, 8 * n + 17, 8 * n + 18, 8 * n + 19, 8 * n + 20, 8 * n + 21, 8 * n + 22, 8 * n + 23)
#define SWAPPED_4(a, b, n) \
    PICK(a, b, 4 * n + 0, 4 * n + 1, 4 * n + 2, 4 * n + 3, 4 * n + 16, 4 * n + 17, 4 * n + 18, 4 * n + 19, \
         4 * n + 8, 4 * n + 9, 4 * n + 10, 4 * n + 11, 4 * n + 24, 4 * n + 25, 4 * n + 26, 4 * n + 27)
#define SWAPPED_2(a, b, n) \
    PICK(a, b, 2 * n + 0, 2 * n + 1, 2 * n + 16, 2 * n + 17, 2 * n + 4, 2 * n + 5, 2 * n + 20, 2 * n + 21, \
         2 * n + 8, 2 * n + 9, 2 * n + 24, 2 * n + 25, 2 * n + 12, 2 * n + 13, 2 * n + 28, 2 * n + 29)
#define SWAPPED_1(a, b, n) \
    PICK(a, b, n + 0, n + 16, n + 2, n + 18, n + 4, n + 20, n + 6, n + 22, \
         n + 8, n + 24, n + 10, n + 26, n + 12, n + 28, n + 14, n + 30)
#endif

typedef int (*Work)(const void *, long, long);

/* The entries of one generation, each in the order of `window_kernels.DTYPES`. */
typedef struct {
    Work assemble[4], attend[4], similarity[4], scatter[4], project[4], rows[4];
} Entries;

/* What every entry on windows is given, filled by name in `window_kernels.py`; every field is 8 bytes wide.
 *
 * rows, columns: of each row or column of cells the first output row or column, and in the end their number. A window begins
 * `origin` pixels from its cell. x, keys: low-resolution maps. query: the high-resolution map, of queries or of what is
 * scattered. weights: of output pixels, or where `shuffled` of cells, with the children last; softmax: whether they are logits.
 * guide: a high-resolution map that is mixed into the result by the share `gate` of each cell, or NULL. streams: whether the
 * result goes past the caches. A pitch leads from a pixel or cell to the next, a step from a channel or tap. most: readers of a
 * pixel, or output pixels of a strip. */
typedef struct {
    const void *x, *keys, *query, *weights, *guide, *gate;
    void *out;
    const int64_t *rows, *columns;
    int64_t height, width, cells_across, out_width, channels, depth, groups, kernel, origin, border, most;
    int64_t x_row, x_pitch, key_row, key_pitch, query_pitch, guide_step, guide_pitch, weight_pitch, group_step, tap_step, out_pitch;
    int64_t shuffled, softmax, streams, dtype;
} Windows;

/* A pointwise convolution, see project.h: of `pixels` pixels from `channels` to `outputs` channels. weights: [channels, outputs],
 * the outputs padded to whole lanes, then the bias; of the type that is computed in. Or, without weights, planes that become
 * rows, see planes.h. streams: whether these go past the caches. */
typedef struct {
    const void *x, *weights;
    void *out;
    int64_t pixels, channels, outputs, x_step, x_pitch, out_pitch, streams, dtype;
} Project;

#define JOINED(name, type, generation) name##_##type##_##generation
#define JOIN(name, type, generation) JOINED(name, type, generation)
#define NAME(name) JOIN(name, TYPE, GENERATION)

#if GENERATIONS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define GENERATION v4
#include "forms.h"
#undef GENERATION
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define GENERATION v3
#include "forms.h"
#undef GENERATION
#pragma GCC pop_options

/* Those before AVX2 get what is right, not what is fast. */
#pragma GCC optimize("O1")
#endif

#define GENERATION plain
#include "forms.h"

static const Entries *entries = &entries_of_plain;

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

#define ENTRY(name, Job) \
    static PyObject *name(PyObject *Py_UNUSED(self), PyObject *args) { \
        return run(args, sizeof(Job), offsetof(Job, dtype), entries->name); \
    }
ENTRY(assemble, Windows)
ENTRY(attend, Windows)
ENTRY(similarity, Windows)
ENTRY(scatter, Windows)
ENTRY(project, Project)
ENTRY(rows, Project)

static PyMethodDef methods[] = {
    {"assemble", assemble, METH_VARARGS, "Rows start to stop of sums over windows: address and size of a Windows, start, stop."},
    {"attend", attend, METH_VARARGS, "The same by the softmax of dot products with the windows of keys."},
    {"similarity", similarity, METH_VARARGS, "Rows start to stop of dot products with windows."},
    {"scatter", scatter, METH_VARARGS, "Tiles start to stop of the transpose of the sums."},
    {"project", project, METH_VARARGS, "Tiles start to stop of a pointwise convolution: address and size of a Project."},
    {"rows", rows, METH_VARARGS, "Tiles start to stop of planes that become rows."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_windows", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__windows(void) {
    PyObject *made = PyModule_Create(&module);
#if GENERATIONS
    if (__builtin_cpu_supports("x86-64-v4"))
        entries = &entries_of_v4;
    else if (__builtin_cpu_supports("x86-64-v3"))
        entries = &entries_of_v3;
#endif
    /* Of the struct above: `window_kernels.py` takes none but its own. */
    if (made && PyModule_AddIntConstant(made, "interface", 4) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
