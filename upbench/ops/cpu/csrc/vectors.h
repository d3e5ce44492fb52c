/* Included first by windows.c, maps.c and kernels.c: what their kernels need of the compiler, for vectors of SOME numbers.
 *
 * All of a module is compiled for each generation of vector units, see generations.h, with as many numbers as a register of
 * it holds in float32: compilers keep wider vectors in memory. */

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

/* Before a loop of up to 16 rounds, which are written out. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

#if defined(__GNUC__)
#define PREFETCH(at) __builtin_prefetch(at)
#define PREFETCH_FAR(at) __builtin_prefetch(at, 0, 2) /* into the second level: more than the first holds */
#else
#define PREFETCH(at) (void)0
#define PREFETCH_FAR(at) (void)0
#endif

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__linux__) && \
    !defined(ONE_GENERATION)
#define GENERATIONS 1
#endif
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi" /* of vectors in functions that are inlined everywhere */
#endif
#if defined(__SSE2__) && defined(__GNUC__) && !defined(__clang__)
#define FENCE __builtin_ia32_sfence()
#else
#define FENCE (void)0
#endif

#define PLAIN 0
#define BFLOAT 1
#define HALF 2
#define BFLOATS 3 /* of what is read too, see bfloat.h */

/* Lanes of two vectors a and b, by a rule for lane n: PICKED(a, b, rule, ...). Those of b follow those of a. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED 1
#define PICK __builtin_shufflevector
#define LANES_4(rule, p, s) rule(0, p, s), rule(1, p, s), rule(2, p, s), rule(3, p, s)
#define LANES_8(rule, p, s) LANES_4(rule, p, s), rule(4, p, s), rule(5, p, s), rule(6, p, s), rule(7, p, s)
#define LANES_16(rule, p, s) \
    LANES_8(rule, p, s), rule(8, p, s), rule(9, p, s), rule(10, p, s), rule(11, p, s), rule(12, p, s), rule(13, p, s), \
        rule(14, p, s), rule(15, p, s)
#define JOINED(name, some) name##_##some
#define LANES_OF(some, rule, p, s) JOINED(LANES, some)(rule, p, s)
#define PICKED(a, b, rule, p, s) PICK(a, b, LANES_OF(SOME, rule, p, s))
/* Of all blocks of s the first half, or with p = 1 the second: (a0 a2 .. b0 b2 ..) for s = 2. */
#define HALF_LANE(n, p, s) (((n) / ((s) / 2) * (s) + (p) * ((s) / 2) + (n) % ((s) / 2)) % (2 * SOME))
#define HALVES(a, b, p, s) PICKED(a, b, HALF_LANE, p, s)
#define EVEN(a, b) HALVES(a, b, 0, 2)
#define ODD(a, b) HALVES(a, b, 1, 2)
/* The sums of the first and the second half of all blocks of s. */
#define FOLDED(a, b, s) (HALVES(a, b, 0, s) + HALVES(a, b, 1, s))
/* Numbers of each in turn, from the first (p = 0) or the middle one (p = 1) on. */
#define ZIPPED_LANE(n, p, s) ((p) * SOME / 2 + (n) / 2 + (n) % 2 * SOME)
#define ZIPPED(a, b, p) PICKED(a, b, ZIPPED_LANE, p, 0)
/* A vector whose lanes moved by s. */
#define TURNED_LANE(n, p, s) (((n) + (s)) % SOME)
#define TURNED(v, s) PICKED(v, v, TURNED_LANE, 0, s)
/* Blocks of s of two vectors, a's and b's in turn: of each pair of blocks the first (p = 0), or the second. */
#define SWAPPED_LANE(n, p, s) ((((n) / (s) - (n) / (s) % 2 + (p)) * (s) + (n) % (s) + (n) / (s) % 2 * SOME) % (2 * SOME))
#define SWAPPED(a, b, p, s) PICKED(a, b, SWAPPED_LANE, p, s)
#endif

typedef int (*Work)(const void *, long, long);

#define JOIN_ALL(name, type, generation) name##_##type##_##generation
#define JOIN(name, type, generation) JOIN_ALL(name, type, generation)
#define NAME(name) JOIN(name, TYPE, GENERATION)
