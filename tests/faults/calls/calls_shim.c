/* Preloaded into the programs of this room: makes the system calls of an armed thread fail, by a seed or at one point.
   calls_shim.py is its face and says which call may fail how. Relies on nothing of loopmod.

   Only descriptors that were made while it was armed are meddled with, so imports, files and the terminal are left alone;
   so are those that were spared (the bystander's). The loop's own (made between calls_own(1) and calls_own(0)) get only
   soft faults that the kernel could give there: none that says "full" of a wake-up that nobody has filled.

   Soft faults are invisible to a program that does it right: EINTR, EAGAIN with nothing the matter, short counts, events
   that are late, kept back or false, ENOSYS where there is an older call. Hard ones are errors. */
#include "calls_plan.h"

#include <dlfcn.h>
#include <stdarg.h>

/* Declared here and not by the system's headers, which make some of these inline or variadic. */
struct vector {
    void *base;
    size_t size;
};
struct message {
    void *name;
    unsigned name_size;
    struct vector *parts;
    size_t count;
    void *control;
    size_t control_size;
    int flags;
};

#define REAL(name) ((__typeof__(&name))find(#name, (void **)&real_##name))

static void *
find(const char *name, void **kept)
{
    if (*kept == NULL) {
        *kept = dlsym(RTLD_NEXT, name);
    }
    return *kept;
}

/* Declares a call and where the real one is kept. */
#define CALL(type, name, params)                                                                                  \
    type name params;                                                                                             \
    static __typeof__(&name) real_##name;                                                                         \
    type name params

/* --- bytes in and out --- */

#define SIMPLE(type, name, params, args)                                                                          \
    CALL(type, name, params)                                                                                      \
    {                                                                                                             \
        return meddles(CALL_##name, fd, &size) ? -1 : did(REAL(name) args);                                       \
    }

SIMPLE(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size))
SIMPLE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
SIMPLE(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))

CALL(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    size_t whole = size;
    if (meddles(CALL_send, fd, &size)) {
        return -1;
    }
    ssize_t sent = did(REAL(send)(fd, data, size, flags));
    if (size != whole && sent > 0 && now.plant == PLANT_SHORT) {
        return (ssize_t)whole;
    }
    return size != whole && now.plant == PLANT_TWICE ? REAL(send)(fd, data, size, flags) : sent;
}

SIMPLE(ssize_t, recvfrom, (int fd, void *data, size_t size, int flags, void *from, unsigned *length),
       (fd, data, size, flags, from, length))
SIMPLE(ssize_t, sendto, (int fd, const void *data, size_t size, int flags, const void *to, unsigned length),
       (fd, data, size, flags, to, length))

CALL(int, recvmmsg, (int fd, void *messages, unsigned count, int flags, void *wait))
{
    return fails(CALL_recvmmsg, fd) ? -1 : (int)did(REAL(recvmmsg)(fd, messages, count, flags, wait));
}

CALL(int, sendmmsg, (int fd, void *messages, unsigned count, int flags))
{
    return fails(CALL_sendmmsg, fd) ? -1 : (int)did(REAL(sendmmsg)(fd, messages, count, flags));
}

CALL(ssize_t, __read_chk, (int fd, void *data, size_t size, size_t room))
{
    return meddles(CALL_read, fd, &size) ? -1 : did(REAL(__read_chk)(fd, data, size, room));
}

CALL(ssize_t, __recv_chk, (int fd, void *data, size_t size, size_t room, int flags))
{
    return meddles(CALL_recv, fd, &size) ? -1 : did(REAL(__recv_chk)(fd, data, size, room, flags));
}

CALL(ssize_t, __recvfrom_chk,
     (int fd, void *data, size_t size, size_t room, int flags, void *from, unsigned *length))
{
    return meddles(CALL_recvfrom, fd, &size) ? -1
                                             : did(REAL(__recvfrom_chk)(fd, data, size, room, flags, from, length));
}

#define MOST_PARTS 1024

/* The vectors of no more than so many bytes; the number of them. */
static int
cut(const struct vector *parts, size_t count, size_t size, struct vector *out)
{
    size_t i = 0;
    for (; i < count && i < MOST_PARTS && size > 0; i++) {
        out[i] = parts[i];
        if (out[i].size > size) {
            out[i].size = size;
        }
        size -= out[i].size;
    }
    return (int)i;
}

static size_t
sum(const struct vector *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    return size;
}

#define VECTORS(name)                                                                                             \
    CALL(ssize_t, name, (int fd, const struct vector *parts, int count))                                           \
    {                                                                                                             \
        struct vector fewer[MOST_PARTS];                                                                           \
        size_t whole = is_armed ? sum(parts, (size_t)count) : 0, size = whole;                                    \
        if (meddles(CALL_##name, fd, &size)) {                                                                    \
            return -1;                                                                                            \
        }                                                                                                         \
        return did(size == whole ? REAL(name)(fd, parts, count)                                                   \
                                 : REAL(name)(fd, fewer, cut(parts, (size_t)count, size, fewer)));                \
    }

VECTORS(readv)
VECTORS(writev)

#define MESSAGES(name, type)                                                                                      \
    CALL(ssize_t, name, (int fd, type *message, int flags))                                                       \
    {                                                                                                             \
        struct vector fewer[MOST_PARTS], *parts = message->parts;                                                  \
        size_t whole = is_armed ? sum(parts, message->count) : 0, size = whole;                                   \
        if (meddles(CALL_##name, fd, &size)) {                                                                    \
            return -1;                                                                                            \
        }                                                                                                         \
        if (size == whole) {                                                                                      \
            return did(REAL(name)(fd, message, flags));                                                           \
        }                                                                                                         \
        struct message shorter_one = *message;                                                                    \
        shorter_one.parts = fewer;                                                                                \
        shorter_one.count = (size_t)cut(parts, message->count, size, fewer);                                      \
        ssize_t done = did(REAL(name)(fd, &shorter_one, flags));                                                  \
        if (done >= 0 && CALL_##name == CALL_recvmsg) {                                                           \
            shorter_one.parts = parts;                                                                            \
            shorter_one.count = message->count;                                                                   \
            memcpy((void *)message, &shorter_one, sizeof(shorter_one));                                           \
        }                                                                                                         \
        return done;                                                                                              \
    }

MESSAGES(sendmsg, const struct message)
MESSAGES(recvmsg, struct message)

CALL(ssize_t, sendfile64, (int out, int in, int64_t *offset, size_t size))
{
    return meddles(CALL_sendfile, out, &size) ? -1 : did(REAL(sendfile64)(out, in, offset, size));
}

CALL(ssize_t, sendfile, (int out, int in, off_t *offset, size_t size))
{
    return meddles(CALL_sendfile, out, &size) ? -1 : did(REAL(sendfile)(out, in, offset, size));
}

/* --- descriptors made and closed --- */

static int
type_of(int type)
{
    type &= 0xf;
    return type == 1 ? STREAM : DATAGRAM;
}

CALL(int, accept, (int fd, void *addr, unsigned *length))
{
    if (fails(CALL_accept, fd)) {
        return -1;
    }
    int new_fd = (int)did(REAL(accept)(fd, addr, length));
    remember(new_fd, STREAM | (kind_of(fd) & SPARED));
    return new_fd;
}

CALL(int, accept4, (int fd, void *addr, unsigned *length, int flags))
{
    if (fails(CALL_accept4, fd)) {
        return -1;
    }
    int new_fd = (int)did(REAL(accept4)(fd, addr, length, flags));
    remember(new_fd, STREAM | (kind_of(fd) & SPARED));
    return new_fd;
}

CALL(int, socket, (int family, int type, int protocol))
{
    if (fails(CALL_socket, -1)) {
        return -1;
    }
    int fd = REAL(socket)(family, type, protocol);
    remember(fd, type_of(type));
    return fd;
}

CALL(int, socketpair, (int family, int type, int protocol, int fds[2]))
{
    if (fails(CALL_socketpair, -1)) {
        return -1;
    }
    int done = REAL(socketpair)(family, type, protocol, fds);
    for (int i = 0; i < 2 && done == 0; i++) {
        remember(fds[i], type_of(type));
    }
    return done;
}

#define PIPE(name, params, args)                                                                                  \
    CALL(int, name, params)                                                                                       \
    {                                                                                                             \
        if (fails(CALL_##name, -1)) {                                                                             \
            return -1;                                                                                            \
        }                                                                                                         \
        int done = REAL(name) args;                                                                               \
        for (int i = 0; i < 2 && done == 0; i++) {                                                                \
            remember(fds[i], STREAM | (i ? WRITE_END : 0));                                                                           \
        }                                                                                                         \
        return done;                                                                                              \
    }

PIPE(pipe, (int fds[2]), (fds))
PIPE(pipe2, (int fds[2], int flags), (fds, flags))

#define MAKE(name, params, args)                                                                                  \
    CALL(int, name, params)                                                                                       \
    {                                                                                                             \
        if (fails(CALL_##name, -1)) {                                                                             \
            return -1;                                                                                            \
        }                                                                                                         \
        int made_fd = REAL(name) args;                                                                            \
        remember(made_fd, OWN);                                                                                   \
        return made_fd;                                                                                           \
    }

MAKE(eventfd, (unsigned value, int flags), (value, flags))
MAKE(timerfd_create, (int clock, int flags), (clock, flags))
MAKE(epoll_create, (int size), (size))
MAKE(epoll_create1, (int flags), (flags))

CALL(int, dup, (int fd))
{
    if (fails(CALL_dup, fd)) {
        return -1;
    }
    int new_fd = REAL(dup)(fd);
    remember(new_fd, kind_of(fd));
    return new_fd;
}

/* It is closed all the same, as the kernel does it. */
CALL(int, close, (int fd))
{
    int err = fault_for(CALL_close, fd, 0);
    if (fd >= 0 && fd < FDS && is_meddling()) {
        made[fd] = 0;
        watched_by[fd] = -1;
    }
    int done = err && now.plant == PLANT_LEAK ? 0 : REAL(close)(fd);
    if (err != 0) {
        errno = err;
        return -1;
    }
    return done;
}

/* CPython's pidfd_open() and what libraries call without a function. */
CALL(long, syscall, (long number, ...))
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_pidfd_open && is_armed && fails(CALL_pidfd_open, -1)) {
        return -1;
    }
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* --- what a socket is asked --- */

/* The connection goes on after EINTR, as with the kernel. */
CALL(int, connect, (int fd, const void *addr, unsigned length))
{
    int err = fault_for(CALL_connect, fd, 0);
    if (err != 0 && err != EINTR) {
        errno = err;
        return -1;
    }
    int done = (int)did(REAL(connect)(fd, addr, length));
    int is_begun = done == 0 || errno == EINPROGRESS;
    if (is_begun && fd < FDS) {
        made[fd] |= CONNECTING;
    }
    if (err == EINTR && is_begun) {
        errno = EINTR;
        return -1;
    }
    return done;
}

#define FORWARD(name, params, args)                                                                               \
    CALL(int, name, params)                                                                                       \
    {                                                                                                             \
        return fails(CALL_##name, fd) ? -1 : REAL(name) args;                                                     \
    }

FORWARD(bind, (int fd, const void *addr, unsigned length), (fd, addr, length))
FORWARD(listen, (int fd, int backlog), (fd, backlog))
FORWARD(shutdown, (int fd, int how), (fd, how))
FORWARD(setsockopt, (int fd, int level, int name, const void *value, unsigned length),
        (fd, level, name, value, length))
FORWARD(getsockname, (int fd, void *addr, unsigned *length), (fd, addr, length))
FORWARD(getpeername, (int fd, void *addr, unsigned *length), (fd, addr, length))
FORWARD(timerfd_settime, (int fd, int flags, const void *value, void *old), (fd, flags, value, old))

CALL(int, getsockopt, (int fd, int level, int name, void *value, unsigned *length))
{
    if (fails(CALL_getsockopt, fd)) {
        return -1;
    }
    if (fd >= 0 && fd < FDS) {
        made[fd] &= (unsigned char)~CONNECTING;
    }
    return REAL(getsockopt)(fd, level, name, value, length);
}

/* The third argument is one machine word, whatever it is. Only a duplicate of an open descriptor can fail. */
#define CONTROL(name)                                                                                             \
    CALL(int, name, (int fd, int what, ...))                                                                      \
    {                                                                                                             \
        int duplicates = what == F_DUPFD || what == F_DUPFD_CLOEXEC;                                              \
        va_list list;                                                                                             \
        va_start(list, what);                                                                                     \
        void *word = va_arg(list, void *);                                                                        \
        va_end(list);                                                                                             \
        if (duplicates && fails(CALL_fcntl, fd)) {                                                                \
            return -1;                                                                                            \
        }                                                                                                         \
        int done = REAL(name)(fd, what, word);                                                                    \
        if (duplicates) {                                                                                         \
            remember(done, kind_of(fd));                                                                          \
        }                                                                                                         \
        return done;                                                                                              \
    }

CONTROL(fcntl)
CONTROL(fcntl64)

/* --- waiting --- */

enum { CTL_ADD = 1, CTL_DEL = 2, POLLABLE_IN = 1 };

/* Registrations fail: what asks for no events is a look at what is there. */
CALL(int, epoll_ctl, (int set, int how, int fd, struct event *event))
{
    int registers = how != CTL_DEL && event->events != 0;
    if (registers && fails(CALL_epoll_ctl, fd)) {
        return now.plant == PLANT_DEAF ? 0 : -1;
    }
    int done = REAL(epoll_ctl)(set, how, fd, event);
    if (done == 0 && fd >= 0 && fd < FDS) {
        watched_by[fd] = how == CTL_DEL ? -1 : set;
        watched[fd] = event ? *event : (struct event){0, 0};
    }
    return done;
}

static int
has_event(const struct event *events, int count, uint64_t data)
{
    for (int i = 0; i < count; i++) {
        if (events[i].data == data) {
            return 1;
        }
    }
    return 0;
}

/* Says of one descriptor that it can be read, which need not be so. */
static int
add_false_event(int set, struct event *events, int count, int most)
{
    int start = (int)chance(256);
    for (int i = 0; i < 256 && count < most; i++) {
        int fd = (start + i) % 256;
        int kind = made[fd];
        if (watched_by[fd] == set && (kind & MADE) && !(kind & (OWN | SPARED | CONNECTING | WRITE_END)) &&
            (kind & (STREAM | DATAGRAM)) && (watched[fd].events & POLLABLE_IN) &&
            !(watched[fd].events >> 30 & 1) && !has_event(events, count, watched[fd].data)) {
            events[count] = (struct event){POLLABLE_IN, watched[fd].data};
            return count + 1;
        }
    }
    return count;
}

static void
count_poll(void)
{
    if (is_meddling() && ++now.idle > now.idle_limit) {
        end_process("spins: polls, and no call that does anything");
    }
}

CALL(int, epoll_wait, (int set, struct event *events, int most, int timeout))
{
    int err = fault_for(CALL_epoll_wait, set, 0);
    count_poll();
    switch (err) {
    case 0:
        break;
    case FEWER:
        most = 1 + (int)chance((uint64_t)(most > 4 ? 4 : most));
        break;
    case EARLY:
    case FALSE_EVENT:
        timeout = 0;
        break;
    default:
        errno = err;
        return -1;
    }
    int count = REAL(epoll_wait)(set, events, most, timeout);
    return err == FALSE_EVENT && count >= 0 ? add_false_event(set, events, count, most) : count;
}

struct polled {
    int fd;
    short events, revents;
};

CALL(int, poll, (struct polled *polled, unsigned long count, int timeout))
{
    int fd = count > 0 ? polled[0].fd : -1;
    return fd >= 0 && fails(CALL_poll, fd) ? -1 : REAL(poll)(polled, count, timeout);
}

CALL(int, __poll_chk, (struct polled *polled, unsigned long count, int timeout, size_t room))
{
    int fd = count > 0 ? polled[0].fd : -1;
    return fd >= 0 && fails(CALL_poll, fd) ? -1 : REAL(__poll_chk)(polled, count, timeout, room);
}

CALL(pid_t, waitpid, (pid_t pid, int *status, int options))
{
    return is_armed && fails(CALL_waitpid, -1) ? -1 : (pid_t)did(REAL(waitpid)(pid, status, options));
}

CALL(int, waitid, (int kind, unsigned id, void *info, int options))
{
    return is_armed && fails(CALL_waitid, -1) ? -1 : REAL(waitid)(kind, id, info, options);
}

static void
in_child(void)
{
    now.pid = 0;
}

/* Each call finds the real one when it is first made, which dlsym() may not do in a forked child's thread or within
   vfork(): these are the ones that a child makes. */
__attribute__((constructor)) static void
begin(void)
{
    pthread_atfork(NULL, NULL, in_child);
    (void)REAL(close);
    (void)REAL(read);
    (void)REAL(write);
    (void)REAL(dup);
    (void)REAL(fcntl);
    (void)REAL(fcntl64);
    (void)REAL(syscall);
}
