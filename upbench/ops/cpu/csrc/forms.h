/* Included by windows.c for each generation of vector units: the kernels for each pair of a type that is computed in and one
 * that lies in memory. */

#define REAL float
#define MOST FLT_MAX
#define WIDE 0

#define STORED float
#define FORM PLAIN
#define TYPE float
#include "kinds.h"
#undef STORED
#undef FORM
#undef TYPE

#define STORED uint16_t
#define FORM BRAIN
#define TYPE brain
#include "kinds.h"
#undef FORM
#undef TYPE

#define FORM HALF
#define TYPE half
#include "kinds.h"
#undef STORED
#undef FORM
#undef TYPE
#undef REAL
#undef MOST
#undef WIDE

#define REAL double
#define MOST DBL_MAX
#define WIDE 1
#define STORED double
#define FORM PLAIN
#define TYPE double
#include "kinds.h"
#undef STORED
#undef FORM
#undef TYPE
#undef REAL
#undef MOST
#undef WIDE

#define FORMS(name) \
    {JOIN(name, float, GENERATION), JOIN(name, double, GENERATION), JOIN(name, brain, GENERATION), JOIN(name, half, GENERATION)}
static const Entries JOIN(entries, of, GENERATION) = {FORMS(assemble), FORMS(attend), FORMS(similarity), FORMS(scatter),
                                                      FORMS(project), FORMS(rows)};
#undef FORMS
