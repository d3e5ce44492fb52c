/* Included by forms.h for each pair of types: one bilinear sample for each output pixel and group of channels. What lies outside
 * the map is read at its border.
 *
 * A tile is SOME output pixels, whose positions are taken together. */

#if WIDE
typedef int64_t NAME(Whole) __attribute__((vector_size(SOME * 8)));
#else
typedef int32_t NAME(Whole) __attribute__((vector_size(SOME * 4)));
#endif

/* Where the samples of a tile lie: the pixels [corner, pixel] and their weights. */
typedef struct {
    NAME(Whole) at[4];
    NAME(Lanes) by[4];
} NAME(Corners);

/* What is read at a position that is infinite or not a number is not a number. A corner past the last row or column weighs
 * nothing, and names the pixel before it. */
static ALWAYS_INLINE void NAME(corners)(const Samples *job, NAME(Lanes) x, NAME(Lanes) y, NAME(Corners) * to) {
    const NAME(Lanes) none = {0}, last_x = none + (REAL)(job->width - 1), last_y = none + (REAL)(job->height - 1);
    const NAME(Mask) finite = (x >= -MOST) & (x <= MOST) & (y >= -MOST) & (y <= MOST);
    x = NAME(either)(x >= none, x, none), y = NAME(either)(y >= none, y, none);
    x = NAME(either)(x <= last_x, x, last_x), y = NAME(either)(y <= last_y, y, last_y);
    const NAME(Whole) left = __builtin_convertvector(x, NAME(Whole)), top = __builtin_convertvector(y, NAME(Whole));
    const NAME(Lanes) right = x - __builtin_convertvector(left, NAME(Lanes));
    const NAME(Lanes) down = NAME(either)(finite, y - __builtin_convertvector(top, NAME(Lanes)), none + (REAL)NAN);
    /* A comparison that holds has all bits: -1. */
    const NAME(Whole) width = (NAME(Whole)){0} + (__typeof__(left[0]))job->width, above = top * width;
    const NAME(Whole) next = left - (NAME(Whole))(x < last_x), below = above + (width & (NAME(Whole))(y < last_y));
    to->at[0] = above + left, to->at[1] = above + next, to->at[2] = below + left, to->at[3] = below + next;
    to->by[0] = (1 - down) * (1 - right), to->by[1] = (1 - down) * right, to->by[2] = down * (1 - right), to->by[3] = down * right;
}

/* `lanes` times SOME channels of a sample, a constant. */
static ALWAYS_INLINE void NAME(sample_lanes)(const STORED *const *at, const REAL *by, long c, STORED *out, int streams,
                                             const int lanes) {
    NAME(Lanes) sum[4];
    for (int l = 0; l < lanes; l++) sum[l] = by[0] * NAME(load)(at[0] + c + l * SOME);
    for (int k = 1; k < 4; k++)
        for (int l = 0; l < lanes; l++) sum[l] += by[k] * NAME(load)(at[k] + c + l * SOME);
#if PAIRED
    for (int l = 0; l + 1 < lanes; l += 2) {
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)sum[l + 1], (__m512)sum[l]);
        STORED *to = out + c + l * SOME;
        if (streams && (uintptr_t)to % 64 == 0)
            _mm512_stream_si512((void *)to, both);
        else
            _mm512_storeu_si512(to, both);
    }
    if (lanes % 2) NAME(store)(out + c + (lanes - 1) * SOME, sum[lanes - 1]);
#else
    for (int l = 0; l < lanes; l++)
        if (streams)
            NAME(stream)(out + c + l * SOME, sum[l]);
        else
            NAME(store)(out + c + l * SOME, sum[l]);
#endif
}

static int NAME(sample)(const void *given, long start, long stop) {
    const Samples *job = given;
    const long groups = (long)job->groups, each = (long)job->channels / groups, pitch = (long)job->x_pitch;
    const int streams = (int)job->streams;
    for (long tile = start; tile < stop; tile++)
        for (long g = 0; g < groups; g++) {
            const long first = tile * SOME, rest = (long)job->pixels - first, some = rest < SOME ? rest : SOME;
            const REAL *columns = (const REAL *)job->columns + g * (long)job->step + first;
            const REAL *rows = (const REAL *)job->rows + g * (long)job->step + first;
            REAL near[2][SOME] = {{0}};
            for (long m = 0; some < SOME && m < some; m++) near[0][m] = columns[m], near[1][m] = rows[m];
            NAME(Corners) corners;
            NAME(corners)(job, *(const NAME(Lanes) *)(some < SOME ? near[0] : columns),
                          *(const NAME(Lanes) *)(some < SOME ? near[1] : rows), &corners);
            for (long m = 0; m < some; m++) {
                STORED *out = (STORED *)job->out + (first + m) * (long)job->out_pitch + g * each;
                const STORED *at[4];
                REAL by[4];
                for (int k = 0; k < 4; k++)
                    at[k] = (const STORED *)job->x + (long)corners.at[k][m] * pitch + g * each, by[k] = corners.by[k][m];
                long c = 0;
                for (; c + 4 * SOME <= each; c += 4 * SOME) NAME(sample_lanes)(at, by, c, out, streams, 4);
                for (; c + 2 * SOME <= each; c += 2 * SOME) NAME(sample_lanes)(at, by, c, out, streams, 2);
                for (; c + SOME <= each; c += SOME) NAME(sample_lanes)(at, by, c, out, streams, 1);
                if (c == each) continue;
                NAME(Lanes) sum = by[0] * NAME(load_part)(at[0] + c, each - c);
                for (int k = 1; k < 4; k++) sum += by[k] * NAME(load_part)(at[k] + c, each - c);
                NAME(store_part)(out + c, sum, each - c);
            }
        }
    FENCE;
    return 1;
}
