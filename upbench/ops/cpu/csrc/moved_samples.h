/* Included by forms.h for each pair of types: one bilinear sample for each output pixel and group of channels, at the centre of its
 * part of the parent's pixel and a predicted offset from there. What lies outside the map is read at its border.
 *
 * A tile is SOME parents: of each group and each place among the children, the positions of SOME output pixels are taken together. */

#undef TOGETHER /* samples of a parent whose addresses are held */
#define TOGETHER 8

/* 1 / (1 + e^-v), where e^v is taken of no number above 0. */
static ALWAYS_INLINE NAME(Lanes) NAME(sigmoid)(NAME(Lanes) v) {
    const NAME(Lanes) none = {0}, power = NAME(exp)(NAME(either)(v > none, none - v, v));
    return NAME(either)(v > none, none + 1, power) / (1 + power);
}

/* SOME pixels of the channels from `c` on, `deep` of them: v[k] holds channel k. */
static ALWAYS_INLINE void NAME(take_channels)(const STORED *from, long pitch, long deep, long some, NAME(Lanes) * v) {
    for (long m = 0; m < SOME; m++) v[m] = NAME(load_part)(from + (m < some ? m : 0) * pitch, deep);
    NAME(turn)(v);
}

/* Offsets, and their scopes after them, become moves in planes. A tile is SOME pixels. */
static int NAME(moves)(const void *given, long start, long stop) {
    const Moves *job = given;
    const long channels = (long)job->channels, pixels = (long)job->pixels, pitch = (long)job->pitch;
    for (long tile = start; tile < stop; tile++) {
        const long first = tile * SOME, rest = pixels - first, some = rest < SOME ? rest : SOME;
        const STORED *x = (const STORED *)job->x + first * pitch;
        for (long c = 0; c < channels; c += SOME) {
            const long deep = channels - c < SOME ? channels - c : SOME;
            NAME(Lanes) v[SOME], scopes[SOME];
            NAME(take_channels)(x + c, pitch, deep, some, v);
            if (job->scoped) NAME(take_channels)(x + channels + c, pitch, deep, some, scopes);
            for (long k = 0; k < deep; k++) {
                NAME(Lanes) moves = v[k] * (REAL)job->factor;
                if (job->scoped) moves *= NAME(sigmoid)(scopes[k]);
                REAL *out = (REAL *)job->out + (c + k) * pixels + first;
                if (some == SOME)
                    *(NAME(Lanes) *)out = moves;
                else
                    for (long m = 0; m < some; m++) out[m] = moves[m];
            }
        }
    }
    return 1;
}

/* Of planes, the first `some` of SOME numbers; the next ones are fetched: there are more planes than a processor looks ahead in. */
static ALWAYS_INLINE NAME(Lanes) NAME(take_moves)(const MovedSamples *job, long channel, long child, long first, long some) {
    const REAL *at = (const REAL *)job->moves + channel * (long)job->channel_step + child * (long)job->child_step + first;
    REAL part[SOME] = {0};
    for (long m = 0; some < SOME && m < some; m++) part[m] = at[m];
    PREFETCH(at + 2 * SOME);
    return *(const NAME(Lanes) *)(some < SOME ? part : at);
}

/* What is read for `some` children, those in a row and a column of children, of parents at columns and rows. */
static ALWAYS_INLINE void NAME(read_at)(const MovedSamples *job, long g, long down, long right, long first, long some,
                                        NAME(Lanes) columns, NAME(Lanes) rows, NAME(Reads) * to) {
    const long scale = (long)job->scale, child = down * scale + right, each = (long)job->channels / (long)job->groups;
    const REAL x = ((REAL)right + (REAL)0.5) / (REAL)scale - (REAL)0.5, y = ((REAL)down + (REAL)0.5) / (REAL)scale - (REAL)0.5;
    NAME(Corners) corners;
    NAME(corners)((long)job->width, (long)job->height, NAME(take_moves)(job, g, child, first, some) + (columns + x),
                  NAME(take_moves)(job, g + (long)job->axis, child, first, some) + (rows + y), &corners);
    NAME(reads)((const STORED *)job->x + g * each, &corners, (long)job->x_pitch, to);
}

static int NAME(sample_moved)(const void *given, long start, long stop) {
    const MovedSamples *job = given;
    const long groups = (long)job->groups, each = (long)job->channels / groups, scale = (long)job->scale;
    const long width = (long)job->width, height = (long)job->height, across = width * scale;
    const int way = NAME(way)(job->out, (long)job->out_pitch, each, (int)job->streams);
    for (long tile = start; tile < stop; tile++) {
        const long first = tile * SOME, rest = width * height - first, some = rest < SOME ? rest : SOME;
        REAL columns[SOME] = {0}, rows[SOME] = {0};
        STORED *out[SOME];
        for (long m = 0; m < some; m++) {
            const long row = (first + m) / width, column = (first + m) % width;
            columns[m] = (REAL)column, rows[m] = (REAL)row;
            out[m] = (STORED *)job->out + (row * scale * across + column * scale) * (long)job->out_pitch;
        }
        /* Row by row of children, and in it what is beside each other in the result: groups, then columns of children. */
        for (long down = 0; down < scale; down++)
            for (long from = 0; from < scale * groups; from += TOGETHER) {
                const long to = from + TOGETHER < scale * groups ? from + TOGETHER : scale * groups;
                NAME(Reads) reads[TOGETHER];
                long place[TOGETHER];
                for (long n = from; n < to; n++) {
                    const long right = n / groups, g = n % groups;
                    place[n - from] = (down * across + right) * (long)job->out_pitch + g * each;
                    NAME(read_at)(job, g, down, right, first, some, *(const NAME(Lanes) *)columns, *(const NAME(Lanes) *)rows,
                                  &reads[n - from]);
                }
                for (long m = 0; m < some; m++)
                    for (long n = 0; n < to - from; n++) NAME(sample_one)(&reads[n], m, each, out[m] + place[n], way);
            }
    }
    FENCE;
    return 1;
}
