/* Included by slopes.h: what some output pixels hold, added to the map one cell after another. Of all points of a cell the sums for its
 * four corners stay in registers: to add each point to the map would take a read and a write of four rows. */

#undef SORTED_TILES /* tiles along a side whose points are sorted together: of few channels more, as long as what they hold stays in the cache */
#define SORTED_TILES(slice) ((slice) * sizeof(REAL) > 256 ? 2 : 4)
#undef AT_ONCE /* vectors of channels that are summed at once, for four corners */
#define AT_ONCE (REGISTERS >= 32 && SOME * sizeof(REAL) <= REGISTER ? 4 : 2)

/* A point: its weights at the four corners, where the row of its pixel begins, and its number. */
typedef struct {
    REAL by[4];
    int from, point;
} NAME(Sorted);

/* The points of a cell, added to its four corners. */
static ALWAYS_INLINE void NAME(add_cell)(const NAME(Sorted) * at, const NAME(Sorted) * end, const REAL *source, REAL *const *to,
                                         const int lanes) {
    NAME(Lanes) sum[4][AT_ONCE];
    for (int k = 0; k < 4; k++)
        for (int n = 0; n < lanes; n++) sum[k][n] = (NAME(Lanes)){0};
    for (; at < end; at++) {
        NAME(Lanes) row[AT_ONCE];
        for (int n = 0; n < lanes; n++) row[n] = *(const NAME(Lanes) *)(source + at->from + n * SOME);
        for (int k = 0; k < 4; k++)
            for (int n = 0; n < lanes; n++) sum[k][n] = NAME(plus)(sum[k][n], at->by[k], row[n]);
    }
    /* One after another: corners outside the map share a row. */
    for (int k = 0; k < 4; k++)
        for (int n = 0; n < lanes; n++) *(NAME(Lanes) *)(to[k] + n * SOME) += sum[k][n];
}

/* The cell that each of some points falls into, by its row and column: `corners` clamps them alike, so that all of a cell have the same
 * corners. */
static ALWAYS_INLINE void NAME(cells_of)(const REAL *columns, const REAL *rows, long count, const Slopes *job, int *RESTRICT tops,
                                         int *RESTRICT lefts) {
    const int high = (int)job->height, wide = (int)job->width, border = job->border != 0;
    const REAL least = border ? 0 : -2, most_x = (REAL)(border ? wide - 1 : wide + 1), most_y = (REAL)(border ? high - 1 : high + 1);
    INDEPENDENT
    for (long p = 0; p < count; p++) {
        REAL x = columns[p] >= least ? columns[p] : least, y = rows[p] >= least ? rows[p] : least;
        x = x <= most_x ? x : most_x, y = y <= most_y ? y : most_y;
        tops[p] = (int)FLOOR(y), lefts[p] = (int)FLOOR(x);
    }
}

/* The least of some numbers, and how many there are from it to the largest. */
static ALWAYS_INLINE int NAME(least_of)(const int *numbers, long count, int *span) {
    int least = numbers[0], most = least;
    for (long p = 0; p < count; p++) least = numbers[p] < least ? numbers[p] : least, most = numbers[p] > most ? numbers[p] : most;
    *span = most - least + 1;
    return least;
}

/* The points of `count` pixels in the order of their cells, which lie in tops and lefts. ends: memory for where the points of each cell
 * end, of all from the first row and column on that there is, after a zero; returns how many there are. */
static ALWAYS_INLINE long NAME(sort)(const NAME(Corners) * corners, const REAL *by, long count, long taps, long slice, int *tops,
                                     const int *lefts, int *RESTRICT ends, NAME(Sorted) *RESTRICT to) {
    int high, wide, *begins = ends + 1, before = 0;
    const int top = NAME(least_of)(tops, count * taps, &high), left = NAME(least_of)(lefts, count * taps, &wide);
    const long all = (long)high * wide;
    memset(ends, 0, sizeof(int) * (size_t)(all + 1));
    for (long p = 0; p < count * taps; p++) tops[p] = (tops[p] - top) * wide + lefts[p] - left;
    for (long p = 0; p < count * taps; p++) begins[tops[p]]++;
    for (long n = 0; n < all; n++) {
        const int some = begins[n];
        begins[n] = before, before += some;
    }
    for (long m = 0, p = 0; m < count; m++)
        for (long t = 0; t < taps; t++, p++) {
            const REAL right = corners->right[p], down = corners->down[p], below = by[p] * down, above = by[p] - below;
            const REAL w1 = above * right, w3 = below * right;
            NAME(Sorted) *at = to + begins[tops[p]]++;
            at->by[0] = above - w1, at->by[1] = w1, at->by[2] = below - w3, at->by[3] = w3;
            at->from = (int)(m * slice), at->point = (int)p;
        }
    return all;
}

/* What `count` pixels hold, added to the map: rows of `slice` channels, whole vectors. */
static ALWAYS_INLINE void NAME(add_sorted)(const REAL *source, REAL *map, const NAME(Corners) * corners, const REAL *by, long count,
                                           long taps, long slice, int *tops, const int *lefts, int *ends, NAME(Sorted) * sorted) {
    const long all = NAME(sort)(corners, by, count, taps, slice, tops, lefts, ends, sorted);
    for (long n = 0; n < all; n++) {
        const NAME(Sorted) *from = sorted + ends[n], *end = sorted + ends[n + 1];
        if (from == end) continue;
        REAL *to[4];
        for (int k = 0; k < 4; k++) to[k] = map + corners->at[k][from->point] * slice;
        for (long c = 0, step; c < slice; c += step) {
            step = slice - c >= AT_ONCE * SOME ? AT_ONCE * SOME : slice - c >= 2 * SOME ? 2 * SOME : SOME;
            if (step == AT_ONCE * SOME)
                NAME(add_cell)(from, end, source + c, to, AT_ONCE);
            else if (step == 2 * SOME)
                NAME(add_cell)(from, end, source + c, to, 2);
            else
                NAME(add_cell)(from, end, source + c, to, 1);
            for (int k = 0; k < 4; k++) to[k] += step;
        }
    }
}
