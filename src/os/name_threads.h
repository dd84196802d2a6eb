/* Threads that ask the system for addresses, which it answers by blocking: a few per loop, made
   when they are needed.

   They know no Python and hold nothing of it: so they need no GIL, are unknown to the
   interpreter, and nobody has to wait for one that the system keeps waiting. Such a one
   ends by itself; an idle one ends after a while, with the loop, and before a fork.

   The functions are for the loop's thread (or who owns the loop); they run no Python. */
#ifndef LM_OS_NAME_THREADS_H
#define LM_OS_NAME_THREADS_H

#include "base/list.h"
#include "base/lm.h"

#include <netdb.h>

/* A question, by malloc(). Its owner has it before lm_name_threads_ask and after
   lm_name_threads_take; in between it is the threads'. */
typedef struct {
    LmList link;  /* of the threads' lists, then of the owner's */
    LmList asked; /* the owner's: always */
    void *tag;    /* the owner's */
    struct addrinfo hints;
    struct addrinfo *found; /* the answer, or NULL */
    int failure;            /* what getaddrinfo() returned */
    int err;                /* and errno, for EAI_SYSTEM */
    const char *host;       /* in `names`, or NULL */
    const char *service;
    char names[];
} LmLookup;

/* NULL where memory is out. */
LmLookup *lm_lookup_new(const char *host, const char *service,
                        const struct addrinfo *hints);
void lm_lookup_free(LmLookup *lookup);

typedef struct LmNameThreads LmNameThreads;

/* Who writes 8 bytes to `wake_fd` when there is an answer to be taken. NULL where memory is
   out. At most `most` threads. */
LmNameThreads *lm_name_threads_new(int wake_fd, unsigned most);

/* 0, or -1 where there is no thread and none can be made: then nothing was asked. */
int lm_name_threads_ask(LmNameThreads *threads, LmLookup *lookup);

/* Moves the lookups that are answered to the end of the list. */
void lm_name_threads_take(LmNameThreads *threads, LmList *answered);

/* Ends those that have nothing to do, and waits for that. */
void lm_name_threads_end_idle(LmNameThreads *threads);

/* From here on nobody writes to the descriptor. What is asked and not answered is freed when
   it is; idle threads have ended. */
void lm_name_threads_close(LmNameThreads *threads);

#endif
