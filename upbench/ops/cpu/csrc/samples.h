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
static ALWAYS_INLINE void NAME(corners)(long map_width, long map_height, NAME(Lanes) x, NAME(Lanes) y, NAME(Corners) * to) {
    const NAME(Lanes) none = {0}, last_x = none + (REAL)(map_width - 1), last_y = none + (REAL)(map_height - 1);
    const NAME(Mask) finite = (x >= -MOST) & (x <= MOST) & (y >= -MOST) & (y <= MOST);
    x = NAME(either)(x >= none, x, none), y = NAME(either)(y >= none, y, none);
    x = NAME(either)(x <= last_x, x, last_x), y = NAME(either)(y <= last_y, y, last_y);
    const NAME(Whole) left = __builtin_convertvector(x, NAME(Whole)), top = __builtin_convertvector(y, NAME(Whole));
    const NAME(Lanes) right = x - __builtin_convertvector(left, NAME(Lanes));
    const NAME(Lanes) down = NAME(either)(finite, y - __builtin_convertvector(top, NAME(Lanes)), none + (REAL)NAN);
    /* A comparison that holds has all bits: -1. */
    const NAME(Whole) width = (NAME(Whole)){0} + (__typeof__(left[0]))map_width, above = top * width;
    const NAME(Whole) next = left - (NAME(Whole))(x < last_x), below = above + (width & (NAME(Whole))(y < last_y));
    to->at[0] = above + left, to->at[1] = above + next, to->at[2] = below + left, to->at[3] = below + next;
    to->by[0] = (1 - down) * (1 - right), to->by[1] = (1 - down) * right, to->by[2] = down * (1 - right), to->by[3] = down * right;
}

#undef WIDENED /* 16 numbers of half precision are written at once, where a register holds 8 of float32 */
#if FORM != PLAIN && SOME == 8 && defined(__AVX2__)
#define WIDENED 1

static ALWAYS_INLINE void NAME(store_sixteen)(STORED *to, __m256i v, const int streams) {
    if (streams == WHOLE || (streams && (uintptr_t)to % 32 == 0))
        _mm256_stream_si256((__m256i *)to, v);
    else
        _mm256_storeu_si256((__m256i *)to, v);
}

#if FORM == BFLOAT
/* The nearest bfloat16 of each, of two as near the even one, in the upper half of its 32 bits. */
static ALWAYS_INLINE __m256i NAME(rounded)(__m256 v) {
    const __m256i bits = _mm256_castps_si256(v), last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), last);
}
#endif

/* 16 channels of a sample from c on. In bfloat16 those at even and at odd places are summed apart: each is a shift away. */
static ALWAYS_INLINE void NAME(sample_sixteen)(const STORED *const *at, const REAL *by, long c, STORED *out, const int streams) {
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int k = 0; k < 4; k++) {
        const __m256 share = _mm256_set1_ps(by[k]);
#if FORM == BFLOAT
        const __m256i v = _mm256_loadu_si256((const __m256i *)(at[k] + c));
        const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
        const __m256 second = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000)));
#else
        const __m256 first = (__m256)NAME(load)(at[k] + c), second = (__m256)NAME(load)(at[k] + c + SOME);
#endif
        sum[0] = _mm256_fmadd_ps(share, first, sum[0]), sum[1] = _mm256_fmadd_ps(share, second, sum[1]);
    }
#if FORM == BFLOAT
    /* What is not a number would be rounded into another; it is rare. */
    if (__builtin_expect(_mm256_movemask_ps(_mm256_cmp_ps(sum[0], sum[1], _CMP_UNORD_Q)), 0))
        for (int n = 0; n < 2; n++) {
            const __m256 none = _mm256_cmp_ps(sum[n], sum[n], _CMP_UNORD_Q);
            sum[n] = _mm256_blendv_ps(sum[n], _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), none);
        }
    const __m256i upper = _mm256_and_si256(NAME(rounded)(sum[1]), _mm256_set1_epi32((int)0xffff0000));
    const __m256i both = _mm256_or_si256(_mm256_srli_epi32(NAME(rounded)(sum[0]), 16), upper);
#else
    enum { near = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    const __m256i both = _mm256_set_m128i(_mm256_cvtps_ph(sum[1], near), _mm256_cvtps_ph(sum[0], near));
#endif
    NAME(store_sixteen)(out + c, both, streams);
}
#else
#define WIDENED 0
#endif

#if PAIRED
/* 32 channels of a sample from c on: those at even and at odd places are summed apart, each a shift away. */
static ALWAYS_INLINE void NAME(sample_pairs)(const STORED *const *at, const REAL *by, long c, STORED *out, const int streams) {
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    uint16_t order[2 * SOME] __attribute__((aligned(64)));
    for (int n = 0; n < 2 * SOME; n++) order[n] = (uint16_t)(n / 2 + n % 2 * SOME);
    for (int k = 0; k < 4; k++) {
        const __m512i v = _mm512_loadu_si512(at[k] + c);
        const __m512 share = _mm512_set1_ps(by[k]);
        even = _mm512_fmadd_ps(share, _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)), even);
        odd = _mm512_fmadd_ps(share, _mm512_castsi512_ps(_mm512_and_si512(v, upper)), odd);
    }
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
    const __m512i both = _mm512_permutexvar_epi16(_mm512_load_si512(order), halves);
    if (streams == WHOLE || (streams && (uintptr_t)(out + c) % 64 == 0))
        _mm512_stream_si512((void *)(out + c), both);
    else
        _mm512_storeu_si512(out + c, both);
}
#endif

/* `lanes` times SOME channels of a sample, a constant. */
static ALWAYS_INLINE void NAME(sample_lanes)(const STORED *const *at, const REAL *by, long c, STORED *out, const int streams,
                                             const int lanes) {
    NAME(Lanes) sum[4];
    for (int l = 0; l < lanes; l++) sum[l] = by[0] * NAME(load)(at[0] + c + l * SOME);
    for (int k = 1; k < 4; k++)
        for (int l = 0; l < lanes; l++) sum[l] += by[k] * NAME(load)(at[k] + c + l * SOME);
    for (int l = 0; l < lanes; l++)
        if (streams == WHOLE)
            NAME(stream_line)(out + c + l * SOME, sum[l]);
        else if (streams)
            NAME(stream)(out + c + l * SOME, sum[l]);
        else
            NAME(store)(out + c + l * SOME, sum[l]);
}

/* Where the samples of a tile are read: addresses, so that none is made for each sample. */
typedef struct {
    const STORED *at[4][SOME];
    REAL by[4][SOME];
} NAME(Reads);

/* x: the first pixel of the map, whose pixels are `pitch` apart. */
static ALWAYS_INLINE void NAME(reads)(const STORED *x, const NAME(Corners) * corners, long pitch, NAME(Reads) * to) {
    for (int k = 0; k < 4; k++) {
        for (long m = 0; m < SOME; m++) to->at[k][m] = x + (long)corners->at[k][m] * pitch;
        *(NAME(Lanes) *)to->by[k] = corners->by[k];
    }
}

/* `each` channels of the sample in lane m. streams: NEVER, ANYHOW, at a multiple of 16 bytes, or WHOLE, where each channel that is
 * the first of a vector begins a register's line. A constant. */
static ALWAYS_INLINE void NAME(sample_pixel)(const NAME(Reads) * reads, long m, long each, STORED *out, const int streams) {
    const STORED *const at[4] = {reads->at[0][m], reads->at[1][m], reads->at[2][m], reads->at[3][m]};
    const REAL by[4] = {reads->by[0][m], reads->by[1][m], reads->by[2][m], reads->by[3][m]};
    long c = 0;
#if PAIRED
    for (; c + 2 * SOME <= each; c += 2 * SOME) NAME(sample_pairs)(at, by, c, out, streams);
#endif
#if WIDENED
    for (; c + 2 * SOME <= each; c += 2 * SOME) NAME(sample_sixteen)(at, by, c, out, streams);
#endif
    for (; c + 4 * SOME <= each; c += 4 * SOME) NAME(sample_lanes)(at, by, c, out, streams, 4);
    for (; c + 2 * SOME <= each; c += 2 * SOME) NAME(sample_lanes)(at, by, c, out, streams, 2);
    for (; c + SOME <= each; c += SOME) NAME(sample_lanes)(at, by, c, out, streams, 1);
    if (c == each) return;
    NAME(Lanes) sum = by[0] * NAME(load_part)(at[0] + c, each - c);
    for (int k = 1; k < 4; k++) sum += by[k] * NAME(load_part)(at[k] + c, each - c);
    NAME(store_part)(out + c, sum, each - c);
}

/* The sample in lane m, whatever is past the caches. */
static ALWAYS_INLINE void NAME(sample_one)(const NAME(Reads) * reads, long m, long each, STORED *out, int streams) {
    if (streams == WHOLE && each == 4 * SOME)
        NAME(sample_pixel)(reads, m, 4 * SOME, out, WHOLE);
    else if (streams == WHOLE && each == 2 * SOME)
        NAME(sample_pixel)(reads, m, 2 * SOME, out, WHOLE);
    else if (streams == WHOLE)
        NAME(sample_pixel)(reads, m, each, out, WHOLE);
    else if (streams)
        NAME(sample_pixel)(reads, m, each, out, ANYHOW);
    else
        NAME(sample_pixel)(reads, m, each, out, NEVER);
}

/* How a result is written past the caches: pixels are `pitch` numbers apart and groups `each`. */
static ALWAYS_INLINE int NAME(way)(const void *out, long pitch, long each, int streams) {
    const unsigned long line = SOME * sizeof(STORED) < 64 && !WIDENED && !PAIRED ? SOME * sizeof(STORED) : 64;
    const int lines = ((unsigned long)(uintptr_t)out | (unsigned long)pitch * sizeof(STORED) | (unsigned long)each * sizeof(STORED)) % line == 0;
    return !streams ? NEVER : lines ? WHOLE : ANYHOW;
}

static int NAME(sample)(const void *given, long start, long stop) {
    const Samples *job = given;
    const long groups = (long)job->groups, each = (long)job->channels / groups;
    const int way = NAME(way)(job->out, (long)job->out_pitch, each, (int)job->streams);
    for (long tile = start; tile < stop; tile++)
        for (long g = 0; g < groups; g++) {
            const long first = tile * SOME, rest = (long)job->pixels - first, some = rest < SOME ? rest : SOME;
            const REAL *columns = (const REAL *)job->columns + g * (long)job->step + first;
            const REAL *rows = (const REAL *)job->rows + g * (long)job->step + first;
            REAL near[2][SOME] = {{0}};
            for (long m = 0; some < SOME && m < some; m++) near[0][m] = columns[m], near[1][m] = rows[m];
            NAME(Corners) corners;
            NAME(corners)((long)job->width, (long)job->height, *(const NAME(Lanes) *)(some < SOME ? near[0] : columns),
                          *(const NAME(Lanes) *)(some < SOME ? near[1] : rows), &corners);
            NAME(Reads) reads;
            NAME(reads)((const STORED *)job->x + g * each, &corners, (long)job->x_pitch, &reads);
            for (long m = 0; m < some; m++)
                NAME(sample_one)(&reads, m, each, (STORED *)job->out + (first + m) * (long)job->out_pitch + g * each, way);
        }
    FENCE;
    return 1;
}
