/* Steps on whole maps that are short loops: means over boxes, paired differences, the softmax over few taps, weights of samples,
 * affinities.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `map_kernels.py` is the other side of it. */

#include "vectors.h"

enum { TILE = 8, PIXELS = TILE * TILE, BLOCK = 8, PARCEL = 512, DEEP = 16, OUTPUTS = 4, AHEAD = 2 }; /* TILE: difference_kernels.py knows it too; PARCEL, OUTPUTS: normed_projection.py */

/* The entries of one generation, each in the order of `map_kernels.DTYPES`. */
typedef struct {
    Work box[2], guided[2], coarse[2], differences[2], difference_slopes[2], softmax[2], fold[2], affinity[2], filtered[2], filter_slopes[2], guide_slopes[2], pool[2], moments[2], planes[2], scores[2], squares[2], square_taps[2];
} Entries;

/* What each entry is given: one struct, filled by name in `map_kernels.py`. Every field is 8 bytes wide; dtype comes last.
 *
 * Planes [height, width] one after another, the mean over (2 radius + 1)^2 pixels or, transposed, what its gradient is. */
typedef struct {
    const void *x;
    void *out;
    int64_t height, width, radius, transposed, dtype;
} Box;

/* The guided filter of planes [height, width], from means over boxes of the first of every `subsample` pixels along each side. */
typedef struct {
    const void *guidance, *source;
    void *out;
    double eps;
    int64_t height, width, radius, subsample, dtype;
} Guided;

/* key, query: planes [channels, height, width]. weights: for each group of outputs and each SOME of them [inputs, SOME], where the
 * inputs are the taps of each channel of the key, then the channels of the query; then the bias. inner: the same of the second
 * layer, whose inputs are the outputs of the group. out: [height * width, outputs]; sums: of each tile of those and of their
 * squares [2, outputs]. coarse: NULL, or of a map with one more pixel on each side, `ratio` times smaller, of which the key is a
 * resize, the sums over the taps and the bias [pixels, outputs]: then the weights are those of the query alone. The entry that makes
 * them takes the map as its key, and the weights of its taps, which are a pixel apart.
 *
 * means: NULL, or what is subtracted from each plane of key and query [2, channels] before they are rounded to bfloat16; then out is
 * bfloat16, and of the weights two inputs at a time lie together in bfloat16: two channels of a tap of the key, two of the query. */
typedef struct {
    const void *key, *query, *coarse, *weights, *inner, *means;
    void *out, *sums;
    int64_t height, width, channels, outputs, groups, kernel, dilation, ratio, dtype;
} Differences;

/* The gradients of the same, given that of the scores, planes [scores, height * width], and `hidden`, what was returned. weights: as
 * above; first, inner: those of the two layers as rows of inputs; last: [scores, outputs], then for each output what a norm adds
 * to the gradient and what it adds per value of it. For each strip of tiles: dkey [channels, TILE + 2 reach, width], dfirst
 * [groups, inputs, outputs / groups], dinner likewise, dbiases [2, outputs]. */
typedef struct {
    const void *key, *query, *grad, *hidden, *weights, *first, *inner, *last;
    void *dkey, *dquery, *dfirst, *dinner, *dbiases;
    int64_t height, width, channels, outputs, groups, kernel, dilation, scores, dtype;
} DifferenceSlopes;

/* Rows of taps. grad: NULL, or the gradient of the softmax x, from which that of the logits is made. */
typedef struct {
    const void *x, *grad;
    void *out;
    int64_t rows, taps, dtype;
} Softmax;

/* weights: planes [kernel^2, height, width] of samples of a map one of its pixels apart. right, down: how far the samples of each column
 * and row lie from the pixels before them. out: [height * width, (kernel + 1)^2], weights of the pixels they lie between. */
typedef struct {
    const void *weights, *right, *down;
    void *out;
    int64_t height, width, kernel, dtype;
} Fold;

/* form: of the numbers of the guide, see PLAIN. pairs: 0, or of a guide of bfloat16 the pairs of columns that a row of a filter reads; filters are then [2, kernel, pairs, 2], in
 * bfloat16, with zeros around them so that the first pair is one of the guide.
 *
 * guide: planes `step` apart of 2 height x 2 width pixels. filters: [2, kernel, kernel], at stride 2. scale, shift: of the norms of each
 * channel after each of both, [channels of all groups, 2]. channels: of a group. out: of each group [height, width]. */
typedef struct {
    const void *guide, *filters, *scale, *shift;
    void *out;
    double eps, slope;
    int64_t height, width, channels, kernel, step, pairs, form, dtype;
} Affinity;

/* Both filters of an Affinity alone. guide: planes of 2 height x 2 width pixels; filters: [2, kernel, kernel]. What they make of the
 * guide, and grad, its gradient, are planes [height, width] of each filter, `apart` from those of the other. out: those planes, or of
 * each plane the gradient of both filters, or the gradient of the guide. */
typedef struct {
    const void *guide, *filters, *grad;
    void *out;
    int64_t height, width, kernel, apart, dtype;
} Filters;

/* x: planes [height, width] of numbers in a form, see PLAIN; of bfloat16 in pairs where `paired`, then with an even number of columns in a cell. out: of each the means over
 * [size, size] cells of one size, and the mean of all. */
typedef struct {
    const void *x;
    void *out;
    int64_t height, width, size, paired, form, dtype;
} Pool;

/* x: planes of `pixels`, of bfloat16 where `paired`. out: of each its mean and variance, as double. */
typedef struct {
    const void *x;
    void *out;
    int64_t pixels, paired, dtype;
} Moments;

/* A pointwise convolution of planes x to planes out. weights: [channels, outputs], the outputs padded to a multiple of OUTPUTS, then
 * the bias. paired: x is bfloat16, of an even number of channels, and the weights are too: [channels / 2, outputs, 2]. */
typedef struct {
    const void *x, *weights;
    void *out;
    int64_t pixels, channels, outputs, paired, dtype;
} Planes;

/* A pointwise convolution of rows of bfloat16 [pixels, inputs] to planes of float32. weights: of each SOME outputs [inputs / 2, SOME, 2],
 * in bfloat16; bias: float32, of as many outputs. */
typedef struct {
    const void *x, *weights, *bias;
    void *out;
    int64_t pixels, inputs, outputs, dtype;
} Scores;

/* A convolution with 3x3 taps, zeros around the map, see squares.h. x: rows of channels. weights: for each of the
 * 16 sums of a square and each SOME outputs [channels, SOME], then the bias. added: NULL, or a map `ratio` times smaller, of which a
 * pixel is added to all those within it. out: rows of outputs. groups: pixels of as many maps lie beside each other, of x and out; added
 * is NULL then. */
typedef struct {
    const void *x, *weights, *added;
    void *out;
    int64_t height, width, channels, outputs, groups, ratio, dtype;
} Squares;

/* The gradient of the same in its taps, given that of its outputs: rows too. channels: whole vectors. For each band of rows of squares, taps:
 * [16, outputs, channels], of the matrices that each of the 16 sums of a square is multiplied by, biases: [outputs]. */
typedef struct {
    const void *x, *grad;
    void *taps, *biases;
    int64_t height, width, channels, outputs, groups, band, dtype;
} SquareTaps;

#define KINDS "map_kinds.h"
#define MAY_BE_HALF 0
#define ENTRIES(of) of(box), of(guided), of(coarse), of(differences), of(difference_slopes), of(softmax), of(fold), of(affinity), of(filtered), \
    of(filter_slopes), of(guide_slopes), of(pool), of(moments), of(planes), of(scores), of(squares), of(square_taps)
#include "generations.h"

ENTRY(box, Box)
ENTRY(guided, Guided)
ENTRY(coarse, Differences)
ENTRY(differences, Differences)
ENTRY(difference_slopes, DifferenceSlopes)
ENTRY(softmax, Softmax)
ENTRY(fold, Fold)
ENTRY(affinity, Affinity)
ENTRY(filtered, Filters)
ENTRY(filter_slopes, Filters)
ENTRY(guide_slopes, Filters)
ENTRY(pool, Pool)
ENTRY(moments, Moments)
ENTRY(planes, Planes)
ENTRY(scores, Scores)
ENTRY(squares, Squares)
ENTRY(square_taps, SquareTaps)

static PyMethodDef methods[] = {
    {"box", box, METH_VARARGS, "Planes of means over boxes: address and size of a Box, tiles, tiles of a piece, threads."},
    {"guided", guided, METH_VARARGS, "Planes of a guided filter: of a Guided."},
    {"coarse", coarse, METH_VARARGS, "Tiles of what they read of a map that the key is a resize of: of a Differences."},
    {"differences", differences, METH_VARARGS, "Tiles of paired differences: of a Differences."},
    {"difference_slopes", difference_slopes, METH_VARARGS, "Strips of their gradients: of a DifferenceSlopes."},
    {"softmax", softmax, METH_VARARGS, "Blocks of rows of a softmax over taps: of a Softmax."},
    {"fold", fold, METH_VARARGS, "Rows of weights of samples as weights of pixels: of a Fold."},
    {"affinity", affinity, METH_VARARGS, "Groups of products of filtered features: of an Affinity."},
    {"filtered", filtered, METH_VARARGS, "Planes of what both filters of an affinity make of them: of a Filters."},
    {"filter_slopes", filter_slopes, METH_VARARGS, "Planes, of each the gradient of both filters: of a Filters."},
    {"guide_slopes", guide_slopes, METH_VARARGS, "Planes of the gradient of what is filtered: of a Filters."},
    {"pool", pool, METH_VARARGS, "Planes of means over the cells of a grid: of a Pool."},
    {"moments", moments, METH_VARARGS, "Planes of means and variances: of a Moments."},
    {"planes", planes, METH_VARARGS, "Parcels of pixels of a pointwise convolution: of a Planes."},
    {"scores", scores, METH_VARARGS, "The same of rows of bfloat16: of a Scores."},
    {"squares", squares, METH_VARARGS, "Rows of squares of a convolution with 3x3 taps: of a Squares."},
    {"square_taps", square_taps, METH_VARARGS, "Bands of rows of squares of the gradient in its taps: of a SquareTaps."},
    USE_OPENMP,
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_maps", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__maps(void) {
    return made_of(&module, 14); /* `map_kernels.py` takes the structs above alone */
}
