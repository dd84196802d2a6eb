/* The loop's struct and the engine's contract.

   Life of a loop, with the function that performs each step:

       new --lm_loop_init--> IDLE --lm_run_forever--> RUNNING --stop, exception--> IDLE
                              |
                              +--lm_loop_close--> CLOSED   (never from RUNNING)

   IDLE:    thread_id is 0; anything may be scheduled; whoever needs the poll opens it.
   RUNNING: thread_id is the running thread's; turns of core/run.c follow each other.
   CLOSED:  ring, heap and poll are empty for good; scheduling raises RuntimeError.

   A nested run is RUNNING within RUNNING: plain recursion. Fields are touched with the
   GIL held, by the loop's thread; others only add to the ready queue (core/ready.h).
   Upper rooms keep their own structs behind pointers here; each gives its own traverse
   and release to face/loop_type.c. */
#ifndef LM_CORE_LOOP_H
#define LM_CORE_LOOP_H

#include "base/heap.h"
#include "base/life.h"
#include "base/ring.h"
#include "base/threads.h"
#include "core/spares.h"
#include "poll/poll.h"

/* Until the end of what a room may put off work that comes up in a step. */
enum { LM_POSTPONE_NONE, LM_POSTPONE_STEP, LM_POSTPONE_TURN };

typedef struct LmLoop {
    PyObject_HEAD
    LmState *st;
    LmRing ready;
    LmHeap timers;
    uint64_t timer_seq;
    double timer_slack;        /* seconds: core/timers.c */
    unsigned crowded_waits;    /* in a row, for timers that come thick */
    uint64_t timers_late_from; /* timers before this are tracked: core/handle.h */
    LmPoll poll;
    int64_t polled_at_ns;    /* end of the last poll */
    unsigned turns_unpolled; /* turns since then */
    unsigned next_look;      /* how many of them until the clock is asked again */
    unsigned long thread_id; /* 0 while not running */
#if LM_FREE_THREADED
    uintptr_t home;     /* core/owner.h: the thread whose it is, or 0 */
    uint64_t made_by;   /* which thread that was; no other ever has the number */
    uint8_t had_guests; /* others have used it, or made tasks for it */
    uint8_t is_runners; /* it is that thread's for a run */
    LmMutex inbox_lock; /* core/inbox.h: guards the next four */
    uint8_t is_inbox_closed;
    uint8_t is_warned; /* of a patch: lm_inbox_warn */
    size_t
        inbox_count; /* and this is read without it: not 0 where there is any of it */
    uint64_t first_name, last_name; /* numbers of default task names it may give */
    LmRing inbox;
    LmRing drained; /* the owner's: empty but where memory was out */
#endif

    /* The turn of other threads: core/switch.h. */
    PyInterpreterState *interp; /* that the loop runs in */
    PyThreadState *lone_thread; /* its only one, or NULL (compared, never followed) */
    int64_t switched_at_ns;     /* when the interpreter last did what was due */
    int64_t switch_every_ns;
    unsigned items_run;
    unsigned switch_mask;
    uint8_t switch_by_ticks; /* they are near enough to each other for the interval */

    unsigned nesting; /* runs of this loop within its running one */
    uint8_t is_closed;
    uint8_t is_asleep; /* waits in its poll without the GIL: whoever adds work has to
                          wake it */
    uint8_t is_stopping;
    uint8_t is_debug;
    uint8_t is_first_turn; /* of this run: it polls whatever is ready */
    uint8_t has_done_io; /* since the last poll: one of our descriptors may be ready */
    uint8_t postpones;   /* to when work may be put off: LM_POSTPONE_* */
    uint8_t postpones_now; /* and in a step of this loop, else LM_POSTPONE_NONE */
    uint8_t is_plain; /* scheduling methods are the C ones: tasks may go past them */
    uint8_t has_own_time;    /* time() is overridden, on the class or on the instance */
    uint8_t has_own_turn;    /* the same of _run_once() */
    uint8_t has_own_select;  /* the selector, or its select(), was replaced */
    uint8_t has_own_running; /* is_running() is overridden */
    uint8_t has_own_methods; /* others, of those that asyncio's methods call */
    uint8_t is_patched;      /* LM_PLAIN, ...: core/patched.h */
    uint8_t is_slow;        /* is_debug or is_patched: items are run with more around */
    PyObject *task_factory; /* NULL for the default */

    LmList among;           /* the loops of the interpreter: LmShared.loops */
    PyObject *shown_handle; /* asyncio's own turn: what it runs, or NULL */
    PyObject *current_item; /* debug mode: what is being run (borrowed), else NULL */

    /* The native task that CPython's current-task slot names (borrowed), and what
       empties the slot. */
    PyObject *current_task;
    PyObject *stepping; /* whose coroutine runs now, a native task; borrowed, or NULL */
    void (*leave_task)(struct LmLoop *loop);

    /* What was put off, in a loop that was asked to (net/join.h), and until when at most (0:
       the end of the step). */
    LmRing postponed;
    int64_t postponed_until_ns;

    LmSpares spares;
    LmList kept;   /* what the loop keeps alive because it watches it: net/kept.h */
    char *scratch; /* lm_loop_scratch(), or NULL until it was asked for */
    struct LmMail *mail; /* where datagrams arrive: net/mail.h; NULL before the first */
    struct LmReaders *readers;
    struct LmSignals *signals;
    struct LmResolver *resolver; /* os/resolver.h; NULL before the first look-up */
    unsigned most_lookups;       /* at a time, each in a thread */
    struct LmTlsEngine *tls;     /* what TLS connections share: tls/engine.h */
} LmLoop;

/* Fields of a zeroed object. Cannot fail: what can is done where it is first needed. */
void lm_loop_init(LmLoop *loop, LmState *st);

/* Its end begins: nobody finds it among the interpreter's loops any more. */
void lm_loop_leave_others(LmLoop *loop);

/* Empties ring and heap and closes the poll. The loop does not run. */
void lm_loop_close(LmLoop *loop);
void lm_loop_clear(LmLoop *loop);
int lm_loop_traverse(LmLoop *loop, visitproc visit, void *arg);

/* Runs all that was put off, or the next of it. May run Python; -1 with an exception
   that has to leave the loop, and then some may be left. */
int lm_loop_run_postponed(LmLoop *loop);
int lm_loop_run_next_postponed(LmLoop *loop);

/* Looks anew at which scheduling methods are overridden; -1 with an exception set. */
int lm_loop_note_overrides(LmLoop *loop);

/* Sets the RuntimeError of a closed loop: -1. */
int lm_loop_refuse_closed(void);

/* 0, or -1 with RuntimeError set where the loop is closed. */
static inline int
lm_loop_check_closed(const LmLoop *loop)
{
    return LM_LIKELY(!LM_LOAD(loop->is_closed)) ? 0 : lm_loop_refuse_closed();
}

/* 1 where another thread runs the loop; and for debug mode, -1 with RuntimeError set then. */
int lm_loop_runs_elsewhere(const LmLoop *loop);
int lm_loop_check_thread(LmLoop *loop);

/* The poll, opened. NULL with an exception set. */
LmPoll *lm_loop_poll(LmLoop *loop);

/* Room to receive into, shared by all of the loop: what is in it is taken out before
   anything else runs. NULL with MemoryError set. */
#define LM_SCRATCH_SIZE (256 * 1024)
char *lm_loop_scratch(LmLoop *loop);

/* 1 where `loop` is one of ours, of whatever class: nearly always the public one, and the C
   type comes late in that one's order. */
static inline int
lm_loop_is_ours(LmState *st, PyObject *loop)
{
    return LM_LIKELY((PyObject *)Py_TYPE(loop) == st->patch_plain_class) ||
           PyObject_TypeCheck(loop, lm_type(st->LoopType));
}

/* The native loop behind `loop` where tasks and futures may schedule past its methods,
   else NULL. */
LmLoop *lm_loop_native(LmState *st, PyObject *loop);

/* Before any code that is not a native task's step: CPython's current-task slot is
   emptied. While one is being stepped it is the current task, and stays it. */
static inline void
lm_loop_leave_task(LmLoop *loop)
{
    if (loop->current_task != NULL && loop->stepping == NULL) {
        loop->leave_task(loop);
    }
}

#endif
