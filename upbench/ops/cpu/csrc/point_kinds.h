/* Included by forms.h for each type. */
#include "lanes.h"
#if WIDE
#define FLOOR floor
#define EXP exp
#define TANH tanh
#define ERF erf
#define SQRT sqrt
#define WHOLE int64_t
#else
#define FLOOR floorf
#define EXP exp_of
#define TANH tanh_of
#define ERF erf_of
#define SQRT sqrtf
#define WHOLE int32_t
#endif
#include "body.h"
#undef FLOOR
#undef EXP
#undef TANH
#undef ERF
#undef SQRT
#undef WHOLE
