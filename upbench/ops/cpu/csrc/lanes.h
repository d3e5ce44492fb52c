/* Included by forms.h once for each pair of a type that is computed in (REAL) and one that lies in memory (STORED): vectors
 * of SOME numbers, read from memory and written there, and what is done with them. FORM says how STORED holds a number. */

#undef BY_PAIRS /* whether products of bfloat16 in pairs are at hand where a CPU has them: in functions of their own */
#if GENERATIONS && !WIDE && SOME == 16 && FORM == PLAIN
#define BY_PAIRS 1
#else
#define BY_PAIRS 0
#endif
#undef REGISTERS /* that a vector of a few numbers fits into, and the bytes of one */
#undef REGISTER
#if defined(__AVX512F__)
#define REGISTERS 32
#define REGISTER 64
#elif defined(__aarch64__)
#define REGISTERS 32
#define REGISTER 16
#else
#define REGISTERS 16
#ifdef __AVX2__
#define REGISTER 32
#else
#define REGISTER 16
#endif
#endif
_Static_assert(WIDE || SOME * sizeof(REAL) <= REGISTER, "vectors wider than a register would be kept in memory");

typedef REAL NAME(Lanes) __attribute__((vector_size(SOME * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

typedef __typeof__((NAME(Lanes)){0} < (NAME(Lanes)){0}) NAME(Mask);

/* a where the mask is set, else b. */
static ALWAYS_INLINE NAME(Lanes) NAME(either)(NAME(Mask) mask, NAME(Lanes) a, NAME(Lanes) b) {
    return (NAME(Lanes))((mask & (NAME(Mask))a) | (~mask & (NAME(Mask))b));
}

/* a * b + c, which compilers that may sum in any order would otherwise make a product and a sum where sums follow each other. */
static ALWAYS_INLINE NAME(Lanes) NAME(plus)(NAME(Lanes) c, REAL a, NAME(Lanes) b) {
#if !WIDE && SOME == 16 && defined(__AVX512F__)
    return (NAME(Lanes))_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c);
#elif !WIDE && SOME == 8 && defined(__FMA__)
    return (NAME(Lanes))_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
#else
    return c + a * b;
#endif
}

#if FORM != PLAIN
typedef uint16_t NAME(Halves) __attribute__((vector_size(SOME * 2), aligned(2), may_alias));
typedef uint32_t NAME(Words) __attribute__((vector_size(SOME * 4), aligned(4), may_alias));

/* Numbers of 16 bits in as many of 32. GCC 12 would widen both halves apart and join them. */
static ALWAYS_INLINE NAME(Words) NAME(words)(const uint16_t *from) {
#if SOME == 16 && defined(__AVX512F__)
    return (NAME(Words))_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
#elif SOME == 8 && defined(__AVX2__)
    return (NAME(Words))_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
#else
    return __builtin_convertvector(*(const NAME(Halves) *)from, NAME(Words));
#endif
}
#endif

static ALWAYS_INLINE NAME(Lanes) NAME(load)(const STORED *from) {
#if FORM == PLAIN
    return *(const NAME(Lanes) *)from;
#elif FORM == HALF && SOME == 16 && defined(__AVX512F__)
    return (NAME(Lanes))_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif FORM == HALF && defined(__F16C__) && SOME == 8
    return (NAME(Lanes))_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#else
    const NAME(Words) bits = NAME(words)(from);
#if FORM == BFLOAT
    return (NAME(Lanes))(bits << 16);
#else
    /* The exponent is 112 too small, which a product mends for numbers below the normal ones too. */
    const NAME(Words) sign = (bits & 0x8000) << 16, rest = (bits & 0x7fff) << 13;
    const NAME(Words) endless = (NAME(Words))((bits & 0x7c00) == 0x7c00) & 0x7f800000;
    return (NAME(Lanes))((NAME(Words))((NAME(Lanes))rest * 0x1p112f) | endless | sign);
#endif
#endif
}

#undef WIDENS /* whether a register of half precision becomes one of float32 by an instruction or two */
#if !WIDE && ((SOME == 16 && defined(__AVX512F__)) || (SOME == 8 && defined(__AVX2__) && defined(__F16C__)))
#define WIDENS 1

/* The first n of SOME numbers of half precision in a form, BFLOAT or HALF; the others are 0. */
static ALWAYS_INLINE NAME(Lanes) NAME(widened)(const uint16_t *from, long n, const int form) {
    uint16_t part[SOME] = {0};
    for (long m = 0; n < SOME && m < n; m++) part[m] = from[m];
    const void *at = n < SOME ? part : from;
#if SOME == 16
    const __m256i read = _mm256_loadu_si256(at);
    return (NAME(Lanes))(form == HALF ? _mm512_cvtph_ps(read) : (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(read), 16));
#else
    const __m128i read = _mm_loadu_si128(at);
    return (NAME(Lanes))(form == HALF ? _mm256_cvtph_ps(read) : (__m256)_mm256_slli_epi32(_mm256_cvtepu16_epi32(read), 16));
#endif
}
#else
#define WIDENS 0
#endif

static ALWAYS_INLINE void NAME(store)(STORED *to, NAME(Lanes) v) {
#if FORM == PLAIN
    *(NAME(Lanes) *)to = v;
#elif FORM == HALF && SOME == 16 && defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif FORM == HALF && defined(__F16C__) && SOME == 8
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif FORM == BFLOAT && defined(__AVX2__) && SOME == 8
    /* As below. */
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32((__m256i)v, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32((__m256i)v, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = (__m256i)_mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q);
    const __m256i words = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), _mm256_set1_epi32(0x7fc0), nan);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#else
    NAME(Words) bits = (NAME(Words))v;
    const NAME(Words) size = bits & 0x7fffffff, nan = (NAME(Words))(size > 0x7f800000);
#if FORM == BFLOAT
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    bits = (nan & 0x7fc0) | (~nan & bits);
#else
    const NAME(Words) sign = (bits >> 16) & 0x8000;
    /* Below the normal numbers the sum with one half rounds at the right place. */
    const NAME(Words) small = (NAME(Words))((NAME(Lanes))size + 0.5f) - 0x3f000000;
    const NAME(Words) normal = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    const NAME(Words) is_small = (NAME(Words))(size < 0x38800000), is_large = (NAME(Words))(size >= 0x47800000);
    bits = (is_small & small) | (~is_small & ~is_large & normal) | (is_large & ~nan & 0x7c00) | (nan & 0x7e00);
    bits |= sign;
#endif
    *(NAME(Halves) *)to = __builtin_convertvector(bits, NAME(Halves));
#endif
}

#if FORM == PLAIN && !WIDE && SOME == 8 && defined(__AVX2__)
static ALWAYS_INLINE __m256i NAME(first_lanes)(long n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

/* The first n lanes alone; the others are 0. */
static ALWAYS_INLINE NAME(Lanes) NAME(load_part)(const STORED *from, long n) {
    if (n == SOME) return NAME(load)(from);
#if FORM == PLAIN && !WIDE && SOME == 16 && defined(__AVX512F__)
    return (NAME(Lanes))_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
#elif FORM == PLAIN && !WIDE && SOME == 8 && defined(__AVX2__)
    return (NAME(Lanes))_mm256_maskload_ps(from, NAME(first_lanes)(n));
#else
    STORED part[SOME] __attribute__((aligned(32))) = {0};
#if FORM != PLAIN && SOME == 16 && defined(__AVX512BW__) && defined(__AVX512VL__)
    _mm256_store_si256((__m256i *)part, _mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), from));
#else
    for (long c = 0; c < n; c++) part[c] = from[c];
#endif
    return NAME(load)(part);
#endif
}

static ALWAYS_INLINE void NAME(store_part)(STORED *to, NAME(Lanes) v, long n) {
#if FORM == PLAIN && !WIDE && SOME == 16 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)v);
#elif FORM == PLAIN && !WIDE && SOME == 8 && defined(__AVX2__)
    _mm256_maskstore_ps(to, NAME(first_lanes)(n), (__m256)v);
#else
    STORED part[SOME] __attribute__((aligned(32)));
    NAME(store)(part, v);
#if FORM != PLAIN && SOME == 16 && defined(__AVX512BW__) && defined(__AVX512VL__)
    _mm256_mask_storeu_epi16(to, (__mmask16)((1u << n) - 1), _mm256_load_si256((const __m256i *)part));
#else
    for (long c = 0; c < n; c++) to[c] = part[c];
#endif
#endif
}

static ALWAYS_INLINE REAL NAME(number)(const STORED *from) {
#if FORM == PLAIN
    return *from;
#else
    union {
        uint32_t bits;
        float value;
    } number = {(uint32_t)*from << 16};
#if FORM == HALF
    number.bits = (uint32_t)(*from & 0x7fff) << 13;
    number.value *= 0x1p112f;
    number.bits |= ((*from & 0x7c00) == 0x7c00 ? 0x7f800000 : 0) | (uint32_t)(*from & 0x8000) << 16;
#endif
    return number.value;
#endif
}

/* n numbers, read in whole vectors where there are enough: the last overlaps the one before. */
static ALWAYS_INLINE void NAME(load_all)(REAL *to, const STORED *from, long n) {
    if (n < SOME)
        for (long k = 0; k < n; k++) to[k] = NAME(number)(from + k);
    else
        for (long k = 0; k < n; k += SOME) {
            const long at = k + SOME > n ? n - SOME : k;
            *(NAME(Lanes) *)(to + at) = NAME(load)(from + at);
        }
}

/* The same into memory. */
static ALWAYS_INLINE void NAME(store_all)(STORED *to, const REAL *from, long n) {
    if (n < SOME)
        NAME(store_part)(to, *(const NAME(Lanes) *)from, n);
    else
        for (long k = 0; k < n; k += SOME) {
            const long at = k + SOME > n ? n - SOME : k;
            NAME(store)(to + at, *(const NAME(Lanes) *)(from + at));
        }
}

/* SOME numbers as they lie in memory past the caches, of what is too large to stay in them; `to` is a multiple of 16 bytes. */
static ALWAYS_INLINE void NAME(stream_bytes)(void *to, const void *from, const unsigned size) {
#if defined(__SSE2__) && defined(__GNUC__) && !defined(__clang__)
    typedef long long Pair __attribute__((vector_size(16), may_alias));
#if defined(__AVX512F__)
    if ((uintptr_t)to % 64 == 0 && size % 64 == 0) {
        for (unsigned n = 0; n < size; n += 64) _mm512_stream_si512((void *)((char *)to + n), _mm512_loadu_si512((const char *)from + n));
        return;
    }
#endif
#if SOME == 8 && defined(__AVX2__)
    if ((uintptr_t)to % 32 == 0 && size % 32 == 0) {
        for (unsigned n = 0; n < size; n += 32)
            _mm256_stream_si256((__m256i *)((char *)to + n), _mm256_loadu_si256((const __m256i *)((const char *)from + n)));
        return;
    }
#endif
    for (unsigned n = 0; n < size / 16; n++) __builtin_ia32_movntdq((Pair *)to + n, ((const Pair *)from)[n]);
#else
    memcpy(to, from, size);
#endif
}

static ALWAYS_INLINE void NAME(stream)(STORED *to, NAME(Lanes) v) {
    STORED part[SOME] __attribute__((aligned(64)));
    if (sizeof(part) < 16) {
        NAME(store)(to, v);
        return;
    }
    NAME(store)(part, v);
    NAME(stream_bytes)(to, part, sizeof(part));
}

/* The same, where what is written begins a line that it fills, or as large a part of one as a register. */
static ALWAYS_INLINE void NAME(stream_line)(STORED *to, NAME(Lanes) v) {
#if FORM == PLAIN && !WIDE && SOME == 16 && defined(__AVX512F__)
    _mm512_stream_ps(to, (__m512)v);
#elif FORM == PLAIN && !WIDE && SOME == 8 && defined(__AVX__)
    _mm256_stream_ps(to, (__m256)v);
#else
    NAME(stream)(to, v);
#endif
}

static ALWAYS_INLINE REAL NAME(sum)(NAME(Lanes) v) {
#ifdef SHUFFLED
    if (SOME > 8) v += TURNED(v, 8);
    if (SOME > 4) v += TURNED(v, 4);
    v += TURNED(v, 2), v += TURNED(v, 1);
    return v[0];
#else
    REAL sum = 0;
    for (int n = 0; n < SOME; n++) sum += v[n];
    return sum;
#endif
}

static ALWAYS_INLINE REAL NAME(largest)(NAME(Lanes) v) {
#ifdef SHUFFLED
    NAME(Lanes) other;
    if (SOME > 8) other = TURNED(v, 8), v = NAME(either)(v > other, v, other);
    if (SOME > 4) other = TURNED(v, 4), v = NAME(either)(v > other, v, other);
    other = TURNED(v, 2), v = NAME(either)(v > other, v, other);
    other = TURNED(v, 1);
    return v[0] > other[0] ? v[0] : other[0];
#else
    REAL most = v[0];
    for (int n = 1; n < SOME; n++) most = v[n] > most ? v[n] : most;
    return most;
#endif
}

/* Lane n of the result is the sum over the lanes of v[n]. */
static ALWAYS_INLINE NAME(Lanes) NAME(sums)(const NAME(Lanes) * v) {
#ifdef SHUFFLED
    if (sizeof(REAL) == 4) {
        NAME(Lanes) eight[8], four[4], two[2];
#if SOME > 8
        for (int n = 0; n < 8; n++) eight[n] = FOLDED(v[2 * n], v[2 * n + 1], 16);
#else
        for (int n = 0; n < SOME; n++) eight[n] = v[n];
#endif
#if SOME > 4
        for (int n = 0; n < 4; n++) four[n] = FOLDED(eight[2 * n], eight[2 * n + 1], 8);
#else
        for (int n = 0; n < SOME; n++) four[n] = eight[n];
#endif
        for (int n = 0; n < 2; n++) two[n] = FOLDED(four[2 * n], four[2 * n + 1], 4);
        return FOLDED(two[0], two[1], 2);
    }
#endif
    NAME(Lanes) out;
    for (int n = 0; n < SOME; n++) out[n] = NAME(sum)(v[n]);
    return out;
}

/* A step of `turn`: of rows s apart, blocks of s lanes change places. Each row is a constant, so that all stay in registers. */
#undef TURN
#define TURN(s) \
    UNROLLED for (int n = 0; n < SOME; n++) \
        if (!(n & (s))) { \
            const NAME(Lanes) a = v[n], b = v[n + (s)]; \
            v[n] = SWAPPED(a, b, 0, s), v[n + (s)] = SWAPPED(a, b, 1, s); \
        }

/* Rows become columns. */
static ALWAYS_INLINE void NAME(turn)(NAME(Lanes) * v) {
#ifdef SHUFFLED
    if (sizeof(REAL) == 4) {
#if SOME > 8
        TURN(8)
#endif
#if SOME > 4
        TURN(4)
#endif
        TURN(2)
        TURN(1)
        return;
    }
#endif
    for (int m = 0; m < SOME; m++)
        for (int n = 0; n < m; n++) {
            const REAL kept = v[m][n];
            v[m][n] = v[n][m], v[n][m] = kept;
        }
}

/* e^v for v <= 0. */
static ALWAYS_INLINE NAME(Lanes) NAME(exp)(NAME(Lanes) v) {
#if WIDE
    for (int n = 0; n < SOME; n++) v[n] = exp(v[n]);
    return v;
#else
    typedef int32_t Ints __attribute__((vector_size(SOME * 4)));
    const NAME(Lanes) floor = (NAME(Lanes)){0} - 87.3f;
    v = NAME(either)(v < floor, floor, v); /* what is no number stays so */
    const NAME(Lanes) t = v * 1.44269504f;
    const Ints whole = __builtin_convertvector(t - 0.5f, Ints);
    const NAME(Lanes) f = (t - __builtin_convertvector(whole, NAME(Lanes))) * 0.693147181f;
    const NAME(Lanes) tail = f * f * (1.f / 2 + f * (1.f / 6 + f * (1.f / 24 + f * (1.f / 120 + f * (1.f / 720)))));
    return (NAME(Lanes))((whole + 127) << 23) * (1 + f + tail);
#endif
}
