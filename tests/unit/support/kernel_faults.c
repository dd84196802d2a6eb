/* Preloaded into a child of test_kernel_faults.py: makes system calls and allocations fail
   as the test says by fault_set(). Relies on nothing of loopmod. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

enum { CTL, SET, TIMER, EVENT, ACCEPT4, PIPE2, SENDFILE, MEMORY, SEND, RECV, CLOSE, TICKS,
       RECVMMSG, SENDMMSG, CUT, KINDS };

static const char *const names[KINDS] = {"epoll_ctl", "epoll_create", "timerfd",  "eventfd",
                                         "accept4",   "pipe2",        "sendfile", "memory",
                                         "send",      "recv",         "close",    "ticks",
                                         "recvmmsg",  "sendmmsg",     "cut"};

/* The calls from `skip` on, `count` of them, fail with the errno; those on `fd` alone where
   that is not -1. */
static struct {
    int err, skip, count, fd;
} faults[KINDS];
static int seen[KINDS];

void
fault_set(const char *name, int err, int skip, int count, int fd)
{
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(names[i], name) == 0) {
            faults[i].err = 0;
            faults[i].skip = skip;
            faults[i].count = count;
            faults[i].fd = fd;
            seen[i] = 0;
            faults[i].err = err;
        }
    }
}

int
fault_seen(const char *name)
{
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(names[i], name) == 0) {
            return seen[i];
        }
    }
    return -1;
}

static int
fails(int kind, int fd)
{
    if (faults[kind].err == 0 || (faults[kind].fd >= 0 && faults[kind].fd != fd)) {
        return 0;
    }
    int number = seen[kind]++ - faults[kind].skip;
    if (number < 0 || number >= faults[kind].count) {
        return 0;
    }
    errno = faults[kind].err;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Registrations fail: what asks for no events is a look at what is there. */
int
epoll_ctl(int set, int how, int fd, struct epoll_event *event)
{
    static __typeof__(&epoll_ctl) real;
    real = real ? real : REAL(epoll_ctl);
    int registers = how != EPOLL_CTL_DEL && event->events != 0;
    return registers && fails(CTL, fd) ? -1 : real(set, how, fd, event);
}

int
epoll_create1(int flags)
{
    return fails(SET, -1) ? -1 : REAL(epoll_create1)(flags);
}

int
epoll_create(int size)
{
    return fails(SET, -1) ? -1 : REAL(epoll_create)(size);
}

int timerfd_create(int clock, int flags);

int
timerfd_create(int clock, int flags)
{
    return fails(TIMER, -1) ? -1 : REAL(timerfd_create)(clock, flags);
}

int eventfd(unsigned value, int flags);

int
eventfd(unsigned value, int flags)
{
    return fails(EVENT, -1) ? -1 : REAL(eventfd)(value, flags);
}

int
accept4(int fd, struct sockaddr *addr, socklen_t *length, int flags)
{
    return fails(ACCEPT4, fd) ? -1 : REAL(accept4)(fd, addr, length, flags);
}

int pipe2(int fds[2], int flags);

int
pipe2(int fds[2], int flags)
{
    return fails(PIPE2, -1) ? -1 : REAL(pipe2)(fds, flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count);
ssize_t sendfile64(int out, int in, off_t *offset, size_t count);

ssize_t
sendfile(int out, int in, off_t *offset, size_t count)
{
    return fails(SENDFILE, -1) ? -1 : REAL(sendfile)(out, in, offset, count);
}

ssize_t
sendfile64(int out, int in, off_t *offset, size_t count)
{
    return fails(SENDFILE, -1) ? -1 : REAL(sendfile64)(out, in, offset, count);
}

/* A call on a descriptor, which fails as one of the kind. */
#define FAILING(kind, name, declared, args)                                                    \
    ssize_t name declared                                                                      \
    {                                                                                          \
        static __typeof__(&name) real;                                                         \
        real = real ? real : REAL(name);                                                       \
        return fails(kind, fd) ? -1 : real args;                                               \
    }

ssize_t write(int fd, const void *data, size_t size);
ssize_t writev(int fd, const struct iovec *parts, int count);
ssize_t read(int fd, void *data, size_t size);
int close(int fd);

FAILING(SEND, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
FAILING(SEND, sendto,
        (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length),
        (fd, data, size, flags, to, length))
/* A message that the kernel is to cut into datagrams (UDP_SEGMENT) fails as one, too. */
ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    static __typeof__(&sendmsg) real;
    real = real ? real : REAL(sendmsg);
    int is_cut = message->msg_controllen > 0;
    return (is_cut && fails(CUT, fd)) || fails(SEND, fd) ? -1 : real(fd, message, flags);
}

int
sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    static __typeof__(&sendmmsg) real;
    real = real ? real : REAL(sendmmsg);
    if (fails(SENDMMSG, fd)) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        if (messages[i].msg_hdr.msg_controllen > 0 && fails(CUT, fd)) {
            return i > 0 ? real(fd, messages, i, flags) : -1;
        }
    }
    return real(fd, messages, count, flags);
}

int
recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *wait)
{
    static __typeof__(&recvmmsg) real;
    real = real ? real : REAL(recvmmsg);
    return fails(RECVMMSG, fd) ? -1 : real(fd, messages, count, flags, wait);
}

FAILING(SEND, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(SEND, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FAILING(RECV, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
FAILING(RECV, recvfrom,
          (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length),
          (fd, data, size, flags, from, length))
FAILING(RECV, read, (int fd, void *data, size_t size), (fd, data, size))

/* It is closed all the same, as the kernel does it. */
int
close(int fd)
{
    static __typeof__(&close) real;
    real = real ? real : REAL(close);
    int failed = fails(CLOSE, fd);
    int err = errno;
    int done = real(fd);
    errno = failed ? err : errno;
    return failed ? -1 : done;
}

/* Allocations by loopmod itself, which are those for libev and few others. */
static int
is_ours(const void *caller)
{
    Dl_info info;
    return faults[MEMORY].err != 0 && dladdr(caller, &info) != 0 &&
           (strstr(info.dli_fname, "_loopmod") != NULL || strstr(info.dli_fname, "libev.so") != NULL);
}

void *__libc_malloc(size_t size);
void *__libc_realloc(void *block, size_t size);

void *
malloc(size_t size)
{
    if (is_ours(__builtin_return_address(0)) && fails(MEMORY, -1)) {
        return NULL;
    }
    return __libc_malloc(size);
}

void *
realloc(void *block, size_t size)
{
    if (is_ours(__builtin_return_address(0)) && fails(MEMORY, -1)) {
        return NULL;
    }
    return __libc_realloc(block, size);
}

/* A clock that moves by ticks which are far apart: a program that lasts sees it stand. */
static int
stands(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC_COARSE && fails(TICKS, -1);
}

int
clock_getres(clockid_t clock, struct timespec *length)
{
    static __typeof__(&clock_getres) real;
    real = real ? real : REAL(clock_getres);
    int done = real(clock, length);
    if (done == 0 && stands(clock)) {
        *length = (struct timespec){.tv_nsec = 10 * 1000000};
    }
    return done;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) real;
    real = real ? real : REAL(clock_gettime);
    int done = real(clock, now);
    if (done == 0 && stands(clock)) {
        now->tv_nsec = 0;
        now->tv_sec -= now->tv_sec % 1000;
    }
    return done;
}

/* Each finds the real call when it is first made: now, while there is one thread and no fork. */
__attribute__((constructor)) static void
find_calls(void)
{
    struct epoll_event event = {0};
    struct timespec time;
    epoll_ctl(-1, EPOLL_CTL_DEL, -1, &event);
    send(-1, "", 0, 0);
    sendto(-1, "", 0, 0, NULL, 0);
    sendmsg(-1, &(struct msghdr){0}, 0);
    sendmmsg(-1, NULL, 0, 0);
    recvmmsg(-1, NULL, 0, 0, NULL);
    (void)!write(-1, "", 0);
    (void)!writev(-1, NULL, 0);
    recv(-1, &event, 0, 0);
    recvfrom(-1, &event, 0, 0, NULL, NULL);
    (void)!read(-1, &event, 0);
    close(-1);
    clock_getres(CLOCK_MONOTONIC, &time);
    clock_gettime(CLOCK_MONOTONIC, &time);
    errno = 0;
}
