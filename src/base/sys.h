/* The Linux-only system calls, behind names of ours: another POSIX system is added by
   giving them another body.

   Those for many datagrams at once are in sys_many.h.

   All descriptors made here are close-on-exec. Each call returns -1 with errno set on
   failure. A call that an old kernel has not, or that a filter refuses (ENOSYS, EPERM), has
   a way round it where asyncio needs none. Runs no Python. */
#ifndef LM_BASE_SYS_H
#define LM_BASE_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* 1 where errno says that the system has no such call, or lets nobody make it. */
static inline int
lm_sys_is_refused(void)
{
    return errno == ENOSYS || errno == EPERM;
}

/* 1 where errno says that a call is to be made again later: what Python raises as
   BlockingIOError (connecting may begin with the first data) or InterruptedError. */
static inline int
lm_sys_is_not_ready(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ||
           errno == EINPROGRESS || errno == EALREADY;
}

/* Non-blocking and close-on-exec, or closed. */
static inline int
lm_sys_prepare(int fd)
{
    if (fd >= 0 &&
        (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

/* A connection of a listening socket, non-blocking. */
static inline int
lm_sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    int made = accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (made < 0 && lm_sys_is_refused()) {
        made = lm_sys_prepare(accept(fd, addr, len));
    }
    return made;
}

/* Whether a read, or accept, would find something or fail. 0 where nobody can tell. */
static inline int
lm_sys_is_readable(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 0) > 0;
}

/* A non-blocking pipe: fds[0] to read, fds[1] to write. */
static inline int
lm_sys_pipe(int fds[2])
{
    int failed = pipe2(fds, O_NONBLOCK | O_CLOEXEC);
    if (failed && lm_sys_is_refused() && pipe(fds) == 0) {
        int reader = lm_sys_prepare(fds[0]);
        int writer = lm_sys_prepare(fds[1]);
        failed = reader < 0 || writer < 0 ? -1 : 0;
        if (failed && reader >= 0) {
            close(reader);
        }
        if (failed && writer >= 0) {
            close(writer);
        }
    }
    return failed;
}

/* What one thread ends another's poll with: fds[0] becomes readable by what is written to
   fds[1], 8 bytes at a time. They are one descriptor, or a pipe where the system has no
   better. */
static inline int
lm_sys_wake_open(int fds[2])
{
    fds[0] = fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fds[0] >= 0 ? 0 : lm_sys_pipe(fds);
}

/* Writes what wakes somebody. Nothing is lost where it is full, since something is in it
   then; but an interrupted write has written nothing. */
static inline void
lm_sys_wake(int fd, const void *bytes, size_t count)
{
    while (write(fd, bytes, count) < 0 && errno == EINTR) {
    }
}

/* 1 in the thread that the process began with. */
static inline int
lm_sys_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid(); /* older C libraries have no gettid() */
}

/* A descriptor that becomes readable at a set moment, finer than the poll's
   millisecond. */
static inline int
lm_sys_alarm_open(void)
{
    return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

/* Sets the moment, in nanoseconds of CLOCK_MONOTONIC; clears an earlier expiry. */
static inline int
lm_sys_alarm_set(int fd, int64_t at_ns)
{
    struct itimerspec spec = {
        .it_value = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* A kernel set of watched descriptors. */
static inline int
lm_sys_set_open(void)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0 && errno == ENOSYS) {
        set = epoll_create(1);
        if (set >= 0) {
            fcntl(set, F_SETFD, FD_CLOEXEC);
        }
    }
    return set;
}

/* Waits for so long, or until something of a set is ready: 1, and that stays to be asked
   for; else 0. May last longer by the slack of the thread's sleeps, usually 50 us. */
static inline int
lm_sys_set_wait(int set, int64_t wait_ns)
{
#ifdef SYS_epoll_pwait2
    struct epoll_event event;
    struct timespec wait = {.tv_sec = wait_ns / 1000000000,
                            .tv_nsec = wait_ns % 1000000000};
    return (int)syscall(SYS_epoll_pwait2, set, &event, 1, &wait, NULL, 0);
#else
    (void)set;
    (void)wait_ns;
    errno = ENOSYS;
    return -1;
#endif
}

/* Takes a descriptor out of a set; it need not be there. */
static inline void
lm_sys_forget(int set, int fd)
{
    struct epoll_event event = {.events = 0};
    (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, &event);
}

/* 0 where the set would take the descriptor, which it does not keep; else errno, EEXIST
   where it is there. */
static inline int
lm_sys_try(int set, int fd)
{
    struct epoll_event event = {.events = 0};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) {
        return errno;
    }
    lm_sys_forget(set, fd);
    return 0;
}

/* 0 where the kernel can tell when the descriptor is ready, else errno: some devices
   cannot. */
static inline int
lm_sys_probe(int fd)
{
    int set = lm_sys_set_open();
    if (set < 0) {
        return 0;
    }
    int err = lm_sys_try(set, fd);
    close(set);
    return err;
}

/* glibc's malloc maps and unmaps large blocks, each of them, until one of the size was freed: then
   it keeps memory for more. A program that has set the threshold itself is left alone. */
static inline void
lm_sys_keep_blocks(size_t size)
{
    void *volatile block = malloc(size);
    free(block);
}

/* How many bytes a block of malloc's has room for. */
static inline size_t
lm_sys_block_size(void *block)
{
    return malloc_usable_size(block);
}

#endif
