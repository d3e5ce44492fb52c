/* Included by kernels.c: what its entries are given, and what the loops read. */

/* What each entry is given: one struct, filled by name in `native.py`. Every field is 8 bytes wide, so that both sides lay
 * it out alike. A pitch leads from a pixel to the next.
 *
 * narrow: whether keys and query are of bfloat16, see compare_narrow.
 * streams: whether the result is written past the caches: rows of it that begin at multiples of 64 bytes.
 * form: of the numbers of a result that is assembled, see PLAIN, and of x where it is BFLOATS. x lies in slices of x_slice channels, x_step apart; keys in blocks, key_step apart.
 *
 * keys: NULL to weigh only, by the weights that were given or, where those are NULL too, by 1. x: NULL to return the
 * logits. blocks: the channels that share a group and a head are one block. */
typedef struct {
    const void *x, *keys, *query, *embedding;
    void *out;
    int64_t height, width, out_height, out_width, channels, depth, groups, taps, heads, blocks;
    int64_t x_pitch, x_slice, x_step, key_pitch, key_step, query_pitch;
    double factor;
    int64_t border, wide, form, streams, narrow;
} Maps;

/* Points that were given: the x and the y of each, and weights to assemble with. */
typedef struct {
    Maps maps;
    const void *columns, *rows, *weights;
} Given;

/* Points that are predicted from a query of the map's size, see `derive`. pairs: NULL, or the last weights once more, see
 * bfloat_tile.h; then keys and embedding are bfloat16. */
typedef struct {
    Maps maps;
    const void *layers, *pairs;
    int64_t kernel, in_input_pixels;
    double theta, eps;
} Predicted;

/* Points that are offsets from the parents, see `fetch`, of a query that is made of a guide, see `project`. */
typedef struct {
    Maps maps;
    const void *offsets, *guide, *projection;
    int64_t offset_pitch, scale, spread, guide_channels, guide_step, guide_pitch;
} Moved;

/* Planes [channels, pixels], `x_step` apart, their layer norm and its products with weights [channels, 2 depth], see normed.h.
 * pairs: NULL, or of a map of bfloat16 the weights of its keys, which are bfloat16 too, like values: [channels / 2, depth, 2]. whole: those
 * of its queries as whole numbers of 16 bits, [channels / 2, depth, 2], after a factor for each; `chunk` products fit into 32 bits.
 * values: the planes in slices [channels / slice, pixels, slice]; queries [pixels, depth], keys [blocks, pixels, depth / blocks].
 * slice and depth / blocks are whole lanes. */
typedef struct {
    const void *x, *scale, *shift, *weights, *pairs, *whole;
    void *values, *queries, *keys;
    int64_t pixels, channels, depth, blocks, slice, chunk, x_step;
    double eps;
    int64_t wide;
} Normed;

/* Attention to boxes of cells, see cells.h. rows, columns: of each run of output rows or columns that see the same cells the
 * first and the one after the last, then the same of its cells. A step leads from a channel to the next. */
typedef struct {
    const void *x, *keys, *query;
    void *out;
    const int64_t *rows, *columns;
    int64_t across, width, out_width, channels, depth, heads, groups, most_cells, most_pixels;
    int64_t x_pitch, key_step, query_pitch, query_step, out_pitch;
    double factor;
    int64_t wide;
} Boxes;

/* Windows of neighbours around every pixel of planes [C, H, W], see neighbours.h. by: of the pixels one over their norms
 * [H, W], or weights [side^2, H, W]; compare: whether it is the first, and what is returned are cosines. */
typedef struct {
    const void *x, *by;
    void *out;
    int64_t height, width, channels, side, dilation, compare, wide;
} Neighbours;

/* Gradients of sums over given points, see slopes.h. source: [C, H', W'] in any steps from channel to channel and from pixel
 * to pixel. map, or dots and what the positions' gradients are written to. */
typedef struct {
    const void *source, *x, *weights, *columns, *rows;
    void *map, *dots, *to_columns, *to_rows;
    int64_t height, width, out_height, out_width, channels, groups, taps, heads, blocks, slice;
    int64_t source_step, source_pitch, border, wide;
} Slopes;

/* All of it, as the loops read it: what an entry was not given is 0. */
typedef struct {
    const void *x, *keys, *query, *embedding, *weights, *columns, *rows, *offsets, *predictor, *pairs, *guide, *projection;
    void *out;
    long height, width, out_height, out_width, channels, depth, groups, taps, heads, blocks, kernel;
    long x_pitch, x_slice, x_step, key_pitch, key_step, query_pitch, offset_pitch, guide_channels, guide_step, guide_pitch, scale, spread;
    double factor, theta, eps;
    int border, in_input_pixels, form, streams, narrow;
} Job;

static Job job_of(const Maps *maps) {
    const Job job = {
        .x = maps->x,
        .keys = maps->keys,
        .query = maps->query,
        .embedding = maps->embedding,
        .out = maps->out,
        .height = (long)maps->height,
        .width = (long)maps->width,
        .out_height = (long)maps->out_height,
        .out_width = (long)maps->out_width,
        .channels = (long)maps->channels,
        .depth = (long)maps->depth,
        .groups = (long)maps->groups,
        .taps = (long)maps->taps,
        .heads = (long)maps->heads,
        .blocks = (long)maps->blocks,
        .x_pitch = (long)maps->x_pitch,
        .x_slice = (long)maps->x_slice,
        .x_step = (long)maps->x_step,
        .key_pitch = (long)maps->key_pitch,
        .key_step = (long)maps->key_step,
        .query_pitch = (long)maps->query_pitch,
        .factor = maps->factor,
        .border = maps->border != 0,
        .form = (int)maps->form,
        .streams = maps->streams != 0,
        .narrow = maps->narrow != 0,
    };
    return job;
}
