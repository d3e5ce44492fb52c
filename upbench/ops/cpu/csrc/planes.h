/* Included by forms.h for each pair of types: planes become rows of channels, in blocks that fit into the registers.
 *
 * A tile is PIXELS pixels. */

static int NAME(rows)(const void *given, long start, long stop) {
    const Project *job = given;
    const long channels = (long)job->channels, pitch = (long)job->out_pitch, step = (long)job->x_step;
    for (long tile = start; tile < stop; tile++) {
        const long first = tile * PIXELS, rest = (long)job->pixels - first, count = rest < PIXELS ? rest : PIXELS;
        for (long c = 0; c < channels; c += SOME) {
            const long deep = channels - c < SOME ? channels - c : SOME;
            for (long m = 0; m < count; m += SOME) {
                const long some = count - m < SOME ? count - m : SOME;
                STORED *out = (STORED *)job->out + (first + m) * pitch + c;
                NAME(Lanes) v[SOME];
                for (long k = 0; k < SOME; k++) {
                    const STORED *at = (const STORED *)job->x + (k < deep ? c + k : c) * step + first + m;
                    v[k] = NAME(load_part)(at, some);
                    PREFETCH(at + 2 * PIXELS);
                }
                NAME(turn)(v);
                if (deep == SOME && job->streams)
                    for (long k = 0; k < some; k++) NAME(stream)(out + k * pitch, v[k]);
                else if (deep == SOME)
                    for (long k = 0; k < some; k++) NAME(store)(out + k * pitch, v[k]);
                else
                    for (long k = 0; k < some; k++) NAME(store_part)(out + k * pitch, v[k], deep);
            }
        }
    }
    FENCE;
    return 1;
}
