/* The set of one-shot registrations: see once.h. Relies on base/sys.h for the system
   calls and on an LmWatch for the set itself. */
#include "poll/once.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "poll/poll.h"

#include <stdlib.h>

enum { BATCH = 256, FIRST_SIZE = 64 };

static uint32_t
events_of(int directions)
{
    return (directions & LM_WATCH_READ ? EPOLLIN : 0u) |
           (directions & LM_WATCH_WRITE ? EPOLLOUT : 0u);
}

/* An error or the other end's going is for whoever waits to find out. */
static int
directions_of(uint32_t events)
{
    int broken = events & (EPOLLERR | EPOLLHUP) ? LM_WATCH_READ | LM_WATCH_WRITE : 0;
    return broken | (events & EPOLLIN ? LM_WATCH_READ : 0) |
           (events & EPOLLOUT ? LM_WATCH_WRITE : 0);
}

static int
tell_kernel(LmOnceSet *set, LmOnce *once, int how)
{
    struct epoll_event event = {
        .events = EPOLLONESHOT | events_of(once->wanted),
        .data.u64 = (uint64_t)once->generation << 32 | (uint32_t)once->fd,
    };
    return epoll_ctl(set->watch.fd, how, once->fd, &event);
}

static int
register_fd(LmOnceSet *set, LmOnce *once)
{
    once->generation = ++set->generations;
    int failed = tell_kernel(set, once, EPOLL_CTL_ADD);
    if (failed && errno == EEXIST) {
        failed = tell_kernel(set, once, EPOLL_CTL_MOD);
    }
    once->set_number = failed ? 0 : set->number;
    return failed;
}

/* What is wanted, to the kernel. -1 with errno set. */
static int
tell_wanted(LmOnceSet *set, LmOnce *once)
{
    if (once->set_number == set->number) {
        if (tell_kernel(set, once, EPOLL_CTL_MOD) == 0) {
            return 0;
        }
        if (errno != ENOENT) {
            once->set_number = 0;
            return -1;
        }
        /* It was closed, and the number is another file's now. */
    }
    return register_fd(set, once);
}

static LmOnce *
find_once(LmOnceSet *set, uint64_t data)
{
    uint32_t fd = (uint32_t)data;
    LmOnce *once = fd < (uint32_t)set->size ? set->by_fd[fd] : NULL;
    return once != NULL && once->generation == (uint32_t)(data >> 32) ? once : NULL;
}

static void
report_once(LmOnceSet *set, LmOnce *once, int ready)
{
    ready &= once->wanted;
    once->wanted &= (uint8_t)~ready;
    /* The kernel has forgotten about both directions. Whoever waits for one that it does not
       take again is to find out why. */
    if (once->wanted != 0 && tell_wanted(set, once) < 0) {
        ready |= once->wanted;
        once->wanted = 0;
    }
    if (once->wanted == 0) {
        lm_list_remove(&once->place);
    }
    if (ready) {
        once->on_ready(once, ready);
    }
}

/* The kernel does not watch the set any more: everybody asks again, and is told. */
static void
report_armed(LmOnceSet *set)
{
    LmList asked;
    lm_list_init(&asked);
    while (!lm_list_is_empty(&set->armed)) {
        LmList *place = set->armed.next;
        lm_list_remove(place);
        lm_list_push_back(&asked, place);
    }
    while (!lm_list_is_empty(&asked)) {
        LmOnce *once = LM_CONTAINER_OF(asked.next, LmOnce, place);
        int wanted = once->wanted;
        once->wanted = 0;
        lm_list_remove(&once->place);
        once->on_ready(once, wanted);
    }
}

static void
on_set_readable(LmWatch *watch)
{
    LmPoll *poll = LM_CONTAINER_OF(watch, LmPoll, once.watch);
    LmOnceSet *set = &poll->once;
    struct epoll_event events[BATCH];
    int count;
    if (LM_UNLIKELY(!watch->is_active)) {
        report_armed(set);
        return;
    }
    if (LM_UNLIKELY(!lm_poll_has_once(poll))) {
        return; /* a fork since it fired: what is in it is for the parent */
    }
    do {
        count = epoll_wait(watch->fd, events, BATCH, 0);
        for (int i = 0; i < count; i++) {
            LmOnce *once = find_once(set, events[i].data.u64);
            if (once != NULL && once->wanted) {
                report_once(set, once, directions_of(events[i].events));
            }
        }
    } while (count == BATCH);
}

static void
close_once_set(LmPoll *poll)
{
    LmOnceSet *set = &poll->once;
    lm_watch_stop(poll, &set->watch);
    if (set->watch.fd >= 0) {
        close(set->watch.fd);
        set->watch.fd = -1;
    }
}

static int
is_registered(const LmPoll *poll, const LmOnce *once)
{
    return lm_poll_has_once(poll) && once->set_number == poll->once.number;
}

int
lm_once_set_open(LmPoll *poll)
{
    LmOnceSet *set = &poll->once;
    close_once_set(poll);
    set->watch.fd = lm_sys_set_open();
    if (set->watch.fd < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    set->number++;
    set->fork_count = lm_poll_fork_count();
    LmList *next;
    for (LmList *link = set->armed.next; link != &set->armed; link = next) {
        LmOnce *once = LM_CONTAINER_OF(link, LmOnce, place);
        next = link->next;
        if (tell_wanted(set, once) < 0) {
            report_once(set, once, once->wanted);
        }
    }
    return lm_list_is_empty(&set->armed) ? 0 : lm_watch_start(poll, &set->watch);
}

/* -1 with MemoryError set. */
static int
note_once(LmOnceSet *set, LmOnce *once)
{
    if (once->fd >= set->size) {
        int size = set->size ? set->size : FIRST_SIZE;
        while (size <= once->fd) {
            size *= 2;
        }
        LmOnce **by_fd = realloc(set->by_fd, (size_t)size * sizeof(LmOnce *));
        if (by_fd == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memset(by_fd + set->size, 0, (size_t)(size - set->size) * sizeof(LmOnce *));
        set->by_fd = by_fd;
        set->size = size;
    }
    set->by_fd[once->fd] = once;
    return 0;
}

void
lm_once_init(LmOnce *once, int fd, void (*on_ready)(LmOnce *once, int directions))
{
    memset(once, 0, sizeof(*once));
    lm_list_init(&once->place);
    once->on_ready = on_ready;
    once->fd = fd;
}

int
lm_once_arm(LmPoll *poll, LmOnce *once, int direction)
{
    LmOnceSet *set = &poll->once;
    LM_ASSERT(lm_poll_has_once(poll) && set->watch.is_active);
    if (note_once(set, once) < 0) {
        return -1;
    }
    uint8_t before = once->wanted;
    once->wanted |= (uint8_t)direction;
    if (LM_UNLIKELY(tell_wanted(set, once) < 0)) {
        once->wanted = before;
        lm_oserr_set(errno);
        return -1;
    }
    if (before == 0) {
        lm_list_push_back(&set->armed, &once->place);
    }
    return 0;
}

void
lm_once_disarm(LmPoll *poll, LmOnce *once, int direction)
{
    if (!(once->wanted & direction)) {
        return;
    }
    once->wanted &= (uint8_t)~direction;
    if (once->wanted == 0) {
        lm_list_remove(&once->place);
        lm_once_forget(poll, once);
    }
    else if (is_registered(poll, once)) {
        (void)tell_kernel(&poll->once, once, EPOLL_CTL_MOD);
    }
}

void
lm_once_forget(LmPoll *poll, LmOnce *once)
{
    LmOnceSet *set = &poll->once;
    if (once->wanted == 0 && once->set_number != 0) {
        if (is_registered(poll, once)) {
            lm_sys_forget(set->watch.fd, once->fd);
        }
        once->set_number = 0;
    }
}

void
lm_once_end(LmPoll *poll, LmOnce *once)
{
    LmOnceSet *set = &poll->once;
    lm_once_disarm(poll, once, LM_WATCH_READ | LM_WATCH_WRITE);
    if (once->fd < set->size && set->by_fd[once->fd] == once) {
        set->by_fd[once->fd] = NULL;
    }
}

void
lm_once_set_init(LmOnceSet *set)
{
    memset(set, 0, sizeof(*set));
    lm_list_init(&set->armed);
    lm_watch_init(&set->watch, -1, LM_WATCH_READ, on_set_readable);
}

void
lm_once_set_leave_parent(LmPoll *poll)
{
    if (!lm_poll_has_once(poll) && lm_once_set_open(poll) < 0) {
        PyErr_Clear(); /* the next one to wait tries again, and is told */
    }
}

void
lm_once_set_close(LmPoll *poll)
{
    LmOnceSet *set = &poll->once;
    close_once_set(poll);
    while (!lm_list_is_empty(&set->armed)) {
        LmOnce *once = LM_CONTAINER_OF(set->armed.next, LmOnce, place);
        once->wanted = 0;
        lm_list_remove(&once->place);
    }
    free(set->by_fd);
    set->by_fd = NULL;
    set->size = 0;
}
