/* Included by generations.h for each generation of vector units: the kernels for each pair of a type that is computed in and one
 * that lies in memory. */

#define REAL float
#define MOST FLT_MAX
#define WIDE 0

#define STORED float
#define FORM PLAIN
#define TYPE float
#include KINDS
#undef STORED
#undef FORM
#undef TYPE

#if HALVES
#define STORED uint16_t
#define FORM BRAIN
#define TYPE brain
#include KINDS
#undef FORM
#undef TYPE

#define FORM HALF
#define TYPE half
#include KINDS
#undef STORED
#undef FORM
#undef TYPE
#endif
#undef REAL
#undef MOST
#undef WIDE

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

#if HALVES
#define FORMS(name) \
    {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION), JOIN(name, brain, GENERATION), JOIN(name, half, GENERATION)}
#else
#define FORMS(name) {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION)}
#endif
static const Entries JOIN(entries, of, GENERATION) = {ENTRIES(FORMS)};
#undef FORMS
