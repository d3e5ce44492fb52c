/* Included by forms.h for each pair of types: a pointwise convolution whose result is rows of channels.
 *
 * A tile is PIXELS pixels, whose planes are gathered first: what the products read lies together. */

/* Sums over the channels for some pixels and lanes of outputs, both constants: the sums stay in registers. */
static ALWAYS_INLINE void NAME(product)(const REAL *a, long pixel, long step, const REAL *weights, long pitch,
                                        const REAL *bias, long channels, STORED *out, long out_pitch, long outputs,
                                        const int rows, const int lanes) {
    NAME(Lanes) sum[8][4];
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++) sum[m][l] = *(const NAME(Lanes) *)(bias + l * SOME);
    for (long k = 0; k < channels; k++) {
        NAME(Lanes) by[4];
        for (int l = 0; l < lanes; l++) by[l] = *(const NAME(Lanes) *)(weights + k * pitch + l * SOME);
        for (int m = 0; m < rows; m++) {
            const REAL left = a[m * pixel + k * step];
            for (int l = 0; l < lanes; l++) sum[m][l] += left * by[l];
        }
    }
    for (int m = 0; m < rows; m++)
        for (int l = 0; l < lanes; l++)
            if (outputs >= (l + 1) * SOME)
                NAME(store)(out + m * out_pitch + l * SOME, sum[m][l]);
            else
                NAME(store_part)(out + m * out_pitch + l * SOME, sum[m][l], outputs - l * SOME);
}

/* `lanes` times SOME outputs, a constant, of `count` pixels. */
static ALWAYS_INLINE void NAME(products)(const Project *job, const REAL *a, long pixel, long step, long first, STORED *out,
                                         long count, const int lanes) {
    const long outputs = (long)job->outputs, padded = (outputs + SOME - 1) / SOME * SOME, channels = (long)job->channels;
    const REAL *weights = (const REAL *)job->weights + first, *bias = weights + channels * padded;
    const long pitch = (long)job->out_pitch, rest = outputs - first;
    long m = 0;
    if (REGISTERS >= 32)
        for (; m + 8 <= count; m += 8)
            NAME(product)(a + m * pixel, pixel, step, weights, padded, bias, channels, out + m * pitch, pitch, rest, 8, lanes);
    for (; m + 4 <= count; m += 4)
        NAME(product)(a + m * pixel, pixel, step, weights, padded, bias, channels, out + m * pitch, pitch, rest, 4, lanes);
    for (; m < count; m++)
        NAME(product)(a + m * pixel, pixel, step, weights, padded, bias, channels, out + m * pitch, pitch, rest, 1, lanes);
}

static int NAME(project)(const void *given, long start, long stop) {
    const Project *job = given;
    const long channels = (long)job->channels, outputs = (long)job->outputs, padded = NAME(padded)(channels);
    const int planes = job->x_step != 1;
    REAL *near = malloc(sizeof(REAL) * (size_t)(PIXELS * padded));
    for (long tile = start; near && tile < stop; tile++) {
        const long first = tile * PIXELS, rest = (long)job->pixels - first, count = rest < PIXELS ? rest : PIXELS;
        const STORED *x = (const STORED *)job->x + first * (planes ? 1 : (long)job->x_pitch);
        const REAL *a = near;
        long pixel = planes ? 1 : padded, step = planes ? PIXELS : 1;
        if (planes)
            for (long k = 0; k < channels; k++)
                for (long m = 0; m < count; m += SOME) {
                    const STORED *at = x + k * (long)job->x_step + m;
                    *(NAME(Lanes) *)(near + k * PIXELS + m) = NAME(load_part)(at, count - m < SOME ? count - m : SOME);
                    PREFETCH(at + PIXELS);
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
        long n = 0;
        if (REGISTERS >= 32)
            for (; n + SOME < outputs; n += 2 * SOME) NAME(products)(job, a, pixel, step, n, out + n, count, 2);
        for (; n < outputs; n += SOME) NAME(products)(job, a, pixel, step, n, out + n, count, 1);
    }
    free(near);
    return near != NULL;
}
