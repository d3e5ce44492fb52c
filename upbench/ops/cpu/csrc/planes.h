/* Included by forms.h for each pair of types: planes become rows of channels, in blocks that fit into the registers.
 *
 * A tile is job->tile pixels. */

#undef BLOCK /* channels of a block: two numbers of half precision share 32 bits, and are moved together */
#define BLOCK (FORM == PLAIN ? SOME : 2 * SOME)

/* Numbers that fill whole vectors. */
static ALWAYS_INLINE long NAME(padded)(long taps) { return (taps + SOME - 1) / SOME * SOME; }

/* `deep` channels of `some` pixels: v[k] holds those of pixel k. Planes are `step` apart; what lies `ahead` pixels further is asked for. */
static ALWAYS_INLINE void NAME(take_block)(const STORED *from, long step, long deep, long some, long ahead, NAME(Lanes) * v) {
#if FORM == PLAIN
    for (long k = 0; k < SOME; k++) {
        const STORED *at = from + (k < deep ? k : 0) * step;
        v[k] = NAME(load_part)(at, some);
        PREFETCH(at + ahead);
    }
#else
    for (long k = 0; k < SOME; k++) {
        NAME(Words) both[2];
        for (long n = 0; n < 2; n++) {
            const STORED *at = from + (2 * k + n < deep ? 2 * k + n : 0) * step;
            STORED part[SOME] = {0};
            if (some < SOME) memcpy(part, at, sizeof(STORED) * (size_t)some);
            both[n] = NAME(words)(some < SOME ? part : at);
            PREFETCH(at + ahead);
        }
        v[k] = (NAME(Lanes))(both[0] | both[1] << 16);
    }
#endif
    NAME(turn)(v);
}

/* `deep` channels of a pixel as they lie in memory; past the caches, where that is a multiple of 16 bytes, if it `streams`. */
static ALWAYS_INLINE void NAME(put_row)(STORED *to, NAME(Lanes) v, long deep, int streams) {
    if (deep < BLOCK)
        memcpy(to, &v, sizeof(STORED) * (size_t)deep);
    else if (streams)
        NAME(stream_bytes)(to, &v, sizeof(v));
    else
        *(NAME(Lanes) *)to = v;
}

/* Of a high-resolution map that lies in planes, `step` apart: output rows `top` to `bottom`, columns `from` to `to`, as rows of
 * `channels`. */
static APART void NAME(fetch)(const STORED *map, long channels, long step, long across, long top, long bottom, long from, long to,
                              STORED *rows) {
    const long pitch = NAME(padded)(channels);
    for (long a = top; a < bottom; a++)
        for (long c = 0; c < channels; c += BLOCK)
            for (long b = from; b < to; b += SOME) {
                const long some = to - b < SOME ? to - b : SOME, deep = channels - c < BLOCK ? channels - c : BLOCK;
                NAME(Lanes) v[SOME];
                NAME(take_block)(map + c * step + a * across + b, step, deep, some, to - from, v);
                STORED *out = rows + ((a - top) * (to - from) + b - from) * pitch + c;
                for (long k = 0; k < some; k++) NAME(put_row)(out + k * pitch, v[k], deep, 0);
            }
}

static int NAME(rows)(const void *given, long start, long stop) {
    const Project *job = given;
    const long channels = (long)job->channels, pitch = (long)job->out_pitch, step = (long)job->x_step;
    const long size = (long)job->tile, ahead = size < 64 ? 64 : size; /* pixels until what is asked for is there */
    for (long tile = start; tile < stop; tile++) {
        const long first = tile * size, rest = (long)job->pixels - first, count = rest < size ? rest : size;
        long c = 0;
#if SOME == 8 && !WIDE
        /* Two blocks side by side: what goes past the caches fills their lines of 64 bytes. */
        for (; count % SOME == 0 && c + 2 * BLOCK <= channels; c += 2 * BLOCK)
            for (long m = 0; m < count; m += SOME) {
                const STORED *from = (const STORED *)job->x + c * step + first + m;
                STORED *out = (STORED *)job->out + (first + m) * pitch + c;
                NAME(Lanes) v[2][SOME];
                for (long n = 0; n < 2; n++) NAME(take_block)(from + n * BLOCK * step, step, BLOCK, SOME, ahead, v[n]);
                for (long k = 0; k < SOME; k++)
                    for (long n = 0; n < 2; n++) NAME(put_row)(out + k * pitch + n * BLOCK, v[n][k], BLOCK, (int)job->streams);
            }
#endif
        for (; c < channels; c += BLOCK) {
            const long deep = channels - c < BLOCK ? channels - c : BLOCK;
            for (long m = 0; m < count; m += SOME) {
                const long some = count - m < SOME ? count - m : SOME;
                NAME(Lanes) v[SOME];
                NAME(take_block)((const STORED *)job->x + c * step + first + m, step, deep, some, ahead, v);
                STORED *out = (STORED *)job->out + (first + m) * pitch + c;
                for (long k = 0; k < some; k++) NAME(put_row)(out + k * pitch, v[k], deep, (int)job->streams);
            }
        }
    }
    FENCE;
    return 1;
}
