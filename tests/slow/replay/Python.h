/* As much of Python as the kernels touch, so that they build for a processor for which no Python is at hand: an entry is called with
 * what `replay.c` read. */
#ifndef REPLAY_PYTHON
#define REPLAY_PYTHON
#define _GNU_SOURCE /* as the real one does */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct PyObject PyObject;
typedef long Py_ssize_t;
typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef struct {
    const char *ml_name;
    PyCFunction ml_meth;
    int ml_flags;
    const char *ml_doc;
} PyMethodDef;
typedef struct PyModuleDef {
    int base;
    const char *name, *doc;
    Py_ssize_t size;
    PyMethodDef *methods;
    void *slots, *traverse, *clear, *release;
} PyModuleDef;
extern struct Given {
    unsigned long long address;
    Py_ssize_t numbers[4]; /* size of the struct, tiles, tiles of a piece, threads */
} replayed;
extern int64_t replayed_lanes; /* numbers in a vector of the module */
#define PyModuleDef_HEAD_INIT 0
#define PyMODINIT_FUNC PyObject *
#define METH_VARARGS 1
#define Py_UNUSED(name) name
#define PyExc_TypeError 0
#define Py_BEGIN_ALLOW_THREADS
#define Py_END_ALLOW_THREADS
#define Py_RETURN_NONE return (PyObject *)1
#define Py_DECREF(object) (void)0
#define PyErr_NoMemory() (exit(3), (PyObject *)0)
#define PyErr_SetString(kind, text) (fprintf(stderr, "%s\n", text), exit(4))
#define PyModule_Create(module) ((PyObject *)1)
#define PyModule_AddIntConstant(module, name, value) (strcmp(name, "lanes") ? 0 : (replayed_lanes = (value), 0))
static inline int PyArg_ParseTuple(PyObject *args, const char *format, unsigned long long *address, ...) {
    va_list more;
    va_start(more, address);
    *address = replayed.address;
    for (const char *at = format + 1; *at; at++) *va_arg(more, Py_ssize_t *) = replayed.numbers[at - format - 1];
    va_end(more);
    return 1;
}
#endif
