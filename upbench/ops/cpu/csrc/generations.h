/* Included by windows.c, maps.c and kernels.c: all of their kernels for each generation of vector units, and what calls those of the newest.
 *
 * KINDS is the header with the kernels, for one pair of types. ENTRIES(of) lists of(entry), `Entries` their forms in that order;
 * MAY_BE_HALF says whether numbers in memory may be half precision. */

#if GENERATIONS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define GENERATION v4
#define SOME 16
#include "forms.h"
#undef GENERATION
#pragma GCC pop_options

#if MAY_BE_HALF
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#define GENERATION v4bfloat
#define BFLOAT_ALONE 2 /* its place among the forms of an entry */
#include "forms.h"
#undef BFLOAT_ALONE
#undef GENERATION
#pragma GCC pop_options
#endif
#undef SOME

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define GENERATION v3
#define SOME 8
#include "forms.h"
#undef SOME
#undef GENERATION
#pragma GCC pop_options

/* Those before AVX2 get what is right, not what is fast. */
#pragma GCC optimize("O1")
#endif

#define GENERATION plain
#if defined(__AVX512F__)
#define SOME 16
#elif defined(__AVX2__)
#define SOME 8
#else
#define SOME 4
#endif
enum { PLAIN_LANES = SOME };
#include "forms.h"
#undef SOME

#if GENERATIONS && MAY_BE_HALF
/* Those of v4, with arithmetic of bfloat16. */
static const Entries *with_bfloat(void) {
    static Entries mixed;
    enum { forms = 4 }; /* of each entry; that of bfloat16 is the third */
    mixed = entries_of_v4;
    for (size_t n = 2; n < sizeof(mixed) / sizeof(Work); n += forms) ((Work *)&mixed)[n] = ((const Work *)&entries_of_v4bfloat)[n];
    return &mixed;
}
#endif

static const Entries *entries = &entries_of_plain;
static long lanes = PLAIN_LANES; /* numbers of float32 in a vector of those: SOME there */
static long widens = 0;          /* whether they have WIDENS */

/* Takes the newest that this processor has. */
static void take_newest(void) {
#if GENERATIONS
    if (__builtin_cpu_supports("x86-64-v4")) {
        entries = &entries_of_v4, lanes = 16, widens = 1;
#if MAY_BE_HALF
        if (__builtin_cpu_supports("avx512bf16")) entries = with_bfloat();
#endif
    } else if (__builtin_cpu_supports("x86-64-v3"))
        entries = &entries_of_v3, lanes = 8, widens = 1;
#endif
}

#include "share.h"

/* What an entry is called with: address and size of the struct, how many tiles there are, tiles of a piece, threads. */
typedef struct {
    const void *job;
    Py_ssize_t count, piece, threads;
} Called;

/* Whether the arguments name a struct of the size that is expected. */
static int parsed(PyObject *args, size_t expected, Called *call) {
    unsigned long long address;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "Knnnn", &address, &size, &call->count, &call->piece, &call->threads)) return 0;
    if ((size_t)size != expected || call->piece < 1) {
        PyErr_SetString(PyExc_TypeError, "another struct than this entry takes, or pieces of no tiles");
        return 0;
    }
    call->job = (const void *)(uintptr_t)address;
    return 1;
}

/* Does the work of a call on a job. */
static PyObject *done(const Called *call, Work work, const void *job) {
    int ready;
    Py_BEGIN_ALLOW_THREADS;
    ready = shared(work, job, (long)call->count, (long)call->piece, (long)call->threads);
    Py_END_ALLOW_THREADS;
    if (!ready) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* Runs the form of an entry for the dtype of a job, which lies in its struct. */
static PyObject *run(PyObject *args, size_t expected, size_t dtype_at, const Work *forms) {
    Called call;
    if (!parsed(args, expected, &call)) return NULL;
    return done(&call, forms[*(const int64_t *)((const char *)call.job + dtype_at)], call.job);
}

#define ENTRY(name, Job) \
    static PyObject *name(PyObject *Py_UNUSED(self), PyObject *args) { \
        return run(args, sizeof(Job), offsetof(Job, dtype), entries->name); \
    }

/* A module of these entries, which takes the structs of one `interface` alone. */
static PyObject *made_of(PyModuleDef *module, long interface) {
    PyObject *made = PyModule_Create(module);
    take_newest();
#if GENERATIONS
    /* Products of two numbers at once, of bfloat16 and of 16 bits. */
    const int bfloat = __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#else
    const int bfloat = 0;
#endif
    if (made && (PyModule_AddIntConstant(made, "interface", interface) < 0 || PyModule_AddIntConstant(made, "lanes", lanes) < 0 ||
                 PyModule_AddIntConstant(made, "bfloat", bfloat) < 0 || PyModule_AddIntConstant(made, "widens", widens) < 0)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
