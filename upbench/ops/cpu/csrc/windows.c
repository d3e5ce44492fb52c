/* Windows on the CPU: sums over them, dot products with them and the transpose of the first, in one pass over their rows.
 *
 * Optional: built when upbench is installed where a C compiler is, never needed. `window_kernels.py` is the other side of it.
 * Maps are rows of channels ([H * W, C]) and weights rows of taps ([H' * W', groups, taps]). What lies in memory may be half
 * precision; what is computed is at least float32. */

#include "vectors.h"

enum { CHILDREN = 4, TALL = 32, BROAD = 16, STRIP = 16 }; /* TALL, BROAD: window_kernels.py knows them too */
enum { ZEROS, MIRRORED, REPEATED };                      /* what is read outside a map */
enum { NEVER, ANYHOW, WHOLE };                           /* whether samples are written past the caches, see samples.h */

/* The entries of one generation, each in the order of `window_kernels.DTYPES`. */
typedef struct {
    Work assemble[4], attend[4], similarity[4], scatter[4], project[4], rows[4], sample[4], moves[4], sample_moved[4];
} Entries;

/* What every entry on windows is given, filled by name in `window_kernels.py`; every field is 8 bytes wide.
 *
 * rows, columns: of each row or column of cells the first output row or column, and in the end their number. A window begins
 * `origin` pixels from its cell. x, keys: low-resolution maps. query: the high-resolution map, of queries or of what is
 * scattered. weights: of output pixels, or where `shuffled` of cells, with the children last; softmax: whether they are logits.
 * guide: a high-resolution map that is mixed into the result by the share `gate` of each cell, or NULL. streams: whether the
 * result goes past the caches. A pitch leads from a pixel or cell to the next, a step from a channel or tap; a guide, or where
 * pixels attend a query, has planes where guide_step is more than 1. most: readers of a pixel, or output pixels of a strip. */
typedef struct {
    const void *x, *keys, *query, *weights, *guide, *gate;
    void *out;
    const int64_t *rows, *columns;
    int64_t height, width, cells_across, out_width, channels, depth, groups, kernel, origin, border, most;
    int64_t x_row, x_pitch, key_row, key_pitch, query_pitch, guide_step, guide_pitch, weight_pitch, group_step, tap_step, out_pitch;
    int64_t shuffled, softmax, streams, dtype;
} Windows;

/* A pointwise convolution, see project.h: of `pixels` pixels from `channels` to `outputs` channels. weights: [outputs / lanes, channels,
 * lanes], the outputs padded to whole lanes, then the bias; of the type that is computed in. Or, without weights, planes that become
 * rows, see planes.h. tile: pixels that are read at a time. streams: whether these go past the caches. */
typedef struct {
    const void *x, *weights;
    void *out;
    int64_t pixels, channels, outputs, x_step, x_pitch, out_pitch, tile, streams, dtype;
} Project;

/* One bilinear sample for each of `pixels` output pixels and each of `groups` of channels, see samples.h: at columns, rows: planes
 * [groups, pixels], `step` apart. streams: whether the result goes past the caches. */
typedef struct {
    const void *x, *columns, *rows;
    void *out;
    int64_t height, width, pixels, channels, groups, x_pitch, out_pitch, step, streams, dtype;
} Samples;

/* Rows, `pitch` apart, of `channels` offsets, where `scoped` with as many scopes after them, become planes of moves, see moved_samples.h: of the type
 * that is computed in, factor times the offset, times the sigmoid of the scope. */
typedef struct {
    const void *x;
    void *out;
    int64_t pixels, channels, pitch, scoped;
    double factor;
    int64_t dtype;
} Moves;

/* One bilinear sample for each of `groups` of channels of each of scale^2 children of every pixel, see moved_samples.h. moves: planes,
 * of which the steps lead from a channel or child to the next; channel g is of group g along x, channel g + axis along y. streams:
 * whether the result goes past the caches. */
typedef struct {
    const void *x, *moves;
    void *out;
    int64_t height, width, scale, channels, groups, x_pitch, out_pitch, channel_step, child_step, axis, streams, dtype;
} MovedSamples;

#define KINDS "window_kinds.h"
#define MAY_BE_HALF 1
#define ENTRIES(of) of(assemble), of(attend), of(similarity), of(scatter), of(project), of(rows), of(sample), of(moves), \
                    of(sample_moved)
#include "generations.h"

ENTRY(assemble, Windows)
ENTRY(attend, Windows)
ENTRY(similarity, Windows)
ENTRY(scatter, Windows)
ENTRY(project, Project)
ENTRY(rows, Project)
ENTRY(sample, Samples)
ENTRY(moves, Moves)
ENTRY(sample_moved, MovedSamples)

static PyMethodDef methods[] = {
    {"assemble", assemble, METH_VARARGS, "Rows of sums over windows: address and size of a Windows, tiles, tiles of a piece, threads."},
    {"attend", attend, METH_VARARGS, "The same by the softmax of dot products with the windows of keys."},
    {"similarity", similarity, METH_VARARGS, "Rows of dot products with windows."},
    {"scatter", scatter, METH_VARARGS, "Tiles of the transpose of the sums."},
    {"project", project, METH_VARARGS, "Tiles of a pointwise convolution: address and size of a Project."},
    {"rows", rows, METH_VARARGS, "Tiles of planes that become rows."},
    {"sample", sample, METH_VARARGS, "Tiles of bilinear samples: address and size of a Samples."},
    {"moves", moves, METH_VARARGS, "Tiles of offsets that become moves: address and size of a Moves."},
    {"sample_moved", sample_moved, METH_VARARGS, "Tiles of bilinear samples that are moved: address and size of a MovedSamples."},
    USE_OPENMP,
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_windows", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__windows(void) {
    return made_of(&module, 12); /* `window_kernels.py` takes the structs above alone */
}
