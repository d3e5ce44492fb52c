/* Included by map_kinds.h for each type: a convolution with 3x3 taps, two by two outputs at a time, see square_sums.h. A tile is a row
 * of squares. */

#undef AT_A_TIME /* squares that are multiplied at once: with two vectors of outputs each, these sums stay in registers */
#define AT_A_TIME (REGISTERS >= 32 ? 12 : SOME * sizeof(REAL) <= REGISTER ? 6 : 3)
#undef SQUARES /* of a strip, whose sums stay in the cache */
#define SQUARES 12
#undef FEW_OUTPUTS /* that are taken one by one, where they would not fill a vector */
#define FEW_OUTPUTS 4

/* Rows of numbers that are read in whole vectors, as many as `pitch`: those that would be read past the end lie once more at `tail`. */
typedef struct {
    const REAL *from, *nothing, *tail;
    long pixels, channels, pitch;
} NAME(Rows);

/* memory: 3 times `pitch`. */
static ALWAYS_INLINE NAME(Rows) NAME(rows_of)(const REAL *from, long pixels, long channels, long pitch, REAL *memory) {
    const NAME(Rows) made = {from, memory, memory + pitch, pixels, channels, pitch};
    const long all = pixels * channels, copied = all < pitch ? all : pitch; /* as `strip_pixels` reckons */
    memset(memory, 0, sizeof(REAL) * (size_t)(3 * pitch));
    memcpy(memory + pitch, from + all - copied, sizeof(REAL) * (size_t)copied);
    return made;
}

/* Where the pixels of group g of a strip lie, from row `top` and column `left` on: outside the map at zeros. */
static ALWAYS_INLINE void NAME(strip_pixels)(const NAME(Rows) * of, long high, long wide, long groups, long g, long top, long left,
                                             const REAL **at, long rows, long columns) {
    const long all = of->pixels * of->channels, first = all < of->pitch ? 0 : all - of->pitch;
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) {
            const long y = top + i, x = left + j, n = ((y * wide + x) * groups + g) * of->channels;
            const int inside = y >= 0 && y < high && x >= 0 && x < wide;
            at[i * columns + j] = !inside ? of->nothing : n + of->pitch > all ? of->tail + n - first : of->from + n;
        }
}

/* Four of the 16 sums of each square of a strip, [4, SQUARES, channels]: those of row i, a constant. at: of the rows and columns that
 * the squares read, where the pixels lie. channels: in whole vectors. */
static ALWAYS_INLINE void NAME(taken_apart)(const REAL *const (*at)[2 * SQUARES + 2], long channels, REAL *RESTRICT to, const int i) {
    const REAL *const *one = at[i == 0 ? 0 : i == 2 ? 2 : 1], *const *other = at[i == 3 ? 3 : i == 2 ? 1 : 2];
    const long apart = SQUARES * channels;
    for (long n = 0; n < SQUARES; n++)
        for (long c = 0; c < channels; c += SOME) {
            NAME(Lanes) v[4];
            for (int j = 0; j < 4; j++) {
                const NAME(Lanes) a = *(const NAME(Lanes) *)(one[2 * n + j] + c), b = *(const NAME(Lanes) *)(other[2 * n + j] + c);
                v[j] = i == 1 ? a + b : a - b;
            }
            /* What the next strip is the first to read. */
            for (int j = 0; i == 0 && j < 2; j++) PREFETCH_FAR(at[2][2 * n + j] + (2 * SQUARES + 1) * channels + c);
            for (int j = 0; i == 0 && j < 2; j++) PREFETCH_FAR(at[3][2 * n + j] + (2 * SQUARES + 1) * channels + c);
            REAL *into = to + n * channels + c;
            *(NAME(Lanes) *)into = v[0] - v[2];
            *(NAME(Lanes) *)(into + apart) = v[1] + v[2];
            *(NAME(Lanes) *)(into + 2 * apart) = v[2] - v[1];
            *(NAME(Lanes) *)(into + 3 * apart) = v[1] - v[3];
        }
}

static APART void NAME(taken_apart_row)(const REAL *const (*at)[2 * SQUARES + 2], long channels, REAL *to, int i) {
    if (i == 0) NAME(taken_apart)(at, channels, to, 0);
    if (i == 1) NAME(taken_apart)(at, channels, to, 1);
    if (i == 2) NAME(taken_apart)(at, channels, to, 2);
    if (i == 3) NAME(taken_apart)(at, channels, to, 3);
}

/* Writes the outputs of the squares of a strip, from row `top` and column `left` on. */
static APART void NAME(put_squares)(const Squares *job, const REAL *products, long padded, const REAL *bias, long top, long left, long g) {
    const long high = (long)job->height, wide = (long)job->width, outputs = (long)job->outputs, ratio = (long)job->ratio, groups = (long)job->groups;
    for (long n = 0; n < SQUARES && left + 2 * n < wide; n++)
        for (long o = 0; o < outputs; o += SOME) {
            const long some = outputs - o < SOME ? outputs - o : SOME;
            NAME(Lanes) v[2][2];
            NAME(put_together)(products + n * padded + o, SQUARES * padded, *(const NAME(Lanes) *)(bias + o), v);
            for (long i = 0; i < 2 && top + i < high; i++)
                for (long j = 0; j < 2 && left + 2 * n + j < wide; j++) {
                    const long y = top + i, x = left + 2 * n + j;
                    REAL *to = (REAL *)job->out + ((y * wide + x) * groups + g) * outputs + o;
                    if (job->added)
                        v[i][j] += NAME(load_part)((const REAL *)job->added + (y / ratio * (wide / ratio) + x / ratio) * outputs + o, some);
                    if (some < SOME)
                        NAME(store_part)(to, v[i][j], some);
                    else
                        *(NAME(Lanes) *)to = v[i][j];
                }
        }
}

/* The products of position n of the 16 with outputs that are too few to fill a vector, by their weights [outputs, channels]. */
static ALWAYS_INLINE void NAME(few_products)(const REAL *from, long channels, const REAL *weights, long few, long padded, REAL *to) {
    for (long o = 0; o < few; o++)
        for (long first = 0; first < SQUARES; first += SOME) {
            const long last = first + SOME < SQUARES ? first + SOME : SQUARES;
            NAME(Lanes) sum[SOME] = {{0}};
            for (long m = first; m < last; m++)
                for (long c = 0; c < channels; c += SOME)
                    sum[m - first] += *(const NAME(Lanes) *)(from + m * channels + c) * *(const NAME(Lanes) *)(weights + o * channels + c);
            const NAME(Lanes) found = NAME(sums)(sum);
            for (long m = first; m < last; m++) to[m * padded + o] = found[m - first];
        }
}

/* A strip of squares of group g. fews: of the outputs that `few` vectors do not fill [16, few, channels]. */
static ALWAYS_INLINE void NAME(strip_of_squares)(const Squares *job, long tile, long left, long g, const REAL *fews, long few,
                                                 const NAME(Rows) * rows, REAL *apart, REAL *products) {
    const long high = (long)job->height, wide = (long)job->width, channels = (long)job->channels, outputs = (long)job->outputs;
    const long padded = (outputs + SOME - 1) / SOME * SOME, groups = (long)job->groups, whole = few ? padded - SOME : padded;
    const long pitch = (channels + SOME - 1) / SOME * SOME;
    const REAL *weights = job->weights, *at[4][2 * SQUARES + 2];
    NAME(strip_pixels)(rows, high, wide, groups, g, 2 * tile - 1, left - 1, at[0], 4, 2 * SQUARES + 2);
    for (long n = 0; n < 16; n++) {
        const REAL *of = apart + n % 4 * SQUARES * pitch;
        if (n % 4 == 0) NAME(taken_apart_row)((const REAL *const(*)[2 * SQUARES + 2])at, pitch, apart, (int)n / 4);
        for (long o = 0; o < whole; o += 2 * SOME)
            for (long m = 0; m < SQUARES; m += AT_A_TIME) {
                const REAL *from = of + m * pitch, *by = weights + (n * padded + o) * channels;
                REAL *to = products + (n * SQUARES + m) * padded + o;
                if (o + SOME < whole)
                    NAME(squares_summed)(from, pitch, channels, by, channels * SOME, to, padded, AT_A_TIME, 2);
                else
                    NAME(squares_summed)(from, pitch, channels, by, channels * SOME, to, padded, AT_A_TIME, 1);
            }
        if (few) NAME(few_products)(of, channels, fews + n * few * channels, few, padded, products + n * SQUARES * padded + whole);
    }
    NAME(put_squares)(job, products, padded, weights + 16 * padded * channels, 2 * tile, left, g);
}

/* Rows of squares start to stop. */
static int NAME(squares)(const void *given, long start, long stop) {
    const Squares *job = given;
    const long channels = (long)job->channels, outputs = (long)job->outputs, padded = (outputs + SOME - 1) / SOME * SOME;
    const long pitch = (channels + SOME - 1) / SOME * SOME, rest = outputs % SOME;
    const long few = outputs > SOME && SOME >= 8 && rest <= FEW_OUTPUTS && pitch == channels ? rest : 0;
    REAL *memory = calloc((size_t)(3 * pitch + 4 * SQUARES * pitch + 16 * SQUARES * padded + 16 * few * channels), sizeof(REAL));
    REAL *apart = memory + 3 * pitch, *products = apart + 4 * SQUARES * pitch;
    REAL *fews = products + 16 * SQUARES * padded;
    for (long n = 0; memory && n < 16 * few; n++) {
        const REAL *from = (const REAL *)job->weights + (n / few * padded + padded - SOME) * channels + n % few;
        for (long c = 0; c < channels; c++) fews[n * channels + c] = from[c * SOME];
    }
    if (!memory) return 0;
    const NAME(Rows) rows = NAME(rows_of)(job->x, (long)(job->height * job->width * job->groups), channels, pitch, memory);
    for (long tile = start; tile < stop; tile++)
        for (long left = 0; left < (long)job->width; left += 2 * SQUARES)
            for (long g = 0; g < (long)job->groups; g++)
                NAME(strip_of_squares)(job, tile, left, g, fews, few, &rows, apart, products);
    free(memory);
    return 1;
}
