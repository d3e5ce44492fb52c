/* Included by body.h: the queries of a tile against the keys at its points, and weighted sums of the values there. */

#undef NARROWED

/* For each lane the products of a query with the four rows of keys of point p, which are blended on the way, and its
 * embedding: their sum is the dot product. n is a constant where it is a common one. */
static ALWAYS_INLINE NAME(Lanes) NAME(compare)(const REAL *q, const REAL *keys, const REAL *embedding, long stride,
                                               const NAME(Cells) * cells, long p, long n) {
    NAME(Lanes) sum = {0};
    long c = 0;
    if (cells->at[0][p] < 0) {
        for (; embedding && c + SOME <= n; c += SOME)
            sum += *(const NAME(Lanes) *)(q + c) * *(const NAME(Lanes) *)(embedding + c);
        for (; embedding && c < n; c++) sum[0] += q[c] * embedding[c];
        return sum;
    }
#if REGISTERS >= 32
    const REAL *k0 = keys + cells->at[0][p] * stride, *k1 = keys + cells->at[1][p] * stride;
    const REAL *k2 = keys + cells->at[2][p] * stride, *k3 = keys + cells->at[3][p] * stride;
    const REAL w0 = cells->weight[0][p], w1 = cells->weight[1][p], w2 = cells->weight[2][p], w3 = cells->weight[3][p];
#else
    /* The four of each lie evenly apart, which takes fewer registers than four addresses. */
    const long apart = cells->apart;
    const int *at = cells->at[0] + p;
    const REAL *by = cells->weight[0] + p;
    const REAL *k0 = keys + at[0] * stride, *k1 = keys + at[apart] * stride;
    const REAL *k2 = keys + at[2 * apart] * stride, *k3 = keys + at[3 * apart] * stride;
    const REAL w0 = by[0], w1 = by[apart], w2 = by[2 * apart], w3 = by[3 * apart];
#endif
    for (; c + SOME <= n; c += SOME) {
#if REGISTERS >= 32
        NAME(Lanes) top = w0 * *(const NAME(Lanes) *)(k0 + c), bottom = w2 * *(const NAME(Lanes) *)(k2 + c);
        if (embedding) top += *(const NAME(Lanes) *)(embedding + c);
        top += w1 * *(const NAME(Lanes) *)(k1 + c), bottom += w3 * *(const NAME(Lanes) *)(k3 + c);
        sum += *(const NAME(Lanes) *)(q + c) * (top + bottom);
#else
        NAME(Lanes) key = embedding ? *(const NAME(Lanes) *)(embedding + c) : (NAME(Lanes)){0};
        key = NAME(plus)(key, w0, *(const NAME(Lanes) *)(k0 + c));
        key = NAME(plus)(key, w1, *(const NAME(Lanes) *)(k1 + c));
        key = NAME(plus)(key, w2, *(const NAME(Lanes) *)(k2 + c));
        key = NAME(plus)(key, w3, *(const NAME(Lanes) *)(k3 + c));
        sum += *(const NAME(Lanes) *)(q + c) * key;
#endif
    }
    for (; c < n; c++) {
        const REAL key = w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c];
        sum[0] += q[c] * (embedding ? embedding[c] + key : key);
    }
    return sum;
}

/* The dot products of block b of a tile: to[count, taps], in memory for whole lanes. n is a constant where it is a common one. */
static ALWAYS_INLINE void NAME(compare_block)(const Job *job, const NAME(Tile) * tile, const NAME(Cells) * cells, long count,
                                              long b, REAL *RESTRICT to, long n, long taps, const int embedded) {
    const long all = job->groups * taps, own = job->depth / job->heads, from = b * n;
    const long h = from / own, first = b / (job->blocks / job->groups) * taps;
    const REAL *keys = (const REAL *)job->keys + b * job->key_step, *embedding = job->embedding;
    NAME(Lanes) some[SOME] = {0};
    int filled = 0;
    if (embedded) embedding += h * taps * own + from - h * own;
    for (long m = 0; m < count; m++)
        for (long t = 0; t < taps; t++) {
            const REAL *q = tile->query + tile->near[m] + from, *e = embedded ? embedding + t * own : NULL;
            some[filled++] = NAME(compare)(q, keys, e, job->key_pitch, cells, m * all + first + t, n);
            if (filled < SOME && (m + 1 < count || t + 1 < taps)) continue;
            *(NAME(Lanes) *)to = NAME(sums)(some);
            to += SOME, filled = 0;
        }
}

#if GENERATIONS && SOME == 16 && !WIDE && defined(__AVX512F__)
#define NARROWED 1
#pragma GCC push_options
#pragma GCC target("avx512bf16")
/* The same where keys and query are of bfloat16, 32 channels in a vector: the products with each corner are blended. */
static APART void NAME(compare_narrow)(const Job *job, const NAME(Tile) * tile, const NAME(Cells) * cells, long count, long b,
                                       REAL *RESTRICT to) {
    const long taps = job->taps, all = job->groups * taps, n = job->depth / job->blocks, pitch = job->key_pitch;
    const long first = b / (job->blocks / job->groups) * taps;
    const uint16_t *keys = (const uint16_t *)job->keys + b * job->key_step;
    NAME(Lanes) some[SOME] = {{0}};
    int filled = 0;
    for (long m = 0; m < count; m++) {
        const uint16_t *q = (const uint16_t *)job->query + tile->near[m] + b * n;
        for (long t = 0; t < taps; t++) {
            const long p = m * all + first + t;
            __m512 sum = _mm512_setzero_ps();
            for (long c = 0; cells->at[0][p] >= 0 && c < n; c += 32) {
                const __m512bh query = (__m512bh)_mm512_loadu_si512(q + c);
                __m512 dot[4];
                for (int k = 0; k < 4; k++)
                    dot[k] = _mm512_dpbf16_ps(_mm512_setzero_ps(), query, (__m512bh)_mm512_loadu_si512(keys + cells->at[k][p] * pitch + c));
                for (int k = 0; k < 4; k++) dot[k] = _mm512_mul_ps(dot[k], _mm512_set1_ps(cells->weight[k][p]));
                sum = _mm512_add_ps(sum, _mm512_add_ps(_mm512_add_ps(dot[0], dot[1]), _mm512_add_ps(dot[2], dot[3])));
            }
            some[filled++] = (NAME(Lanes))sum;
            if (filled < SOME && (m + 1 < count || t + 1 < taps)) continue;
            *(NAME(Lanes) *)to = NAME(sums)(some);
            to += SOME, filled = 0;
        }
    }
}
#pragma GCC pop_options
#else
#define NARROWED 0
#endif

/* The logits of a tile, before their factor: [count, heads, taps]. dots: memory of PIXELS * taps and SOME more numbers. */
static ALWAYS_INLINE void NAME(compare_all)(const Job *job, const NAME(Tile) * tile, const NAME(Cells) * cells, long count,
                                            REAL *RESTRICT logits, REAL *RESTRICT dots) {
    const long taps = job->taps, heads = job->heads, blocks = job->blocks, each = job->depth / blocks;
    for (long b = 0; b < blocks; b++) {
        const long h = b / (blocks / heads);
#if BY_PAIRS
        if (job->pairs)
            NAME(compare_pairs)(job, tile, cells, count, b, dots);
        else
#endif
#if NARROWED
        if (job->narrow)
            NAME(compare_narrow)(job, tile, cells, count, b, dots);
        else
#endif
        if (each == 32 && taps == 9 && job->embedding)
            NAME(compare_block)(job, tile, cells, count, b, dots, 32, 9, 1);
        else if (each == 32 && taps == 9)
            NAME(compare_block)(job, tile, cells, count, b, dots, 32, 9, 0);
        else
            NAME(compare_block)(job, tile, cells, count, b, dots, each, taps, job->embedding != NULL);
        for (long m = 0; m < count; m++) {
            const REAL *from = dots + m * taps;
            REAL *to = logits + (m * heads + h) * taps;
            if (b % (blocks / heads))
                for (long t = 0; t < taps; t++) to[t] += from[t];
            else
                for (long t = 0; t < taps; t++) to[t] = from[t];
        }
    }
}

/* A point that reads anything: the four pixels, and how much of each is taken. */
typedef struct {
    int at[4];
    REAL by[4];
} NAME(Read);

/* What the pixels of a tile read for block b. ends: after the last point of each pixel. taps is a constant where it is a common
 * one. */
static ALWAYS_INLINE void NAME(reads)(const Job *job, const NAME(Cells) * cells, long count, long b, const REAL *weights,
                                      NAME(Read) *RESTRICT to, long *RESTRICT ends, long taps) {
    const long heads = job->heads, all = job->groups * taps, h = b / (job->blocks / heads);
    const long first = b / (job->blocks / job->groups) * taps;
    long filled = 0;
    for (long m = 0; m < count; m++) {
#if SOME >= 8 && !WIDE && defined(__SSE2__)
        long t = 0;
        for (; t + 4 <= taps; t += 4) {
            const long p = m * all + first + t;
            if (_mm_movemask_ps(_mm_loadu_ps((const float *)(cells->at[0] + p)))) break; /* one of them reads nothing */
            const __m128 by = _mm_loadu_ps(weights + (m * heads + h) * taps + t);
            __m128 at[4], part[4];
            for (int k = 0; k < 4; k++) at[k] = _mm_loadu_ps((const float *)(cells->at[k] + p));
            for (int k = 0; k < 4; k++) part[k] = _mm_mul_ps(by, _mm_loadu_ps(cells->weight[k] + p));
            _MM_TRANSPOSE4_PS(at[0], at[1], at[2], at[3]);
            _MM_TRANSPOSE4_PS(part[0], part[1], part[2], part[3]);
            for (int n = 0; n < 4; n++, filled++) {
                _mm_storeu_ps((float *)to[filled].at, at[n]);
                _mm_storeu_ps(to[filled].by, part[n]);
            }
        }
        for (; t < taps; t++) {
#else
        for (long t = 0; t < taps; t++) {
#endif
            const long p = m * all + first + t;
            const REAL by = weights[(m * heads + h) * taps + t];
            for (int k = 0; k < 4; k++) to[filled].at[k] = cells->at[k][p], to[filled].by[k] = by * cells->weight[k][p];
            filled += cells->at[0][p] >= 0;
        }
        ends[m] = filled;
    }
}

/* Channels that are weighed at once: one sum of each lane in all registers, or two of fewer. */
#undef WEIGHED
#if SOME == 8 && !WIDE
#define WEIGHED 64
#else
#define WEIGHED MANY
#endif

/* out = the weighted sum of some reads over some lanes of channels, a constant: the sums stay in registers, two of each where
 * they are few, so that no addition waits for the one before. */
static ALWAYS_INLINE void NAME(weigh)(REAL *out, const REAL *x, long stride, const NAME(Read) * from, const NAME(Read) * end,
                                      const int streams, const int lanes) {
    NAME(Lanes) top[WEIGHED / SOME], bottom[WEIGHED / SOME];
    for (int n = 0; n < lanes; n++) top[n] = bottom[n] = (NAME(Lanes)){0};
    for (; from < end; from++) {
        const REAL *k0 = x + from->at[0] * stride, *k1 = x + from->at[1] * stride;
        const REAL *k2 = x + from->at[2] * stride, *k3 = x + from->at[3] * stride;
        const REAL w0 = from->by[0], w1 = from->by[1], w2 = from->by[2], w3 = from->by[3];
#if WEIGHED > MANY
        if (lanes * SOME > MANY) {
            for (int n = 0; n < lanes; n++) top[n] = NAME(plus)(top[n], w0, *(const NAME(Lanes) *)(k0 + n * SOME));
            for (int n = 0; n < lanes; n++) top[n] = NAME(plus)(top[n], w1, *(const NAME(Lanes) *)(k1 + n * SOME));
            for (int n = 0; n < lanes; n++) top[n] = NAME(plus)(top[n], w2, *(const NAME(Lanes) *)(k2 + n * SOME));
            for (int n = 0; n < lanes; n++) top[n] = NAME(plus)(top[n], w3, *(const NAME(Lanes) *)(k3 + n * SOME));
            continue;
        }
#endif
        for (int n = 0; n < lanes; n++) {
            top[n] = NAME(plus)(top[n], w0, *(const NAME(Lanes) *)(k0 + n * SOME));
            bottom[n] = NAME(plus)(bottom[n], w2, *(const NAME(Lanes) *)(k2 + n * SOME));
            top[n] = NAME(plus)(top[n], w1, *(const NAME(Lanes) *)(k1 + n * SOME));
            bottom[n] = NAME(plus)(bottom[n], w3, *(const NAME(Lanes) *)(k3 + n * SOME));
        }
    }
    for (int n = 0; n < lanes; n++)
#if SOME == 16 && !WIDE && defined(__AVX512F__)
        if (streams)
            _mm512_stream_ps(out + n * SOME, (__m512)(top[n] + bottom[n]));
        else
#endif
            *(NAME(Lanes) *)(out + n * SOME) = top[n] + bottom[n];
}

/* The same of one channel. */
static ALWAYS_INLINE void NAME(weigh_one)(REAL *out, const REAL *x, long stride, const NAME(Read) * from,
                                          const NAME(Read) * end) {
    REAL sum = 0;
    for (; from < end; from++)
        for (int k = 0; k < 4; k++) sum += from->by[k] * x[from->at[k] * stride];
    *out = sum;
}

/* n numbers as a result of half precision holds them. */
static ALWAYS_INLINE void NAME(halve)(const REAL *from, uint16_t *RESTRICT to, long n, int form) {
    if (form == BFLOAT)
        for (long c = 0; c < n; c++) to[c] = bfloat_of((float)from[c]);
    else
        for (long c = 0; c < n; c++) to[c] = half_of((float)from[c]);
}

/* `step` channels from c on of the sums of a tile, a constant: some lanes, or 1. */
static ALWAYS_INLINE void NAME(weigh_some)(const Job *job, const long *pixels, long count, long c, const NAME(Read) * reads,
                                           const long *ends, const int step) {
    const REAL *x = (const REAL *)job->x + c / job->x_slice * job->x_step + c % job->x_slice;
    const int streams = job->streams && !job->form;
    for (long m = 0; m < count; m++) {
        const NAME(Read) *from = reads + (m ? ends[m - 1] : 0), *end = reads + ends[m];
        REAL part[WEIGHED], *out = job->form ? part : (REAL *)job->out + pixels[m] * job->channels + c;
        if (step == 1)
            NAME(weigh_one)(out, x, job->x_pitch, from, end);
        else
            NAME(weigh)(out, x, job->x_pitch, from, end, streams, step / SOME);
        if (job->form) NAME(halve)(part, (uint16_t *)job->out + pixels[m] * job->channels + c, step, job->form);
    }
}

/* The sums of a tile by weights [count, heads, taps]: a few channels of what it reads at a time stay in the cache. */
static ALWAYS_INLINE void NAME(weigh_all)(const Job *job, const NAME(Cells) * cells, const long *pixels, long count,
                                          const REAL *weights, NAME(Read) * reads) {
    const long blocks = job->blocks, each = job->channels / blocks;
    long ends[PIXELS];
    for (long b = 0; b < blocks; b++) {
        if (job->taps == 9)
            NAME(reads)(job, cells, count, b, weights, reads, ends, 9);
        else
            NAME(reads)(job, cells, count, b, weights, reads, ends, job->taps);
#if GENERATIONS && !WIDE
        if (job->form == BFLOATS) {
            weigh_bfloat(job, pixels, count, b * each, (b + 1) * each, (BFloatRead *)reads, ends);
            continue;
        }
#endif
        for (long c = b * each, step; c < (b + 1) * each; c += step) {
            const long left = job->x_slice - c % job->x_slice, rest = (b + 1) * each - c, most = rest < left ? rest : left;
#if WEIGHED > MANY
            if (most >= WEIGHED) {
                step = WEIGHED;
                NAME(weigh_some)(job, pixels, count, c, reads, ends, WEIGHED);
                continue;
            }
#endif
            step = most >= MANY ? MANY : most >= 2 * SOME ? 2 * SOME : most >= SOME ? SOME : 1;
            if (step == MANY) NAME(weigh_some)(job, pixels, count, c, reads, ends, MANY);
            if (step == 2 * SOME) NAME(weigh_some)(job, pixels, count, c, reads, ends, 2 * SOME);
            if (step == SOME) NAME(weigh_some)(job, pixels, count, c, reads, ends, SOME);
            if (step == 1) NAME(weigh_some)(job, pixels, count, c, reads, ends, 1);
        }
    }
}
