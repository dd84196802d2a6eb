/* The wait: see poll.h. Relies on libev and on base/sys.h for the alarm; runs no
   Python. */
#include "poll/poll.h"

#include "base/clock.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "poll/evh.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

_Static_assert(sizeof(ev_timer) <= LM_EV_TIMER_SIZE, "LM_EV_TIMER_SIZE is too small");
_Static_assert(sizeof(ev_async) <= LM_EV_ASYNC_SIZE, "LM_EV_ASYNC_SIZE is too small");

/* Nearer deadlines are kept by the alarm, farther ones by libev's millisecond timer,
   which costs no system call and hands over to the alarm this much before the moment. */
#define ALARM_REACH_NS (50 * 1000000LL)

/* How long a signal may go unnoticed that came on the way into a wait. */
#define PATROL_S 0.01

/* Counts the forks this process came out of: the child must not share the kernel's set
   with its parent. */
static unsigned fork_count;
static pthread_once_t fork_hook_once = PTHREAD_ONCE_INIT;

/* What libev could not do in this thread's poll. Its own answer would be to abort the
   process. */
static _Thread_local int poll_errno;

static void
count_fork(void)
{
    fork_count++;
}

static void
install_fork_hook(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned
lm_poll_fork_count(void)
{
    return fork_count;
}

static void
on_libev_error(const char *message LM_UNUSED)
{
    poll_errno = errno ? errno : EIO;
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

static ev_async *
async_of(LmPoll *poll)
{
    return (ev_async *)poll->async.bytes;
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

static void
on_wake(struct ev_loop *ev LM_UNUSED, ev_async *async LM_UNUSED, int revents LM_UNUSED)
{
}

static void
on_alarm(LmWatch *watch)
{
    LmPoll *poll = LM_CONTAINER_OF(watch, LmPoll, alarm);
    uint64_t expirations;
    /* Reading quiets the descriptor; nothing is lost where it was set anew in between. */
    if (read(watch->fd, &expirations, sizeof(expirations)) > 0) {
        poll->alarm_at_ns = 0;
    }
}

static void
release_gil(struct ev_loop *ev) EV_NOEXCEPT
{
    LmPoll *poll = ev_userdata(ev);
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

/* libev tries without end to open its wake-up descriptor: whether there are two left is
   found out before. */
static int
check_two_left(void)
{
    int first = lm_sys_alarm_open();
    int second = first >= 0 ? lm_sys_alarm_open() : -1;
    int err = second < 0 ? errno : 0;
    if (first >= 0) {
        close(first);
    }
    if (second >= 0) {
        close(second);
    }
    return err;
}

void
lm_poll_init(LmPoll *poll)
{
    memset(poll, 0, sizeof(*poll));
    poll->set_fd = -1;
    lm_list_init(&poll->fired);
    lm_list_init(&poll->changed);
    lm_list_init(&poll->settled);
    lm_watch_init(&poll->alarm, -1, LM_WATCH_READ, on_alarm);
    lm_once_set_init(&poll->once);
}

int
lm_poll_open(LmPoll *poll)
{
    if (poll->ev != NULL) {
        return 0;
    }
    pthread_once(&fork_hook_once, install_fork_hook);
    ev_set_syserr_cb(on_libev_error);
    /* libev does not tell its kernel set; it is the descriptor that is free now. */
    int expected = lm_sys_alarm_open();
    if (expected >= 0) {
        close(expected);
    }
    errno = 0;
    poll->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    int err = poll->ev == NULL ? (errno ? errno : ENOMEM) : check_two_left();
    if (err != 0) {
        if (poll->ev != NULL) {
            ev_loop_destroy(poll->ev);
            poll->ev = NULL;
        }
        lm_oserr_set(err);
        return -1;
    }
    poll->set_fd = expected >= 0 && lm_sys_is_set(expected) ? expected : -1;
    /* Here and not at the first deadline, so that a running loop opens no descriptor
       behind its user's back. */
    poll->alarm.fd = lm_sys_alarm_open();
    poll->fork_count = fork_count;
    ev_set_userdata(poll->ev, poll);
    ev_set_loop_release_cb(poll->ev, release_gil, acquire_gil);
    ev_timer_init(timer_of(poll), on_deadline, 0., 0.);
    ev_timer_init(patrol_of(poll), on_patrol, 0., 0.);
    poll->is_main = (uint8_t)lm_sys_is_main_thread();
    /* Always active: ev_run returns at once from a loop that watches nothing. */
    ev_async_init(async_of(poll), on_wake);
    ev_async_start(poll->ev, async_of(poll));
    /* Last: libev would not do without what it opens. */
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
    lm_watch_stop(poll, &poll->alarm);
    if (poll->alarm.fd >= 0) {
        close(poll->alarm.fd);
        poll->alarm.fd = -1;
    }
    poll->alarm_at_ns = 0;
    lm_once_set_close(poll);
    ev_timer_stop(poll->ev, timer_of(poll));
    ev_timer_stop(poll->ev, patrol_of(poll));
    ev_async_stop(poll->ev, async_of(poll));
    ev_loop_destroy(poll->ev);
    poll->ev = NULL;
    poll->set_fd = -1;
    free(poll->watched);
    poll->watched = NULL;
    poll->watched_size = 0;
}

/* Distribution builds of libev abort on a descriptor that is not open. A program may
   close one at any time, so each that libev would tell the kernel of is looked at once
   more. */
static void
drop_closed_fds(LmPoll *poll)
{
    while (!lm_list_is_empty(&poll->changed)) {
        LmWatch *watch = LM_CONTAINER_OF(poll->changed.next, LmWatch, place);
        lm_list_remove(&watch->place);
        if (fcntl(watch->fd, F_GETFD) >= 0) {
            lm_list_push_back(&poll->settled, &watch->place);
            continue;
        }
        lm_watch_stop(poll, watch);
        if (watch->sibling != NULL) {
            lm_watch_stop(poll, watch->sibling);
        }
    }
}

/* In a child: the kernel's set and the alarm are the parent's too, and libev is about to
   register every descriptor anew. -1 with OSError set. */
static int
leave_parent(LmPoll *poll)
{
    int err = check_two_left();
    if (err != 0) {
        lm_oserr_set(err);
        return -1;
    }
    int was_active = poll->alarm.is_active;
    poll->fork_count = fork_count;
    poll->set_fd = -1; /* libev is about to make another */
    lm_watch_stop(poll, &poll->alarm);
    if (poll->alarm.fd >= 0) {
        close(poll->alarm.fd);
    }
    poll->alarm.fd = lm_sys_alarm_open();
    poll->alarm_at_ns = 0;
    if (was_active && poll->alarm.fd >= 0) {
        lm_watch_start(poll, &poll->alarm);
    }
    lm_once_set_leave_parent(poll);
    while (!lm_list_is_empty(&poll->settled)) {
        LmList *place = poll->settled.next;
        lm_list_remove(place);
        lm_list_push_back(&poll->changed, place);
    }
    drop_closed_fds(poll);
    ev_loop_fork(poll->ev);
    return 0;
}

/* 0 where the alarm is set to the moment; -1 where the system gives none, which costs
   only precision. */
static int
set_alarm(LmPoll *poll, int64_t deadline_ns)
{
    if (poll->alarm.fd < 0) {
        return -1;
    }
    if (!poll->alarm.is_active) {
        lm_watch_start(poll, &poll->alarm);
    }
    if (poll->alarm_at_ns != deadline_ns) {
        if (lm_sys_alarm_set(poll->alarm.fd, deadline_ns) < 0) {
            return -1;
        }
        poll->alarm_at_ns = deadline_ns;
    }
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
    if (left_ns <= 2 * ALARM_REACH_NS && set_alarm(poll, deadline_ns) == 0) {
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

int
lm_poll_run(LmPoll *poll, int64_t deadline_ns)
{
    if (LM_UNLIKELY(poll->fork_count != fork_count) && leave_parent(poll) < 0) {
        return -1;
    }
    int may_block = deadline_ns != 0 && !arm_deadline(poll, deadline_ns);
    drop_closed_fds(poll);
    if (may_block) {
        start_patrol(poll);
    }
    poll->is_quiet = 0;
    poll_errno = 0;
    poll->may_block = may_block;
    ev_run(poll->ev, may_block ? EVRUN_ONCE : EVRUN_NOWAIT);
    poll->may_block = 0;
    poll->is_quiet &= (uint8_t)lm_list_is_empty(&poll->fired);
    if (LM_UNLIKELY(poll_errno != 0)) {
        lm_oserr_set(poll_errno);
        return -1;
    }
    return 0;
}

void
lm_poll_wake(LmPoll *poll)
{
    if (poll->ev != NULL) {
        ev_async_send(poll->ev, async_of(poll));
    }
}
