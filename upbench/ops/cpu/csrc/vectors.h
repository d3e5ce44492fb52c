/* Included first by windows.c, maps.c and kernels.c: what their kernels need of the compiler, for vectors of SOME numbers.
 *
 * All of a module is compiled for each generation of vector units, see generations.h. */

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
#define RESTRICT __restrict__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define APART __attribute__((noinline)) /* what is called where many others are inlined too, and need not be held twice */
#endif

#if defined(__GNUC__)
#define PREFETCH(at) __builtin_prefetch(at)
#else
#define PREFETCH(at) (void)0
#endif

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

enum { SOME = 16 }; /* numbers that are summed at once */
#define PLAIN 0
#define BFLOAT 1
#define HALF 2
#define BFLOATS 3 /* of what is read too, see bfloat.h */

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
/* Of the numbers of both those at even places, and those at odd ones. */
#define EVEN(a, b) PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
/* Eight numbers of each from n on, in turn. */
#define ZIPPED(a, b, n) \
    PICK(a, b, n, n + 16, n + 1, n + 17, n + 2, n + 18, n + 3, n + 19, n + 4, n + 20, n + 5, n + 21, n + 6, n + 22, n + 7, n + 23)
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

#define JOINED(name, type, generation) name##_##type##_##generation
#define JOIN(name, type, generation) JOINED(name, type, generation)
#define NAME(name) JOIN(name, TYPE, GENERATION)
