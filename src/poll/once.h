/* Interest that ends when it is met: the kernel reports a descriptor once and leaves it
   alone until it is armed again. For descriptors that are waited for again and again,
   each time by someone else: arming again is one cheap system call, and between two waits
   the registration is inert, so that it may stay there and nobody has to take it out.

   The registrations live in a kernel set of their own, which libev watches like any
   descriptor. libev knows nothing of what is in it: a descriptor that was closed, or whose
   number was given out again, cannot make it abort. Whether the kernel still has the
   descriptor is asked anew each time it is armed.

   Loop's thread only; runs no Python. */
#ifndef LM_POLL_ONCE_H
#define LM_POLL_ONCE_H

#include "poll/watch.h"

typedef struct LmOnce {
    LmList place; /* in LmOnceSet.armed while something is wanted */
    /* Called in the poll's dispatch with the directions that are ready, of those that were
       wanted; they are wanted no more. */
    void (*on_ready)(struct LmOnce *once, int directions);
    int fd;
    uint32_t generation; /* of the registration, to know one that another file left */
    unsigned set_number; /* of the set it is registered in, 0 for none */
    uint8_t wanted;      /* LM_WATCH_READ | LM_WATCH_WRITE */
} LmOnce;

/* Part of LmPoll. */
typedef struct LmOnceSet {
    LmWatch watch; /* of the set itself; its fd is -1 while there is none */
    LmList armed;
    LmOnce **by_fd; /* those that were armed ever, by descriptor */
    int size;
    unsigned number;     /* of the present set; a new one begins empty */
    unsigned fork_count; /* lm_poll_fork_count when it was made */
    uint32_t generations;
} LmOnceSet;

void lm_once_init(LmOnce *once, int fd, void (*on_ready)(LmOnce *once, int directions));

/* For lm_poll_arm, which sees to it that the set is watched. */
int lm_once_arm(struct LmPoll *poll, LmOnce *once, int direction);

/* Wants the direction no more; the kernel is told. Idempotent. */
void lm_once_disarm(struct LmPoll *poll, LmOnce *once, int direction);

/* Takes the descriptor out of the set unless something is wanted of it. */
void lm_once_forget(struct LmPoll *poll, LmOnce *once);

/* Nothing is wanted, and the descriptor is about to be closed: the kernel forgets by
   itself, and the next of that number is new to it. */
static inline void
lm_once_leave(LmOnce *once)
{
    LM_ASSERT(once->wanted == 0);
    once->set_number = 0;
}

/* Before it is freed. */
void lm_once_end(struct LmPoll *poll, LmOnce *once);

void lm_once_set_init(LmOnceSet *set);

/* Makes the kernel's set, with what an earlier one had to report. -1 with OSError set. */
int lm_once_set_open(struct LmPoll *poll);

/* In a child, where the set is the parent's too: makes another where it is needed. */
void lm_once_set_leave_parent(struct LmPoll *poll);

void lm_once_set_close(struct LmPoll *poll);

#endif
