/* Which call is to fail, and how: all that calls_shim.c decides by, which alone includes it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct
#ifdef __x86_64__
    __attribute__((packed))
#endif
    event {
    uint32_t events;
    uint64_t data;
};

#define CALLS(X)                                                                                                  \
    X(read) X(readv) X(recv) X(recvfrom) X(recvmsg) X(write) X(writev) X(send) X(sendto) X(sendmsg) X(sendfile)   \
    X(accept) X(accept4) X(connect) X(socket) X(socketpair) X(pipe) X(pipe2) X(eventfd) X(timerfd_create)         \
    X(timerfd_settime) X(epoll_create) X(epoll_create1) X(pidfd_open) X(dup) X(epoll_ctl) X(epoll_wait) X(poll)   \
    X(bind) X(listen) X(shutdown) X(getsockopt) X(setsockopt) X(getsockname) X(getpeername) X(close) X(fcntl)     \
    X(waitpid) X(waitid) X(recvmmsg) X(sendmmsg)
#define AS_ENUM(name) CALL_##name,
#define AS_NAME(name) #name,
enum { CALLS(AS_ENUM) CALL_COUNT };
static const char *const names[] = {CALLS(AS_NAME) NULL};

/* What a fault is that is no errno. */
enum { SHORT = 1001, FEWER, EARLY, FALSE_EVENT };

/* What is known of a descriptor. */
enum { MADE = 1, OWN = 2, SPARED = 4, DATAGRAM = 8, STREAM = 16, CONNECTING = 32, WRITE_END = 64 };

/* What a loop that does it wrong would come to: planted, to see that it is found. */
enum { PLANT_NONE, PLANT_SHORT, PLANT_TWICE, PLANT_LEAK, PLANT_DEAF, PLANT_SPIN };

#define FDS 4096
#define MOST_ERRORS 8
#define MOST_FAULTS 8192

struct fault {
    int call, fd, err, nth, total;
};

static struct {
    int pid; /* that is armed, 0 for none */
    int own, plant, traces, stuck_fd;
    uint64_t random;
    int soft_rate; /* of 1024 */
    int hard_left, hard_in, hard_gap, hard_runs;
    int run_call, run_fd, run_err, run_left; /* a hard fault that goes on */
    int point_call, point_nth, point_err;    /* the one fault of an enumeration */
    int idle, idle_limit, total, total_limit;
    int seen[CALL_COUNT];
    int able[CALL_COUNT]; /* of these, those that a point counts */
    int fault_count;
} now;
static struct fault faults[MOST_FAULTS];
static int soft[CALL_COUNT][MOST_ERRORS], hard[CALL_COUNT][MOST_ERRORS];
static unsigned char made[FDS];
static struct event watched[FDS]; /* what the last registration asked for */
static int watched_by[FDS];
static __thread int is_armed;

static uint64_t
chance(uint64_t below)
{
    now.random ^= now.random << 13;
    now.random ^= now.random >> 7;
    now.random ^= now.random << 17;
    return below ? (now.random >> 11) % below : 0;
}

/* --- the face --- */

void
calls_allow(int call, int is_hard, int place, int err)
{
    (is_hard ? hard : soft)[call][place] = err;
}

const char *
calls_name(int call)
{
    return names[call];
}

void
calls_arm(uint64_t seed, int soft_rate, int hard_count, int hard_gap, int hard_runs, int idle_limit, int total_limit)
{
    memset(&now, 0, sizeof(now));
    memset(made, 0, sizeof(made));
    memset(watched_by, 0xff, sizeof(watched_by));
    now.random = seed * 0x9e3779b97f4a7c15u + 0x1234567;
    chance(0);
    now.soft_rate = soft_rate;
    now.hard_left = hard_count;
    now.hard_gap = hard_gap;
    now.hard_in = 1 + (int)chance((uint64_t)hard_gap);
    now.hard_runs = hard_runs;
    now.point_call = now.stuck_fd = -1;
    now.idle_limit = idle_limit;
    now.total_limit = total_limit;
    now.pid = getpid();
    is_armed = 1;
}

void
calls_point(int call, int nth, int err)
{
    now.point_call = call;
    now.point_nth = nth;
    now.point_err = err;
}

void
calls_disarm(void)
{
    now.pid = 0;
    is_armed = 0;
}

void
calls_plant(int plant)
{
    now.plant = plant;
}

/* Say where each fault comes. */
void
calls_trace(int on)
{
    now.traces = on;
}

/* This thread's calls are meddled with, or no more. */
void
calls_thread(int on)
{
    is_armed = on;
}

void
calls_own(int on)
{
    now.own = on;
}

void
calls_spare(int fd)
{
    made[fd] |= SPARED;
}

int
calls_seen(int call)
{
    return now.seen[call];
}

int
calls_able(int call)
{
    return now.able[call];
}

int
calls_total(void)
{
    return now.total;
}

int
calls_fault_count(void)
{
    return now.fault_count;
}

void
calls_fault(int index, struct fault *out)
{
    *out = faults[index];
}

/* --- what happens --- */

static void
end_process(const char *why)
{
    fprintf(stderr, "calls_shim: %s\n", why);
    fflush(stderr);
    now.pid = 0;
    abort(); /* faulthandler shows where */
}

static int
is_meddling(void)
{
    return is_armed && now.pid != 0 && now.pid == (int)syscall(SYS_getpid); /* not what vfork() runs */
}

static int
kind_of(int fd)
{
    return fd >= 0 && fd < FDS ? made[fd] : 0;
}

static int
note(int call, int fd, int err)
{
    if (now.traces && err < SHORT && err != EINTR && err != EAGAIN) {
        int kept = errno;
        fprintf(stderr, "%s(%d) gets %s, in\n", names[call], fd, strerror(err));
        raise(SIGUSR2); /* faulthandler shows the stack */
        errno = kept;
    }
    if (now.fault_count < MOST_FAULTS) {
        faults[now.fault_count++] = (struct fault){call, fd, err, now.able[call], now.total};
    }
    return err;
}

static int
is_blocking(int fd)
{
    return ((int)syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) == 0;
}

static int
is_writing(int call)
{
    return call == CALL_write || call == CALL_writev || call == CALL_send || call == CALL_sendto ||
           call == CALL_sendmsg || call == CALL_sendmmsg;
}

static int
is_reading(int call)
{
    return call == CALL_read || call == CALL_recv;
}

/* Whether the kernel could do this here. */
static int
is_plausible(int call, int fd, int err, size_t size)
{
    int kind = kind_of(fd);
    if ((kind & OWN) && err != EINTR && err != EAGAIN && (is_reading(call) || is_writing(call))) {
        return 0; /* no wake-up breaks */
    }
    switch (err) {
    case EAGAIN:
        return !((kind & OWN) && is_writing(call)) && !is_blocking(fd);
    case EINTR:
        return call != CALL_connect || !(kind & DATAGRAM);
    case SHORT:
        return size > 1 && (kind & STREAM);
    case ECONNRESET:
    case ETIMEDOUT:
        return (kind & STREAM) || call == CALL_connect;
    default:
        return 1;
    }
}

static int
pick(const int *pool, int call, int fd, size_t size)
{
    int fit[MOST_ERRORS], count = 0;
    for (int i = 0; i < MOST_ERRORS && pool[i] != 0; i++) {
        if (is_plausible(call, fd, pool[i], size)) {
            fit[count++] = pool[i];
        }
    }
    return count ? fit[chance((uint64_t)count)] : 0;
}

static int
pick_hard(int call, int fd, size_t size)
{
    if (now.run_left > 0 && now.run_call == call && (now.run_fd == fd || now.run_fd < 0)) {
        now.run_left--;
        return now.run_err;
    }
    if (now.hard_left <= 0 || (kind_of(fd) & OWN) || hard[call][0] == 0 || --now.hard_in > 0) {
        return 0;
    }
    int err = pick(hard[call], call, fd, size);
    if (err == 0) {
        now.hard_in = 1; /* the next one */
        return 0;
    }
    now.hard_left--;
    now.hard_in = 1 + (int)chance((uint64_t)now.hard_gap);
    now.run_left = chance(4) == 0 ? (int)chance((uint64_t)now.hard_runs) : 0;
    now.run_call = call;
    now.run_fd = fd;
    now.run_err = err;
    return err;
}

/* What this call is to fail with: 0 for nothing. `fd` is -1 where it makes one. */
static int
fault_for(int call, int fd, size_t size)
{
    if (!is_meddling()) {
        return 0;
    }
    now.seen[call]++;
    if (++now.total > now.total_limit) {
        end_process("calls without end");
    }
    int kind = kind_of(fd);
    if (fd >= 0 && (!(kind & MADE) || (kind & SPARED))) {
        return 0;
    }
    int nth = ++now.able[call];
    if (now.point_call >= 0) {
        int hits = now.point_call == call && now.point_nth == nth;
        return hits && is_plausible(call, fd, now.point_err, size) ? note(call, fd, now.point_err) : 0;
    }
    int err = pick_hard(call, fd, size);
    if (err == 0 && now.soft_rate > 0 && (int)chance(1024) < now.soft_rate) {
        err = pick(soft[call], call, fd, size);
    }
    return err ? note(call, fd, err) : 0;
}

static int
fails(int call, int fd)
{
    int err = fault_for(call, fd, 0);
    if (err != 0) {
        errno = err;
    }
    return err != 0;
}

static void
remember(int fd, int kind)
{
    if (fd >= 0 && fd < FDS && is_meddling()) {
        made[fd] = (unsigned char)(MADE | kind | (now.own ? OWN : 0));
        watched_by[fd] = -1;
    }
}

/* A call that did something: whoever makes one does not spin. */
static ssize_t
did(ssize_t result)
{
    if (result >= 0) {
        now.idle = 0;
    }
    return result;
}

static size_t
shorter(size_t size)
{
    switch (chance(3)) {
    case 0:
        return 1;
    case 1:
        return size - 1;
    default:
        return 1 + (size_t)chance(size - 1);
    }
}

/* 1 where the call fails; shortens the size where its count is to be short. */
static int
meddles(int call, int fd, size_t *size)
{
    int err = fault_for(call, fd, *size);
    if (err == SHORT) {
        *size = shorter(*size);
        return 0;
    }
    if (now.plant == PLANT_SPIN && is_reading(call) && is_meddling() && (fd == now.stuck_fd || (err != 0 && err != EINTR && err != EAGAIN))) {
        now.stuck_fd = fd;
        err = EAGAIN;
    }
    if (err != 0) {
        errno = err;
    }
    return err != 0;
}
