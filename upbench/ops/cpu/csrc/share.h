/* Included by generations.h: shares the tiles of a job out among threads.
 *
 * They are those of torch's own OpenMP, where `threads.py` has found it: they go on running for a while after an operator of torch,
 * and threads beside them would find no core. Without it, and in a process that was forked off, which has none of them, threads are
 * started for each job. */

#if defined(__GNUC__)
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#endif

enum { RUNS = 128, LINE = 64 }; /* threads that have tiles of their own; bytes of a line of the cache */

/* Neighbouring pieces that are left of one thread: the first in the upper half, one past the last in the lower. Two threads seldom
 * write to one page of new memory so, which the system would clear twice. */
typedef struct {
    uint64_t left;
    char apart[LINE - sizeof(uint64_t)];
} Run;

typedef struct {
    Work work;
    const void *job;
    long count, piece, runs;
    int core, begun, arrived, failed;
    Run of[RUNS];
} Share;

static void (*openmp)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */
static int (*number_in_openmp)(void);                                /* omp_get_thread_num */
static int (*threads_in_openmp)(void);                               /* omp_get_num_threads */

#if defined(__GNUC__)
static pid_t openmp_process;

/* The next piece of a run for its own thread, which takes them from the front, or for another one; -1 where none is left. */
static long taken(Run *run, int own) {
    uint64_t left = __atomic_load_n(&run->left, __ATOMIC_RELAXED);
    for (;;) {
        const uint64_t first = left >> 32, stop = left & 0xffffffff;
        if (first >= stop) return -1;
        const uint64_t less = own ? left + ((uint64_t)1 << 32) : left - 1;
        if (__atomic_compare_exchange_n(&run->left, &left, less, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return (long)(own ? first : stop - 1);
    }
}

static void take_run(Share *all, long n, int own) {
    for (long at; (at = taken(&all->of[n], own)) >= 0;) {
        const long start = at * all->piece, left = all->count - start;
        if (!all->work(all->job, start, start + (left < all->piece ? left : all->piece))) __atomic_store_n(&all->failed, 1, __ATOMIC_RELAXED);
    }
}

/* What one thread does: its own run, then what is left of the others'. */
static void *take(Share *all, long mine) {
    for (long n = 0; n < all->runs; n++) take_run(all, (mine + n) % all->runs, n == 0);
    return NULL;
}

#ifdef __linux__
/* Moves this thread off the core of the one that began the job, where the system woke it there, by what it may run on for a moment. */
static void leave_core(const Share *all) {
    cpu_set_t allowed, others;
    if (sched_getcpu() != all->core || sched_getaffinity(0, sizeof(allowed), &allowed)) return;
    others = allowed;
    CPU_CLR(all->core, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof(others), &others)) sched_setaffinity(0, sizeof(allowed), &allowed);
}
#else
static void leave_core(const Share *all) { (void)all; }
#endif

/* After a rest the system may wake a thread on the core of the one that is at work. That one waits as OpenMP does, running on, and both
 * are held up for 10 ms: so whoever waits lets others go first, and they leave. */
static void take_in_openmp(void *share) {
    Share *all = share;
    const int threads = threads_in_openmp(), mine = number_in_openmp();
    __atomic_fetch_add(&all->begun, 1, __ATOMIC_RELAXED);
    if (mine)
        leave_core(all);
    else {
        take_run(all, 0, 1);
        if (__atomic_load_n(&all->begun, __ATOMIC_RELAXED) < threads) sched_yield();
    }
    take(all, mine);
    __atomic_fetch_add(&all->arrived, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&all->arrived, __ATOMIC_ACQUIRE) < threads) sched_yield();
}

static void *take_alone(void *share) { return take(share, __atomic_fetch_add(&((Share *)share)->arrived, 1, __ATOMIC_RELAXED)); }

static void start_threads(Share *all, long threads) {
    pthread_t others[RUNS];
    long started = 0;
    while (started < threads - 1 && started < RUNS && !pthread_create(&others[started], NULL, take_alone, all)) started++;
    take_alone(all);
    while (started--) pthread_join(others[started], NULL);
}

/* Runs tiles 0 to count, `piece` at a time, on some threads; 0 where one had no memory. */
static int shared(Work work, const void *job, long count, long piece, long threads) {
    const long pieces = (count + piece - 1) / piece;
    if (threads > pieces) threads = pieces;
    if (threads <= 1 || pieces > 0x7fffffff) return count <= 0 || work(job, 0, count);
    Share all = {.work = work, .job = job, .count = count, .piece = piece, .runs = threads < RUNS ? threads : RUNS};
    for (long n = 0; n < all.runs; n++) all.of[n].left = (uint64_t)(pieces * n / all.runs) << 32 | (uint64_t)(pieces * (n + 1) / all.runs);
#ifdef __linux__
    all.core = sched_getcpu();
#endif
    if (openmp && openmp_process == getpid())
        openmp(take_in_openmp, &all, (unsigned)threads, 0);
    else
        start_threads(&all, threads);
    return !all.failed;
}
#else
static int shared(Work work, const void *job, long count, long piece, long threads) { return count <= 0 || work(job, 0, count); }
#endif

/* Takes the addresses of GOMP_parallel, omp_get_thread_num and omp_get_num_threads. */
static PyObject *use_openmp(PyObject *Py_UNUSED(self), PyObject *args) {
    unsigned long long parallel, number, threads;
    if (!PyArg_ParseTuple(args, "KKK", &parallel, &number, &threads)) return NULL;
#if defined(__GNUC__)
    *(void **)&openmp = (void *)(uintptr_t)parallel;
    *(void **)&number_in_openmp = (void *)(uintptr_t)number;
    *(void **)&threads_in_openmp = (void *)(uintptr_t)threads;
    openmp_process = getpid();
#endif
    Py_RETURN_NONE;
}
#define USE_OPENMP {"use_openmp", use_openmp, METH_VARARGS, "Takes the addresses of GOMP_parallel, omp_get_thread_num and omp_get_num_threads."}
