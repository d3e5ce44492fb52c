/* Included by generations.h for each generation of vector units: the kernels for each pair of a type that is computed in and one
 * that lies in memory. BRAIN_ALONE: of a generation that differs from another in bfloat16 alone. */

#define REAL float
#define MOST FLT_MAX
#define WIDE 0

#ifndef BRAIN_ALONE
#define STORED float
#define FORM PLAIN
#define TYPE float
#include KINDS
#undef STORED
#undef FORM
#undef TYPE
#endif

#if HALVES
#define STORED uint16_t
#define FORM BRAIN
#define TYPE brain
#include KINDS
#undef FORM
#undef TYPE

#ifndef BRAIN_ALONE
#define FORM HALF
#define TYPE half
#include KINDS
#undef FORM
#undef TYPE
#endif
#undef STORED
#endif
#undef REAL
#undef MOST
#undef WIDE

#ifndef BRAIN_ALONE
#define REAL double
#define MOST DBL_MAX
#define WIDE 1
#define STORED double
#define FORM PLAIN
#define TYPE double
#include KINDS
#undef STORED
#undef FORM
#undef TYPE
#undef REAL
#undef MOST
#undef WIDE
#endif

#ifdef BRAIN_ALONE
#define FORMS(name) {[BRAIN_ALONE] = JOIN(name, brain, GENERATION)}
#elif HALVES
#define FORMS(name) \
    {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION), JOIN(name, brain, GENERATION), JOIN(name, half, GENERATION)}
#else
#define FORMS(name) {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION)}
#endif
static const Entries JOIN(entries, of, GENERATION) = {ENTRIES(FORMS)};
#undef FORMS
