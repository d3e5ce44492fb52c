/* Included by forms.h for each type. */
#include "lanes.h"
#include "means.h"
#include "layers.h"
#include "layer_slopes.h"
#include "folds.h"
#include "affinities.h"
#include "projections.h"
#include "squares.h"
