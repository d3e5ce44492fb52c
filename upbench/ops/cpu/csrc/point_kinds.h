/* Included by forms.h for each type. */
#include "lanes.h"
#undef MANY /* channels that are summed at once: twice as many sums stay in registers */
#define MANY (SOME == 16 ? 64 : 32)
#if WIDE
#define FLOOR floor
#define EXP exp
#define TANH tanh
#define ERF erf
#define SQRT sqrt
#else
#define FLOOR floorf
#define EXP exp_of
#define TANH tanh_of
#define ERF erf_of
#define SQRT sqrtf
#endif
#include "body.h"
#undef FLOOR
#undef EXP
#undef TANH
#undef ERF
#undef SQRT
