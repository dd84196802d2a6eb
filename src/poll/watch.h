/* A watch: interest in one descriptor and one direction. The only thing that wraps
   libev's ev_io.

   Its owner embeds it, and stops it before it frees it or closes the descriptor. When
   the descriptor is ready, libev's callback links the watch into the poll's fired list
   and does nothing else; `on_ready` runs after ev_run has returned and only pushes
   ready items. A watch is level-triggered: it fires in every poll while it is active
   and its descriptor is ready.

   The kernel is told of a watch in the next poll (lm_watch_start) or at once
   (lm_poll_watch_now), and may refuse it: it is out of memory, or the user has as many as
   he may. A watch refused in a poll, and its sibling, is not active any more, has the
   reason in `error` and fires once; its owner takes that for the OSError that asyncio
   raises where it registers. Owners look at `is_active` first, so that it costs nothing.

   May set exceptions where said; runs no Python. */
#ifndef LM_POLL_WATCH_H
#define LM_POLL_WATCH_H

#include "base/list.h"
#include "base/lm.h"

enum { LM_WATCH_READ = 1, LM_WATCH_WRITE = 2 };

/* Room for an ev_io; watch.c asserts that it is enough. */
#define LM_EV_IO_SIZE 48

struct LmPoll;

typedef struct LmWatch {
    union {
        void *align;
        char bytes[LM_EV_IO_SIZE];
    } ev;
    LmList fired; /* in LmPoll.fired between libev's callback and on_ready */
    LmList place; /* in LmPoll.changed until a poll has checked it, then in settled */
    void (*on_ready)(struct LmWatch *watch);
    struct LmWatch *sibling; /* the other direction on the same descriptor, or NULL */
    const int *own_fd;       /* where its owner keeps the number, or NULL */
    int fd;
    uint8_t direction;
    uint8_t is_active;
    uint8_t is_users;   /* the user's descriptor, who may close it or a copy of it */
    uint8_t is_counted; /* in LmPoll.watched */
    uint8_t error;      /* errno, where the kernel refused it; else 0 */
} LmWatch;

void lm_watch_init(LmWatch *watch, int fd, int direction,
                   void (*on_ready)(LmWatch *watch));

/* Both of one descriptor: each then knows the other. */
static inline void
lm_watch_pair(LmWatch *reader, LmWatch *writer)
{
    reader->sibling = writer;
    writer->sibling = reader;
}

/* Starting an active watch anew is allowed and makes the kernel look at the descriptor
   again: the way to serve a descriptor number that was closed behind our back and given
   out again. -1 with MemoryError set. */
int lm_watch_start(struct LmPoll *poll, LmWatch *watch);

/* Sets the OSError of a watch that was refused, and forgets about it. Returns NULL. */
PyObject *lm_watch_set_error(LmWatch *watch);

/* Idempotent. In a child it leaves the kernel's set, which is the parent's too, as it is. */
void lm_watch_stop(struct LmPoll *poll, LmWatch *watch);

/* Whether the descriptor that the kernel was told of was closed since: whoever has its
   number now is not watched. */
int lm_watch_is_lost(struct LmPoll *poll, const LmWatch *watch);

/* 0 where the kernel could watch the descriptor; else -1 with asyncio's OSError set:
   EBADF for a closed one, EPERM (PermissionError) for a regular file or directory, EINVAL
   or ELOOP for a kernel's set that would watch itself. The poll may be closed. */
int lm_watch_check_fd(struct LmPoll *poll, int fd);

#endif
