/* Starting, stopping and checking of watches: see watch.h. Relies on libev's ev_io;
   runs no Python. */
#include "poll/watch.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "poll/evh.h"
#include "poll/poll.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

_Static_assert(sizeof(ev_io) <= LM_EV_IO_SIZE, "LM_EV_IO_SIZE is too small");

static ev_io *
ev_of(LmWatch *watch)
{
    return (ev_io *)watch->ev.bytes;
}

/* The kernel refused it, and libev has stopped it. Out of the way of what is ready. */
static LM_APART void
note_refusal(LmPoll *poll, LmWatch *watch)
{
    watch->error = (uint8_t)lm_poll_refusal(poll, watch->fd);
    watch->is_active = 0;
    lm_list_remove(&watch->place);
    lm_list_remove(&watch->fired);
    lm_list_push_front(&poll->fired, &watch->fired);
}

/* libev hands out what is ready last first: pushing at the front restores the kernel's
   order. */
static void
on_fd(struct ev_loop *ev, ev_io *io, int revents)
{
    LmPoll *poll = ev_userdata(ev);
    LmWatch *watch = LM_CONTAINER_OF((char *)io, LmWatch, ev);
    if (LM_UNLIKELY(revents & EV_ERROR)) {
        note_refusal(poll, watch);
        return;
    }
    lm_list_remove(&watch->fired);
    lm_list_push_front(&poll->fired, &watch->fired);
}

void
lm_watch_init(LmWatch *watch, int fd, int direction, void (*on_ready)(LmWatch *watch))
{
    memset(watch, 0, sizeof(*watch));
    lm_list_init(&watch->fired);
    lm_list_init(&watch->place);
    watch->on_ready = on_ready;
    watch->fd = fd;
    watch->direction = (uint8_t)direction;
}

/* Counts the watch, so that another one on the same number is known of. Without memory it
   is not. */
static void
count_watch(LmPoll *poll, LmWatch *watch)
{
    if (watch->fd >= poll->watched_size) {
        int size = poll->watched_size ? poll->watched_size : 64;
        while (size <= watch->fd) {
            size *= 2;
        }
        uint16_t *grown = realloc(poll->watched, (size_t)size * sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        memset(grown + poll->watched_size, 0,
               (size_t)(size - poll->watched_size) * sizeof(*grown));
        poll->watched = grown;
        poll->watched_size = size;
    }
    poll->watched[watch->fd]++;
    watch->is_counted = 1;
}

static void
uncount_watch(LmPoll *poll, LmWatch *watch)
{
    if (watch->is_counted && watch->fd < poll->watched_size) {
        watch->is_counted = 0;
        poll->watched[watch->fd]--;
    }
}

/* Whether the number is watched by somebody else: one that a stopped watch was left on has
   a new owner in this loop. */
static int
is_watched(const LmPoll *poll, int fd)
{
    return fd < poll->watched_size && poll->watched[fd] > 0;
}

int
lm_watch_start(LmPoll *poll, LmWatch *watch)
{
    ev_io *io = ev_of(watch);
    if (lm_reserve_cover(&poll->reserve, watch->fd) < 0) {
        return -1;
    }
    if (!watch->is_counted) {
        count_watch(poll, watch);
    }
    LmReserve **here = lm_reserve_enter(&poll->reserve);
    if (watch->is_active) {
        ev_io_stop(poll->ev, io);
    }
    /* A fresh ev_io makes libev ask the kernel even where it believes that the
       descriptor is known. */
    ev_io_init(io, on_fd, watch->fd,
               watch->direction == LM_WATCH_READ ? EV_READ : EV_WRITE);
    ev_io_start(poll->ev, io);
    lm_reserve_leave(here);
    watch->is_active = 1;
    watch->error = 0;
    lm_list_remove(&watch->place);
    lm_list_push_back(&poll->changed, &watch->place);
    if (LM_UNLIKELY(poll->may_block)) {
        /* Another thread's call: the kernel is told after the wait. */
        lm_poll_wake(poll);
    }
    return 0;
}

PyObject *
lm_watch_set_error(LmWatch *watch)
{
    int err = watch->error;
    watch->error = 0;
    return lm_oserr_set(err);
}

void
lm_watch_stop(LmPoll *poll, LmWatch *watch)
{
    lm_list_remove(&watch->fired);
    lm_list_remove(&watch->place);
    watch->error = 0;
    uncount_watch(poll, watch);
    if (!watch->is_active) {
        return;
    }
    watch->is_active = 0;
    if (poll->ev == NULL) {
        return;
    }
    LmReserve **here = lm_reserve_enter(&poll->reserve);
    ev_io_stop(poll->ev, ev_of(watch));
    lm_reserve_leave(here);
    if (watch->sibling != NULL && watch->sibling->is_active) {
        /* Its registration changes with ours, so its descriptor is to be checked too. */
        lm_list_remove(&watch->sibling->place);
        lm_list_push_back(&poll->changed, &watch->sibling->place);
    }
    else if (watch->is_users && !is_watched(poll, watch->fd)) {
        /* libev leaves it in the kernel's set until it fires. Closed while a copy of it is
           open it would then make libev register everything anew, and abort over any
           other that is closed. */
        int set = lm_poll_set(poll);
        if (set >= 0) {
            lm_sys_forget(set, watch->fd);
        }
    }
}

int
lm_watch_is_lost(LmPoll *poll, const LmWatch *watch)
{
    int set = watch->is_active ? lm_poll_set(poll) : -1;
    return set >= 0 && lm_sys_try(set, watch->fd) == 0;
}

int
lm_watch_check_fd(LmPoll *poll, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    /* By what the kernel says and not by the type: some call a pidfd a regular file. */
    int err = 0;
    if (!S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        /* The loop's own set where it is known: another would take that one, or a set that
           has it inside. */
        int set = lm_poll_set(poll);
        err = set >= 0 ? lm_sys_try(set, fd) : lm_sys_probe(fd);
    }
    if (err != 0 && err != EEXIST) {
        lm_oserr_set(err);
        return -1;
    }
    return 0;
}
