/* What a poll runs on: the version and kind of libev, its backend, and which of the
   system's means it has got. For people who ask; nothing here is on any path. Runs no
   Python. */
#ifndef LM_POLL_FACTS_H
#define LM_POLL_FACTS_H

#include "poll/poll.h"

typedef struct {
    int libev_major; /* of the library that runs, not of its header */
    int libev_minor;
    int is_embedded; /* libev is compiled into the module */
    const char *backend;
    int has_alarm;   /* near deadlines are kept by a timerfd */
    int has_once;    /* sock_* wait in the one-shot set */
    int has_eventfd; /* other threads wake the loop by an eventfd, not by a pipe */
    int knows_set; /* libev's kernel set was found, so that closed descriptors leave it */
} LmPollFacts;

/* Of an open poll. */
void lm_poll_facts(LmPoll *poll, LmPollFacts *facts);

#endif
