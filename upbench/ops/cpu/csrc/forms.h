/* Included by generations.h for each generation of vector units: the kernels for each pair of a type that is computed in and one
 * that lies in memory. BFLOAT_ALONE: of a generation that differs from another in bfloat16 alone. */

#define REAL float
#define MOST FLT_MAX
#define WIDE 0

#ifndef BFLOAT_ALONE
#define STORED float
#define FORM PLAIN
#define TYPE float
#include KINDS
#undef STORED
#undef FORM
#undef TYPE
#endif

#if MAY_BE_HALF
#define STORED uint16_t
#define FORM BFLOAT
#define TYPE bfloat
#include KINDS
#undef FORM
#undef TYPE

#ifndef BFLOAT_ALONE
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

#ifndef BFLOAT_ALONE
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

#ifdef BFLOAT_ALONE
#define FORMS(name) {[BFLOAT_ALONE] = JOIN(name, bfloat, GENERATION)}
#elif MAY_BE_HALF
#define FORMS(name) \
    {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION), JOIN(name, bfloat, GENERATION), JOIN(name, half, GENERATION)}
#else
#define FORMS(name) {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION)}
#endif
static const Entries JOIN(entries, of, GENERATION) = {ENTRIES(FORMS)};
#undef FORMS
