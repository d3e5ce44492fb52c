/* Included by forms.h for each pair of types: a pointwise convolution whose result is rows of channels.
 *
 * A tile is job->tile pixels, whose planes are gathered first: what the products read lies together. */

#undef PAIRS_FIT /* whether sums of two vectors of outputs do, where there are 16 registers: 12 are sums */
#define PAIRS_FIT (SOME == 8 && SOME * sizeof(REAL) == REGISTER)
#define SUMS_FIT 12

/* Sums over the channels for some pixels and lanes of outputs, both constants: the sums stay in registers. ahead: NULL, or what is
 * asked for on the way, a line of the cache for each channel, `ahead_step` apart. */
static ALWAYS_INLINE void NAME(product)(const REAL *a, long pixel, long step, const REAL *weights, const REAL *bias, long channels,
                                        STORED *out, long out_pitch, long outputs, const STORED *ahead, long ahead_step,
                                        const int rows, const int lanes) {
    NAME(Lanes) sum[REGISTERS >= 32 ? 8 : SUMS_FIT][4];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) {
            sum[m][l] = *(const NAME(Lanes) *)(bias + l * SOME);
            if (REGISTERS >= 32) PREFETCH(out + m * out_pitch + l * SOME); /* near when the sums are done */
        }
    for (long k = 0; k < channels; k++) {
        NAME(Lanes) by[4];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + (l * channels + k) * SOME);
        if (ahead) PREFETCH_FAR(ahead + k * ahead_step);
        for (int m = 0; m < rows; m++) {
            const REAL left = a[m * pixel + k * step];
            for (int l = 0; l < lanes; l++) sum[m][l] = NAME(plus)(sum[m][l], left, by[l]);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++)
            if (outputs >= (l + 1) * SOME)
                NAME(store)(out + m * out_pitch + l * SOME, sum[m][l]);
            else
                NAME(store_part)(out + m * out_pitch + l * SOME, sum[m][l], outputs - l * SOME);
}

/* `lanes` times SOME outputs, a constant, of `count` pixels. ahead: NULL, or what the next pixels will be made of. */
static ALWAYS_INLINE void NAME(products)(const Project *job, const REAL *a, long pixel, long step, long first, STORED *out,
                                         long count, const STORED *ahead, const int lanes) {
    const long outputs = (long)job->outputs, padded = NAME(padded)(outputs), channels = (long)job->channels;
    const REAL *weights = (const REAL *)job->weights + first * channels, *bias = (const REAL *)job->weights + channels * padded + first;
    const long pitch = (long)job->out_pitch, rest = outputs - first, far = (long)job->x_step, line = 64 / sizeof(STORED);
    long m = 0;
#define PRODUCT(rows, from) \
    NAME(product)(a + m * pixel, pixel, step, weights, bias, channels, out + m * pitch, pitch, rest, from, far, rows, lanes)
    if (REGISTERS >= 32 && ahead)
        for (; m + 8 <= count && m / 8 * line < (long)job->tile; m += 8) PRODUCT(8, ahead + m / 8 * line);
    if (REGISTERS >= 32)
        for (; m + 8 <= count; m += 8) PRODUCT(8, NULL);
    else if (PAIRS_FIT)
        for (; m + SUMS_FIT / lanes <= count; m += SUMS_FIT / lanes) PRODUCT(SUMS_FIT / lanes, NULL);
    for (; m + 4 <= count; m += 4) PRODUCT(4, NULL);
    if (PAIRS_FIT)
        for (; m + 2 <= count; m += 2) PRODUCT(2, NULL);
    for (; m < count; m++) PRODUCT(1, NULL);
#undef PRODUCT
}

#if PAIRED
/* Two channels share the 32 bits of a lane. The same sums of them: a: pairs of pixels. */
static ALWAYS_INLINE void NAME(product_of_pairs)(const uint16_t *a, long pixel, long step, const uint32_t *weights,
                                                 const float *bias, long pairs, STORED *out, long out_pitch, long outputs,
                                                 const STORED *ahead, long ahead_step, const int rows, const int lanes) {
    __m512 sum[8][2];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) {
            sum[m][l] = _mm512_loadu_ps(bias + l * SOME);
            PREFETCH(out + m * out_pitch + l * SOME); /* near when the sums are done */
        }
    for (long k = 0; k < pairs; k++) {
        __m512bh by[2];
        for (int l = 0; l < lanes; l++) by[l] = (__m512bh)_mm512_loadu_si512(weights + (l * pairs + k) * SOME);
        if (ahead) PREFETCH_FAR(ahead + 2 * k * ahead_step);
        for (int m = 0; m < rows; m++) {
            int both;
            memcpy(&both, a + m * pixel + k * step, sizeof(both));
            const __m512bh left = (__m512bh)_mm512_set1_epi32(both);
            for (int l = 0; l < lanes; l++) sum[m][l] = _mm512_dpbf16_ps(sum[m][l], left, by[l]);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++)
            if (outputs >= (l + 1) * SOME)
                NAME(store_normal)(out + m * out_pitch + l * SOME, sum[m][l]);
            else
                NAME(store_part)(out + m * out_pitch + l * SOME, (NAME(Lanes))sum[m][l], outputs - l * SOME);
}

/* The weights are numbers of bfloat16, held as float32: those of two channels together. */
static APART void NAME(pair_weights)(const Project *job, long padded, uint32_t *to) {
    const long channels = (long)job->channels;
    for (long l = 0; l < padded; l += SOME)
        for (long k = 0; k < channels; k += 2) {
            const uint32_t *from = (const uint32_t *)job->weights + l * channels + k * SOME;
            for (long n = 0; n < SOME; n++) *to++ = from[n] >> 16 | (k + 1 < channels ? from[SOME + n] & 0xffff0000 : 0);
        }
}

/* Some pixels of a tile, as pairs of channels: [pairs, tile, 2] of planes, [tile, pairs, 2] of rows. */
static ALWAYS_INLINE void NAME(pair_pixels)(const Project *job, const STORED *x, long count, uint16_t *to) {
    const long channels = (long)job->channels, step = (long)job->x_step, pairs = (channels + 1) / 2;
    if (step == 1) {
        for (long m = 0; m < count; m++) {
            memcpy(to + m * 2 * pairs, x + m * (long)job->x_pitch, sizeof(STORED) * (size_t)channels);
            if (channels % 2) to[m * 2 * pairs + channels] = 0;
        }
        return;
    }
    for (long k = 0; k < channels; k += 2)
        for (long m = 0; m < count; m += SOME) {
            const STORED *at = x + k * step + m, *next = k + 1 < channels ? at + step : at;
            const __mmask16 used = (__mmask16)(count - m < SOME ? (1 << (count - m)) - 1 : 0xffff);
            const __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(used, at));
            const __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k + 1 < channels ? used : 0, next));
            _mm512_storeu_si512(to + 2 * (k / 2 * (long)job->tile + m), _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
}

static int NAME(project)(const void *given, long start, long stop) {
    const Project *job = given;
    const long channels = (long)job->channels, outputs = (long)job->outputs, padded = NAME(padded)(outputs);
    const long pairs = (channels + 1) / 2, pitch = (long)job->out_pitch;
    const long size = (long)job->tile;
    const int planes = job->x_step != 1, there = !planes && channels % 2 == 0;
    const float *bias = (const float *)job->weights + channels * padded;
    uint32_t *weights = malloc(sizeof(uint32_t) * (size_t)(pairs * (padded + size)));
    uint16_t *near = (uint16_t *)(weights + pairs * padded);
    if (weights) NAME(pair_weights)(job, padded, weights);
    for (long tile = start; weights && tile < stop; tile++) {
        const long first = tile * size, rest = (long)job->pixels - first, count = rest < size ? rest : size;
        const STORED *x = (const STORED *)job->x + first * (planes ? 1 : (long)job->x_pitch);
        if (!there) NAME(pair_pixels)(job, x, count, near);
        const uint16_t *a = there ? x : near;
        const long pixel = planes ? 2 : there ? (long)job->x_pitch : 2 * pairs, step = planes ? 2 * size : 2;
        STORED *out = (STORED *)job->out + first * pitch;
        const STORED *ahead = planes && rest > size ? x + size : NULL;
        for (long n = 0, lanes; n < padded; n += lanes * SOME, ahead = NULL) {
            lanes = n + SOME < padded ? 2 : 1;
            long m = 0;
#define SUMS(rows, from, lanes) \
    NAME(product_of_pairs)(a + m * pixel, pixel, step, weights + n * pairs, bias + n, pairs, out + m * pitch + n, pitch, \
                           outputs - n, from, (long)job->x_step, rows, lanes)
            for (; lanes == 2 && ahead && m < 16 && m + 8 <= count; m += 8) SUMS(8, ahead + m / 8 * (long)job->x_step, 2);
            for (; lanes == 2 && m + 8 <= count; m += 8) SUMS(8, NULL, 2);
            for (; lanes == 1 && m + 8 <= count; m += 8) SUMS(8, NULL, 1);
            for (; lanes == 2 && m < count; m++) SUMS(1, NULL, 2);
            for (; lanes == 1 && m < count; m++) SUMS(1, NULL, 1);
#undef SUMS
        }
    }
    free(weights);
    return weights != NULL;
}
#else

static int NAME(project)(const void *given, long start, long stop) {
    const Project *job = given;
    const long channels = (long)job->channels, outputs = (long)job->outputs, padded = NAME(padded)(channels);
    const long size = (long)job->tile;
    const int planes = job->x_step != 1;
    REAL *near = malloc(sizeof(REAL) * (size_t)(size * padded));
    for (long tile = start; near && tile < stop; tile++) {
        const long first = tile * size, rest = (long)job->pixels - first, count = rest < size ? rest : size;
        const STORED *x = (const STORED *)job->x + first * (planes ? 1 : (long)job->x_pitch);
        const REAL *a = near;
        long pixel = planes ? 1 : padded, step = planes ? size : 1;
        if (planes)
            for (long k = 0; k < channels; k++)
                for (long m = 0; m < count; m += SOME) {
                    const STORED *at = x + k * (long)job->x_step + m;
                    *(NAME(Lanes) *)(near + k * size + m) = NAME(load_part)(at, count - m < SOME ? count - m : SOME);
                    if (REGISTERS < 32) PREFETCH(at + size);
                }
#if FORM == PLAIN
        else
            a = x, pixel = (long)job->x_pitch;
#else
        else
            for (long m = 0; m < count; m++)
                for (long k = 0; k < channels; k += SOME)
                    *(NAME(Lanes) *)(near + m * padded + k) =
                        NAME(load_part)(x + m * (long)job->x_pitch + k, channels - k < SOME ? channels - k : SOME);
#endif
        STORED *out = (STORED *)job->out + first * (long)job->out_pitch;
        const STORED *ahead = planes && rest > size ? x + size : NULL;
        long n = 0;
#if REGISTERS >= 32
        for (; SOME * sizeof(REAL) == REGISTER && n + 2 * SOME < outputs && outputs - n != 4 * SOME; n += 3 * SOME, ahead = NULL)
            NAME(products)(job, a, pixel, step, n, out + n, count, ahead, 3);
#endif
        if (REGISTERS >= 32 || PAIRS_FIT)
            for (; n + SOME < outputs; n += 2 * SOME, ahead = NULL) NAME(products)(job, a, pixel, step, n, out + n, count, ahead, 2);
        for (; n < outputs; n += SOME, ahead = NULL) NAME(products)(job, a, pixel, step, n, out + n, count, ahead, 1);
    }
    free(near);
    return near != NULL;
}
#endif
