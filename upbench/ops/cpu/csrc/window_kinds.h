/* Included by forms.h for each pair of types. */
#include "lanes.h"
#include "planes.h"
#include "window.h"
#include "similar.h"
#include "project.h"
#include "samples.h"
#include "moved_samples.h"
