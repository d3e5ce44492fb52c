/* Included by tile.h for float32 in vectors of 16: offsets and dot products of a map of bfloat16, by the instructions that add two
 * products to a lane at once. Two channels share its 32 bits. */

#if BY_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16,avx512vnni")

/* 32 numbers, rounded. */
static ALWAYS_INLINE __m512bh NAME(rounded)(const float *from) {
    return _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + SOME), _mm512_loadu_ps(from));
}

/* `lanes` times SOME outputs of a small convolution at a row of TILE pixels, as `predict_lanes` has it, of pairs of whole numbers of
 * 16 bits. A row of the window fits into 32 bits. */
static ALWAYS_INLINE void NAME(predict_pairs)(const uint32_t *in, long stride, long pitch, long k, long run, const uint32_t *weight,
                                              const float *factors, const float *bias, float unit, float *RESTRICT to, long apart,
                                              const int lanes) {
    const long size = k * run * SOME;
    __m512 sum[TILE][2];
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = _mm512_setzero_ps();
    for (long y = 0; y < k; y++) {
        __m512i part[TILE][2];
        for (int m = 0; m < TILE; m++)
            for (int l = 0; l < lanes; l++) part[m][l] = _mm512_setzero_si512();
        for (long c = 0; c < run; c++, weight += SOME)
            for (int m = 0; m < TILE; m++) {
                const __m512i by = _mm512_set1_epi32((int)in[y * stride + m * pitch + c]);
                for (int l = 0; l < lanes; l++) part[m][l] = _mm512_dpwssd_epi32(part[m][l], by, _mm512_loadu_si512(weight + l * size));
            }
        for (int m = 0; m < TILE; m++)
            for (int l = 0; l < lanes; l++) sum[m][l] += _mm512_cvtepi32_ps(part[m][l]);
    }
    for (int m = 0; m < TILE; m++)
        for (int l = 0; l < lanes; l++)
            _mm512_storeu_ps(to + m * apart + l * SOME,
                             sum[m][l] * (unit * _mm512_loadu_ps(factors + l * SOME)) + _mm512_loadu_ps(bias + l * SOME));
}

/* Two outputs at a row of TILE pixels: the channels lie in lanes. */
static ALWAYS_INLINE void NAME(predict_two)(const uint32_t *in, long stride, long pitch, long k, long run, const uint32_t *weight,
                                            const float *factors, const float *bias, float unit, float *RESTRICT to, long apart) {
    __m512i part[2 * TILE];
    NAME(Lanes) sum[2 * TILE];
    for (int n = 0; n < 2 * TILE; n++) part[n] = _mm512_setzero_si512();
    for (long y = 0; y < k; y++)
        for (long c = 0; c < run; c += SOME) {
            const uint32_t *at = weight + y * run + c;
            const __m512i first = _mm512_loadu_si512(at), second = _mm512_loadu_si512(at + k * run);
            for (int m = 0; m < TILE; m++) {
                const __m512i read = _mm512_loadu_si512(in + y * stride + m * pitch + c);
                part[2 * m] = _mm512_dpwssd_epi32(part[2 * m], read, first);
                part[2 * m + 1] = _mm512_dpwssd_epi32(part[2 * m + 1], read, second);
            }
        }
    for (int n = 0; n < 2 * TILE; n++) sum[n] = (NAME(Lanes))_mm512_cvtepi32_ps(part[n]);
    const NAME(Lanes) found = NAME(sums)(sum);
    for (int m = 0; m < TILE; m++)
        for (int n = 0; n < 2; n++) to[m * apart + n] = bias[n] + unit * factors[n] * found[2 * m + n];
}

/* The activations of a tile, n of them, as whole numbers of the unit that is returned, up to `bound`, where they lay; a negative one, and
 * nothing is changed, where one of them is infinite or not a number. */
static ALWAYS_INLINE float NAME(whole)(float *from, long n, float bound) {
    __m512i most = _mm512_setzero_si512();
    for (long c = 0; c < n; c += SOME)
        most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_loadu_si512(from + c), _mm512_set1_epi32(0x7fffffff)));
    const union {
        int bits;
        float value;
    } largest = {_mm512_reduce_max_epi32(most)};
    if (largest.bits >= 0x7f800000) return -1;
    const float unit = (largest.value > FLT_MIN ? largest.value : FLT_MIN) / bound, by = 1 / unit;
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (long c = 0; c < n; c += 2 * SOME) {
        const __m512i a = _mm512_cvtps_epi32(by * _mm512_loadu_ps(from + c)), b = _mm512_cvtps_epi32(by * _mm512_loadu_ps(from + c + SOME));
        _mm512_storeu_si512((uint16_t *)from + c, _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b)));
    }
    return unit;
}

/* Four of the 16 sums of each square of a tile, as `tile_apart` has them in float32, of whole numbers whose sums fit into 16 bits. */
static ALWAYS_INLINE void NAME(pairs_apart)(const uint16_t *in, long side, long each, uint16_t *RESTRICT to, const int i) {
    const long one = i == 0 ? 0 : i == 2 ? 2 : 1, other = i == 3 ? 3 : i == 2 ? 1 : 2, apart = NAME(SQUARES) * each;
    for (long n = 0; n < NAME(SQUARES); n++) {
        const uint16_t *from = in + (n / NAME(FOURTH) * 2 * side + n % NAME(FOURTH) * 2) * each;
        for (long c = 0; c < each; c += 2 * SOME) {
            __m512i v[4];
            for (int j = 0; j < 4; j++) {
                const __m512i a = _mm512_loadu_si512(from + (one * side + j) * each + c), b = _mm512_loadu_si512(from + (other * side + j) * each + c);
                v[j] = i == 1 ? _mm512_add_epi16(a, b) : _mm512_sub_epi16(a, b);
            }
            uint16_t *into = to + n * each + c;
            _mm512_storeu_si512(into, _mm512_sub_epi16(v[0], v[2]));
            _mm512_storeu_si512(into + apart, _mm512_add_epi16(v[1], v[2]));
            _mm512_storeu_si512(into + 2 * apart, _mm512_sub_epi16(v[2], v[1]));
            _mm512_storeu_si512(into + 3 * apart, _mm512_sub_epi16(v[1], v[3]));
        }
    }
}

/* SOME outputs of one of the 16 sums at all squares of a tile, which are `whole` apart in `to`: pairs [SQUARES, pairs]. */
static ALWAYS_INLINE void NAME(square_pairs)(const uint32_t *from, long pairs, const uint32_t *weight, const float *factors, float unit,
                                             float *RESTRICT to, long whole) {
    __m512i sum[NAME(SQUARES)];
    for (int m = 0; m < NAME(SQUARES); m++) sum[m] = _mm512_setzero_si512();
    for (long c = 0; c < pairs; c++) {
        const __m512i by = _mm512_loadu_si512(weight + c * SOME);
        for (int m = 0; m < NAME(SQUARES); m++) sum[m] = _mm512_dpwssd_epi32(sum[m], by, _mm512_set1_epi32((int)from[m * pairs + c]));
    }
    const __m512 factor = unit * _mm512_loadu_ps(factors);
    for (int m = 0; m < NAME(SQUARES); m++) _mm512_storeu_ps(to + m * whole, _mm512_cvtepi32_ps(sum[m]) * factor);
}

/* The first `whole` outputs of a group, whole vectors of them, at a tile with 3x3 taps, as `predict_squares` has them. factors: [16, whole],
 * weight: [16, whole / SOME, each / 2, SOME, 2]. */
static ALWAYS_INLINE void NAME(predict_square_pairs)(const uint16_t *in, long side, long each, const uint32_t *weight, const float *factors,
                                                     const float *bias, float unit, long whole, float *to, long apart, float *room) {
    uint16_t *sums = (uint16_t *)room;
    float *products = room + 2 * NAME(SQUARES) * each;
    for (int i = 0; i < 4; i++) {
        if (i == 0) NAME(pairs_apart)(in, side, each, sums, 0);
        if (i == 1) NAME(pairs_apart)(in, side, each, sums, 1);
        if (i == 2) NAME(pairs_apart)(in, side, each, sums, 2);
        if (i == 3) NAME(pairs_apart)(in, side, each, sums, 3);
        for (long n = 4 * i; n < 4 * i + 4; n++)
            for (long o = 0; o < whole; o += SOME)
                NAME(square_pairs)((const uint32_t *)sums + n % 4 * NAME(SQUARES) * (each / 2), each / 2, weight + (n * whole + o) * (each / 2),
                                   factors + n * whole + o, unit, products + n * NAME(SQUARES) * whole + o, whole);
    }
    NAME(put_tile)(products, bias, whole, to, apart);
}

/* The offsets of all groups of a tile, as `derive` makes them in float32; whether it could. Rounded to bfloat16, activations would move
 * points by hundredths of a pixel: they are whole numbers of 15 bits instead. Channels of a group are a multiple of 32. job->pairs: of
 * each output, an even number, a factor; then weights [outputs / SOME, k, k * channels / 2, SOME, 2], or of 3x3 taps what
 * `predict_square_pairs` takes; and [what remains, k, k * channels]. */
static APART int NAME(predict_offsets)(const Job *job, const NAME(Tile) * tile, const float *bias) {
    const long groups = job->groups, each = job->depth / groups, k = job->kernel, side = TILE + k / 2 * 2, outputs = 2 * job->taps;
    const long run = k * each / 2, size = k * run, whole = outputs / SOME * SOME, apart = groups * outputs, pitch = each / 2;
    /* Sums of four are to fit into 16 bits. */
    const float *factors = job->pairs, unit = NAME(whole)(tile->local, side * side * job->depth, k == 3 ? 8191 : 16384);
    const float *square_factors = factors + outputs;
    const uint32_t *square_weight = (const uint32_t *)(square_factors + 16 * whole);
    const uint32_t *weight = k == 3 ? square_weight + (16 - 9) * whole * pitch : (const uint32_t *)square_factors;
    if (unit < 0) return 0;
    for (long g = 0; g < groups; g++) {
        if (k == 3)
            NAME(predict_square_pairs)((const uint16_t *)tile->local + g * side * side * each, side, each, square_weight, square_factors, bias,
                                       unit, whole, tile->raw + g * outputs, apart, tile->room);
        for (long i = 0; i < TILE; i++) {
            const uint32_t *in = (const uint32_t *)tile->local + (g * side + i) * side * pitch;
            float *to = tile->raw + (i * TILE * groups + g) * outputs;
            long o = k == 3 ? whole : 0;
            for (; o + 2 * SOME <= whole; o += 2 * SOME)
                NAME(predict_pairs)(in, side * pitch, pitch, k, run, weight + o * size, factors + o, bias + o, unit, to + o, apart, 2);
            for (; o < whole; o += SOME)
                NAME(predict_pairs)(in, side * pitch, pitch, k, run, weight + o * size, factors + o, bias + o, unit, to + o, apart, 1);
            for (; o < outputs; o += 2)
                NAME(predict_two)(in, side * pitch, pitch, k, run, weight + o * size, factors + o, bias + o, unit, to + o, apart);
        }
    }
    return 1;
}

/* The dot products of block b of a tile, as `compare_block` has them, with keys and embedding of bfloat16: the query with each of the
 * four rows that a point reads, which are blended afterwards. n, a multiple of 32, is a constant where it is a common one. */
static ALWAYS_INLINE void NAME(compare_rounded)(const Job *job, const NAME(Tile) * tile, const NAME(Cells) * cells, long count, long b,
                                                float *RESTRICT to, const long n, const long taps, const int embedded) {
    const long all = job->groups * taps, own = job->depth / job->heads, from = b * n, pitch = job->key_pitch;
    const long h = from / own, first = b / (job->blocks / job->groups) * taps;
    const uint16_t *keys = (const uint16_t *)job->keys + b * job->key_step;
    const uint16_t *embedding = embedded ? (const uint16_t *)job->embedding + h * taps * own + from - h * own : NULL;
    NAME(Lanes) some[SOME] = {{0}};
    int filled = 0;
    for (long m = 0; m < count; m++) {
        const float *q = tile->query + tile->near[m] + from;
        for (long t = 0; t < taps; t++) {
            const long p = m * all + first + t;
            __m512 sum = _mm512_setzero_ps(), part[4];
            for (long c = 0; embedded && c < n; c += 2 * SOME)
                sum = _mm512_dpbf16_ps(sum, NAME(rounded)(q + c), (__m512bh)_mm512_loadu_si512(embedding + t * own + c));
            if (cells->at[0][p] >= 0) {
                for (int k = 0; k < 4; k++) part[k] = _mm512_setzero_ps();
                for (long c = 0; c < n; c += 2 * SOME)
                    for (int k = 0; k < 4; k++)
                        part[k] = _mm512_dpbf16_ps(part[k], NAME(rounded)(q + c),
                                                   (__m512bh)_mm512_loadu_si512(keys + cells->at[k][p] * pitch + c));
                for (int k = 0; k < 4; k++) sum = _mm512_fmadd_ps(_mm512_set1_ps(cells->weight[k][p]), part[k], sum);
            }
            some[filled++] = (NAME(Lanes))sum;
            if (filled < SOME && (m + 1 < count || t + 1 < taps)) continue;
            *(NAME(Lanes) *)to = NAME(sums)(some);
            to += SOME, filled = 0;
        }
    }
}

static APART void NAME(compare_pairs)(const Job *job, const NAME(Tile) * tile, const NAME(Cells) * cells, long count, long b,
                                      float *RESTRICT to) {
    const long n = job->depth / job->blocks;
    if (n == 32 && job->taps == 9 && job->embedding)
        NAME(compare_rounded)(job, tile, cells, count, b, to, 32, 9, 1);
    else
        NAME(compare_rounded)(job, tile, cells, count, b, to, n, job->taps, job->embedding != NULL);
}
#pragma GCC pop_options
#endif
