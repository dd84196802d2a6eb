/* One libev loop: wait until a descriptor is ready, a deadline is near, or another
   thread calls.

   libev is used for ev_io (watch.h), two ev_timers (far deadlines and the patrol) and an
   ev_fork, which it calls whenever it is about to make its kernel set anew. Near
   deadlines are kept by an alarm descriptor, which is finer than epoll's millisecond; the
   wake-up is a descriptor of ours too, so that it is known whether the kernel watches it.
   Without an alarm (no timerfd, or the kernel does not watch it) only precision is lost; a
   poll that cannot be woken is not opened and not run.

   A signal that comes between its last check and the kernel's wait does not end the
   wait. So in the process's main thread the first wait after any activity ends after a
   few milliseconds, the patrol, and only the next one is as long as it may be: a signal
   that an activity brought about is noticed then.

   After a fork the kernel's objects (its set, the alarm, the wake-up, the one-shot set) are
   the parent's too: a child touches none of them, and makes its own in its next poll.

   Everything but lm_poll_wake belongs to the loop's thread. Runs no Python; the GIL is let
   go only around a wait that may block. */
#ifndef LM_POLL_POLL_H
#define LM_POLL_POLL_H

#include "poll/once.h"
#include "poll/reserve.h"

struct ev_loop;

#define LM_EV_TIMER_SIZE 48
#define LM_EV_FORK_SIZE 40
#define LM_POLL_FOREVER INT64_MAX

/* When a wait is to end, in nanoseconds of CLOCK_MONOTONIC (0: at once; LM_POLL_FOREVER),
   and how much later it may where that saves calls. */
typedef struct {
    int64_t at_ns;
    int64_t slack_ns;
} LmDeadline;

typedef struct LmPoll {
    struct ev_loop *ev; /* NULL until lm_poll_open and after lm_poll_close */
    LmList fired;       /* watches whose descriptors are ready, in the kernel's order */
    LmList changed;     /* watches started since the last poll, by `place`: their
                       descriptors may be closed by now */
    LmList settled;     /* the other active watches */
    union {
        void *align;
        char bytes[LM_EV_TIMER_SIZE];
    } timer, patrol;
    union {
        void *align;
        char bytes[LM_EV_FORK_SIZE];
    } renewal;      /* libev is about to make its kernel set anew */
    LmWatch wake;   /* always active: ev_run would not wait without a watch */
    int wake_fd;    /* to write to; that of the watch, or the other end of its pipe */
    dev_t wake_dev; /* what its file was when it was opened */
    ino_t wake_ino;
    LmWatch alarm; /* from the first near deadline on; its fd is -1 where there is none,
                      or the kernel refused to watch it */
    LmReserve reserve;
    LmOnceSet once;    /* what is waited for once at a time */
    uint16_t *watched; /* by number: how many watches are active; may be too short */
    int watched_size;
    int64_t alarm_at_ns;  /* the moment it is set to, or 0 */
    PyThreadState *saved; /* while the GIL is let go */
    int may_block;        /* a thread is in a wait that lets the GIL go */
    int refusal;          /* errno after the kernel was told of changes */
    uint8_t is_woken;     /* written to wake_fd, not read yet */
    uint8_t tells_kernel; /* of watches, in this run: some may be refused */
    uint8_t is_main;  /* opened in the main thread, which signals end the waits of */
    uint8_t is_quiet; /* the last wait ended by the patrol alone */
    uint8_t is_set_guessed; /* set_fd was not looked at since libev made its set */
    int set_fd;             /* libev's kernel set, or -1: lm_poll_set */
    unsigned fork_count;    /* lm_poll_fork_count when the kernel's set was made */
} LmPoll;

/* An unopened poll: all other calls but close need lm_poll_open before. */
void lm_poll_init(LmPoll *poll);

/* 0, or -1 with OSError set. Opening an open poll does nothing. */
int lm_poll_open(LmPoll *poll);

/* Every watch is stopped before. Idempotent. */
void lm_poll_close(LmPoll *poll);

/* Polls once, and waits until the deadline for something to poll. What fired is only noted.
   May return early. -1 with OSError set. */
int lm_poll_run(LmPoll *poll, LmDeadline deadline);

/* Calls on_ready of every watch that fired, in the kernel's order. */
static inline void
lm_poll_dispatch(LmPoll *poll)
{
    while (!lm_list_is_empty(&poll->fired)) {
        LmWatch *watch = LM_CONTAINER_OF(poll->fired.next, LmWatch, fired);
        lm_list_remove(&watch->fired);
        watch->on_ready(watch);
    }
}

/* How many forks this process came out of, from the first call on: what was made before the
   last is a parent's too. */
void lm_poll_count_forks(void);
extern unsigned lm_fork_count;

static inline unsigned
lm_poll_fork_count(void)
{
    return lm_fork_count;
}

/* Whether the kernel's objects are the parent's, who goes on with them. */
static inline int
lm_poll_is_parents(const LmPoll *poll)
{
    return poll->fork_count != lm_poll_fork_count();
}

/* A thread waits in it without the GIL, or is about to go on after its wait: no other may poll
   it, or close it. In a child that thread is gone. */
static inline int
lm_poll_is_waited_in(const LmPoll *poll)
{
    return poll->may_block && !lm_poll_is_parents(poll);
}

/* Whether there is a set of one-shot registrations, and it is no parent's. */
static inline int
lm_poll_has_once(const LmPoll *poll)
{
    return poll->once.watch.fd >= 0 && poll->once.fork_count == lm_poll_fork_count();
}

/* Before the parent's descriptors are closed, in a child: whether the numbers are still
   theirs. Who makes a daemon closes all that it inherited, and they may be strangers'; then
   there is no poll, as with asyncio: -1 with OSError set. */
int lm_poll_check_numbers(const LmPoll *poll);

/* Ends the wait of the loop's thread, now or the next. The one call that any thread may
   make, with the GIL. */
void lm_poll_wake(LmPoll *poll);

/* lm_watch_start for cold paths: the kernel is told before it returns. -1 with OSError set
   where it refuses; then the watch is stopped, and its sibling is as it was. */
int lm_poll_watch_now(LmPoll *poll, LmWatch *watch);

/* Sees to it that there is a set of one-shot registrations, and that it is watched. -1 with
   OSError set. */
int lm_poll_watch_once(LmPoll *poll);

/* Reports the direction once it is ready, which may be now: seen in the next poll. -1 with
   OSError set, as asyncio's (EBADF, EPERM), or MemoryError. */
static inline int
lm_poll_arm(LmPoll *poll, LmOnce *once, int direction)
{
    int is_watched = lm_poll_has_once(poll) && poll->once.watch.is_active;
    if (LM_UNLIKELY(!is_watched) && lm_poll_watch_once(poll) < 0) {
        return -1;
    }
    return lm_once_arm(poll, once, direction);
}

/* Whether libev's set is where it was. The program may have closed it (a daemon closes
   every descriptor): the distribution's builds of libev abort when they tell it of a
   change, and would close the stranger that has its number in a child. -1 with OSError
   set, as in asyncio. */
int lm_poll_check_set(LmPoll *poll);

/* errno where libev would abort, else 0: over a descriptor that is not open, over its own
   set and over one that its own is in. EBADF, too, for a number with another owner. */
int lm_poll_fatal_refusal(LmPoll *poll, const LmWatch *watch);

/* For watch.c, within libev: the errno of a descriptor that the kernel refused. */
int lm_poll_refusal(LmPoll *poll, int fd);

/* libev's kernel set, or -1 where it is not known or the parent's. libev does not tell: it
   is the number that was free when libev made it, if our wake-up is in it. */
int lm_poll_set(LmPoll *poll);

#endif
