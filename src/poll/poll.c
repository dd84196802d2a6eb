/* The wait: see poll.h. Relies on libev, on wake.h for the wake-up and the alarm, on once.h
   for one-shot registrations; runs no Python. */
#include "poll/poll.h"

#include "base/clock.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "poll/evh.h"
#include "poll/wake.h"

#include <fcntl.h>
#include <stdlib.h>

_Static_assert(sizeof(ev_fork) <= LM_EV_FORK_SIZE, "LM_EV_FORK_SIZE is too small");
_Static_assert(sizeof(ev_timer) <= LM_EV_TIMER_SIZE, "LM_EV_TIMER_SIZE is too small");

/* Nearer deadlines are kept by the alarm, farther ones by libev's millisecond timer,
   which costs no system call and hands over to the alarm this much before the moment. */
#define ALARM_REACH_NS (50 * 1000000LL)

/* How long a signal may go unnoticed that came on the way into a wait. */
#define PATROL_S 0.01

static void
on_libev_error(const char *message LM_UNUSED)
{
    if (lm_reserve_here != NULL) {
        lm_reserve_here->err = errno ? errno : EIO;
    }
}

static ev_timer *
timer_of(LmPoll *poll)
{
    return (ev_timer *)poll->timer.bytes;
}

static ev_timer *
patrol_of(LmPoll *poll)
{
    return (ev_timer *)poll->patrol.bytes;
}

static ev_fork *
renewal_of(LmPoll *poll)
{
    return (ev_fork *)poll->renewal.bytes;
}

static void
on_deadline(struct ev_loop *ev LM_UNUSED, ev_timer *timer LM_UNUSED,
            int revents LM_UNUSED)
{
}

static void
on_patrol(struct ev_loop *ev, ev_timer *timer LM_UNUSED, int revents LM_UNUSED)
{
    ((LmPoll *)ev_userdata(ev))->is_quiet = 1;
}

/* libev's callback between telling the kernel of changes and the wait. What was refused is
   pending, and nothing else: the wait is not to begin. */
static void
release_gil(struct ev_loop *ev) EV_NOEXCEPT
{
    LmPoll *poll = ev_userdata(ev);
    if (LM_UNLIKELY(poll->tells_kernel)) {
        poll->refusal = errno;
        if (poll->may_block && ev_pending_count(ev) > 0) {
            lm_poll_wake(poll);
        }
    }
    if (poll->may_block) {
        poll->saved = PyEval_SaveThread();
    }
}

static void
acquire_gil(struct ev_loop *ev) EV_NOEXCEPT
{
    LmPoll *poll = ev_userdata(ev);
    if (poll->may_block) {
        int err = errno; /* libev reads it after the wait */
        PyEval_RestoreThread(poll->saved);
        errno = err;
    }
}

/* Distribution builds of libev abort on a descriptor that is not open, and on their own
   set. A program may close one at any time, so each that libev would tell the kernel of is
   looked at once more: here those that changed, and in on_renewal all of them. */
static void
drop_closed_fds(LmPoll *poll)
{
    poll->tells_kernel = 1;
    while (!lm_list_is_empty(&poll->changed)) {
        LmWatch *watch = LM_CONTAINER_OF(poll->changed.next, LmWatch, place);
        lm_list_remove(&watch->place);
        int err = lm_poll_fatal_refusal(poll, watch);
        if (err == 0) {
            lm_list_push_back(&poll->settled, &watch->place);
            continue;
        }
        lm_watch_stop(poll, watch);
        if (watch->sibling != NULL) {
            lm_watch_stop(poll, watch->sibling);
        }
        watch->error = (uint8_t)err; /* to who waits for it: lm_poll_watch_now */
    }
}

/* libev is about to register every descriptor in a new set: after a fork, and where the
   kernel reported one that was closed while a copy of it is open. */
static void
on_renewal(struct ev_loop *ev, ev_fork *renewal LM_UNUSED, int revents LM_UNUSED)
{
    LmPoll *poll = ev_userdata(ev);
    errno = 0;
    while (!lm_list_is_empty(&poll->settled)) {
        LmList *place = poll->settled.next;
        lm_list_remove(place);
        lm_list_push_back(&poll->changed, place);
    }
    drop_closed_fds(poll);
    /* libev closes its set before it opens another. */
    int free_fd = lm_sys_set_open();
    if (free_fd >= 0) {
        close(free_fd);
        if (poll->set_fd < 0 || free_fd < poll->set_fd) {
            poll->set_fd = free_fd;
        }
    }
    else if (errno != EMFILE && errno != ENFILE) {
        /* It would try without end. The next run comes here again. */
        poll->reserve.err = errno;
        ev_break(ev, EVBREAK_ONE);
    }
    poll->is_set_guessed = 1;
}

void
lm_poll_init(LmPoll *poll)
{
    memset(poll, 0, sizeof(*poll));
    poll->set_fd = -1;
    lm_list_init(&poll->fired);
    lm_list_init(&poll->changed);
    lm_list_init(&poll->settled);
    lm_wake_init(poll);
    lm_once_set_init(&poll->once);
}

/* The number that the next descriptor will have: that of libev's set, which it does not
   tell. -1 with OSError set where there can be no set. */
static int
next_set(void)
{
    int fd = lm_sys_set_open();
    if (fd < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    close(fd);
    return fd;
}

/* libev's loop, with all that it allocates outside of ev_run but for watches. */
static int
open_libev(LmPoll *poll)
{
    lm_reserve_install();
    if (lm_reserve_cover(&poll->reserve, 0) < 0) {
        return -1;
    }
    LmReserve **here = lm_reserve_enter(&poll->reserve);
    errno = 0;
    poll->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    int err = errno ? errno : ENOMEM;
    if (poll->ev != NULL) {
        ev_timer_init(timer_of(poll), on_deadline, 0., 0.);
        ev_timer_init(patrol_of(poll), on_patrol, 0., 0.);
        ev_timer_start(poll->ev, timer_of(poll));
        ev_timer_start(poll->ev, patrol_of(poll));
        ev_timer_stop(poll->ev, timer_of(poll));
        ev_timer_stop(poll->ev, patrol_of(poll));
        ev_fork_init(renewal_of(poll), on_renewal);
        ev_fork_start(poll->ev, renewal_of(poll));
    }
    lm_reserve_leave(here);
    if (poll->ev == NULL) {
        lm_reserve_release(&poll->reserve);
        lm_oserr_set(err);
        return -1;
    }
    return 0;
}

int
lm_poll_open(LmPoll *poll)
{
    if (poll->ev != NULL) {
        return 0;
    }
    lm_poll_count_forks();
    ev_set_syserr_cb(on_libev_error);
    int set_fd = next_set();
    if (set_fd < 0 || open_libev(poll) < 0) {
        return -1;
    }
    poll->fork_count = lm_poll_fork_count();
    poll->is_main = (uint8_t)lm_sys_is_main_thread();
    ev_set_userdata(poll->ev, poll);
    ev_set_loop_release_cb(poll->ev, release_gil, acquire_gil);
    if (lm_wake_open(poll) < 0 || lm_poll_watch_now(poll, &poll->wake) < 0) {
        lm_poll_close(poll);
        return -1;
    }
    poll->set_fd = set_fd;
    poll->is_set_guessed = 1; /* another thread may have taken the number meanwhile */
    (void)lm_poll_set(poll);
    /* Here and not at the first deadline, so that a running loop opens no descriptor
       behind its user's back. */
    poll->alarm.fd = lm_sys_alarm_open();
    /* Last: what has to be there is there. */
    if (lm_once_set_open(poll) < 0) {
        PyErr_Clear(); /* whoever waits first tries again, and is told */
    }
    return 0;
}

void
lm_poll_close(LmPoll *poll)
{
    if (poll->ev == NULL) {
        return;
    }
    lm_alarm_close(poll);
    lm_wake_close(poll);
    lm_once_set_close(poll);
    ev_timer_stop(poll->ev, timer_of(poll));
    ev_timer_stop(poll->ev, patrol_of(poll));
    ev_fork_stop(poll->ev, renewal_of(poll));
    LmReserve **here = lm_reserve_enter(&poll->reserve);
    ev_loop_destroy(poll->ev);
    lm_reserve_leave(here);
    lm_reserve_release(&poll->reserve);
    poll->ev = NULL;
    poll->set_fd = -1;
    free(poll->watched);
    poll->watched = NULL;
    poll->watched_size = 0;
}

/* In a child: makes another of each of the kernel's objects that are the parent's too.
   libev is about to make its set and to register every descriptor anew. -1 with an
   exception set; then the next poll tries again. */
static int
leave_parent(LmPoll *poll)
{
    /* libev closes its set first, and then tries without end to open another. */
    if (lm_poll_check_numbers(poll) < 0 || next_set() < 0 || lm_wake_open(poll) < 0 ||
        lm_watch_start(poll, &poll->wake) < 0) {
        return -1;
    }
    int was_active = poll->alarm.is_active;
    lm_alarm_close(poll);
    poll->alarm.fd = lm_sys_alarm_open();
    if (was_active && poll->alarm.fd >= 0 && lm_watch_start(poll, &poll->alarm) < 0) {
        return -1;
    }
    lm_once_set_leave_parent(poll);
    poll->fork_count = lm_poll_fork_count();
    if (poll->may_block) {
        /* Who waits does so in the parent: libev, too, is to forget that wait. */
        poll->may_block = 0;
        ev_break(poll->ev, EVBREAK_CANCEL);
    }
    ev_loop_fork(poll->ev);
    return 0;
}

/* Sees to it that the wait ends by the deadline. 1 where that has passed already. */
static int
arm_deadline(LmPoll *poll, int64_t deadline_ns)
{
    ev_timer_stop(poll->ev, timer_of(poll));
    if (deadline_ns == LM_POLL_FOREVER) {
        return 0;
    }
    int64_t left_ns = deadline_ns - lm_clock_ns();
    if (left_ns <= 0) {
        return 1;
    }
    if (left_ns <= 2 * ALARM_REACH_NS && lm_alarm_set(poll, deadline_ns) == 0) {
        return 0;
    }
    if (left_ns > 2 * ALARM_REACH_NS) {
        left_ns -= ALARM_REACH_NS;
    }
    ev_now_update(poll->ev);
    ev_timer_set(timer_of(poll), (double)left_ns / 1e9, 0.);
    ev_timer_start(poll->ev, timer_of(poll));
    return 0;
}

/* Left running while waits are short: it costs a busy loop next to nothing. */
static void
start_patrol(LmPoll *poll)
{
    if (poll->is_main && !poll->is_quiet && !ev_is_active(patrol_of(poll))) {
        ev_now_update(poll->ev);
        ev_timer_set(patrol_of(poll), PATROL_S, 0.);
        ev_timer_start(poll->ev, patrol_of(poll));
    }
}

/* -1 with OSError set. */
static inline int
run_libev(LmPoll *poll, int flags)
{
    LmReserve **here = lm_reserve_enter(&poll->reserve);
    poll->reserve.err = 0;
    if (LM_UNLIKELY(poll->tells_kernel)) {
        errno = 0;
    }
    ev_run(poll->ev, flags);
    poll->tells_kernel = 0;
    lm_reserve_leave(here);
    if (LM_UNLIKELY(poll->reserve.err != 0)) {
        lm_oserr_set(poll->reserve.err);
        return -1;
    }
    return 0;
}

static inline int
is_poll_ready(const LmPoll *poll)
{
    return !lm_poll_is_parents(poll) && poll->wake.is_active;
}

/* Before the kernel is told of anything. -1 with an exception set where nothing could wake
   the poll. */
static LM_APART int
make_poll_ready(LmPoll *poll)
{
    if (lm_poll_check_set(poll) < 0) {
        return -1;
    }
    if (lm_poll_is_parents(poll) && leave_parent(poll) < 0) {
        return -1;
    }
    return poll->wake.is_active ? 0 : lm_watch_start(poll, &poll->wake);
}

/* The kernel refused to watch it, just now. -1 with OSError set. */
static LM_APART int
refuse_unwakeable(LmPoll *poll)
{
    lm_list_remove(&poll->wake.fired);
    lm_oserr_set(poll->wake.error ? poll->wake.error : EBADF);
    return -1;
}

/* There is nothing to tell the kernel of. */
static int
may_wait_loosely(const LmPoll *poll)
{
    return is_poll_ready(poll) && lm_list_is_empty(&poll->changed);
}

/* The kernel's own slack, by which a wait without the alarm ends later than it was to. */
#define KERNEL_SLACK_NS 50000

/* No longer than until the patrol would look. */
#define LONGEST_LOOSE_NS ((int64_t)(PATROL_S * 1e9))

/* One call instead of those that set the alarm, wait for it and quiet it. 1 where the wait
   is over and nothing is ready, 0 where something is, -1 where there was no such wait. */
static int
wait_loosely(LmPoll *poll, int64_t until_ns)
{
    int set = poll->is_set_guessed ? lm_poll_set(poll) : poll->set_fd;
    int64_t left_ns = until_ns - KERNEL_SLACK_NS - lm_clock_ns();
    if (set < 0 || left_ns <= 0 || left_ns > LONGEST_LOOSE_NS) {
        return -1;
    }
    poll->may_block = 1;
    PyThreadState *saved = PyEval_SaveThread();
    int count = lm_sys_set_wait(set, left_ns);
    int err = errno;
    PyEval_RestoreThread(saved);
    poll->may_block = 0;
    return count > 0 ? 0 : count == 0 || err == EINTR ? 1 : -1;
}

int
lm_poll_run(LmPoll *poll, LmDeadline deadline)
{
    int64_t deadline_ns = deadline.at_ns + deadline.slack_ns;
    if (LM_UNLIKELY(deadline.slack_ns > 0) && may_wait_loosely(poll)) {
        int waited = wait_loosely(poll, deadline_ns);
        if (waited == 1) {
            return 0;
        }
        deadline_ns = waited == 0 ? 0 : deadline_ns;
    }
    int was_ready = is_poll_ready(poll);
    if (LM_UNLIKELY(!was_ready) && make_poll_ready(poll) < 0) {
        return -1;
    }
    int may_block = deadline_ns != 0 && !arm_deadline(poll, deadline_ns);
    if (!lm_list_is_empty(&poll->changed)) {
        if (was_ready && lm_poll_check_set(poll) < 0) {
            return -1;
        }
        drop_closed_fds(poll);
    }
    if (may_block) {
        start_patrol(poll);
    }
    poll->is_quiet = 0;
    poll->may_block = may_block;
    int failed = run_libev(poll, may_block ? EVRUN_ONCE : EVRUN_NOWAIT);
    poll->may_block = 0;
    poll->is_quiet &= (uint8_t)lm_list_is_empty(&poll->fired);
    if (LM_UNLIKELY(failed < 0)) {
        return -1;
    }
    return LM_LIKELY(poll->wake.is_active) ? 0 : refuse_unwakeable(poll);
}

/* But for what was refused. */
static void
forget_fired(LmPoll *poll)
{
    LmList *next;
    for (LmList *link = poll->fired.next; link != &poll->fired; link = next) {
        next = link->next;
        if (LM_CONTAINER_OF(link, LmWatch, fired)->error == 0) {
            lm_list_remove(link);
        }
    }
}

/* Tells the kernel of all watches that it does not know yet, without waiting and without
   noting what is ready, which the next poll finds. -1 with OSError set. */
static int
register_changed(LmPoll *poll)
{
    if (make_poll_ready(poll) < 0) {
        return -1;
    }
    drop_closed_fds(poll);
    int failed = run_libev(poll, EVRUN_NOWAIT);
    poll->is_quiet = 0;
    forget_fired(poll);
    return failed;
}

int
lm_poll_watch_now(LmPoll *poll, LmWatch *watch)
{
    LmWatch *sibling = watch->sibling;
    int has_sibling = sibling != NULL && sibling->is_active;
    if (lm_watch_start(poll, watch) < 0) {
        return -1;
    }
    if (lm_poll_is_waited_in(poll)) {
        return 0; /* called by another thread, which has woken the loop: nothing is told now */
    }
    int failed = register_changed(poll);
    if (failed == 0 && watch->is_active && poll->refusal != EPERM) {
        return 0;
    }
    if (failed == 0) {
        /* EPERM is no refusal to libev: it would take the descriptor for always ready. One
           that is stopped without a reason was closed right now. */
        lm_oserr_set(watch->is_active ? EPERM : watch->error ? watch->error : EBADF);
    }
    lm_watch_stop(poll, watch);
    if (has_sibling && sibling->error != 0) {
        /* The kernel goes on with what it had. There is room: it was there before. */
        lm_list_remove(&sibling->fired);
        (void)lm_watch_start(poll, sibling);
    }
    return -1;
}

int
lm_poll_watch_once(LmPoll *poll)
{
    LmWatch *watch = &poll->once.watch;
    if (!lm_poll_has_once(poll) &&
        (lm_poll_check_numbers(poll) < 0 || lm_once_set_open(poll) < 0)) {
        return -1;
    }
    return watch->is_active ? 0 : lm_poll_watch_now(poll, watch);
}
