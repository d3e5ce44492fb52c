/* Included by map_kinds.h for each type: weights of bilinear samples become weights of the pixels that these read. */

/* The weights of SOME samples of each tap at column x of a row, [side * side], as sums over their pixels: v [(side + 1)^2]. */
static ALWAYS_INLINE void NAME(fold_some)(const REAL *at, long step, long side, NAME(Lanes) right, REAL down, long some,
                                          NAME(Lanes) *v) {
    const long across = side + 1;
    for (long n = 0; n < across * across; n++) v[n] = (NAME(Lanes)){0};
    for (long r = 0; r < side; r++) {
        NAME(Lanes) before = {0};
        for (long s = 0; s <= side; s++) {
            const NAME(Lanes) w = s < side ? NAME(load_part)(at + (r * side + s) * step, some) : (NAME(Lanes)){0};
            const NAME(Lanes) passed = w * right, line = w - passed + before, below = line * down;
            v[r * across + s] += line - below, v[(r + 1) * across + s] += below;
            before = passed;
        }
    }
}

/* Rows start to stop of output pixels. */
static int NAME(fold)(const void *given, long start, long stop) {
    const Fold *job = given;
    const long wide = (long)job->width, side = (long)job->kernel, taps = (side + 1) * (side + 1);
    const long padded = (taps + SOME - 1) / SOME * SOME, size = (long)job->height * wide;
    NAME(Lanes) *v = calloc((size_t)padded, sizeof(NAME(Lanes)));
    for (long y = start; v && y < stop; y++)
        for (long x = 0; x < wide; x += SOME) {
            const long some = wide - x < SOME ? wide - x : SOME;
            const NAME(Lanes) right = NAME(load_part)((const REAL *)job->right + x, some);
            const REAL *at = (const REAL *)job->weights + y * wide + x;
            if (side == 3)
                NAME(fold_some)(at, size, 3, right, ((const REAL *)job->down)[y], some, v);
            else
                NAME(fold_some)(at, size, side, right, ((const REAL *)job->down)[y], some, v);
            REAL *out = (REAL *)job->out + (y * wide + x) * taps;
            for (long t = 0; t < taps; t += SOME) {
                NAME(Lanes) turned[SOME];
                for (int n = 0; n < SOME; n++) turned[n] = v[t + n];
                NAME(turn)(turned);
                for (long m = 0; m < some; m++)
                    if (taps - t < SOME)
                        NAME(store_part)(out + m * taps + t, turned[m], taps - t);
                    else
                        NAME(store)(out + m * taps + t, turned[m]);
            }
        }
    free(v);
    return v != NULL;
}
