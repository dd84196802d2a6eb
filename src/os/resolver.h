/* A loop's look-ups of names: futures of what its own threads (name_threads.h) find out. They
   share no executor, so that no other work stands before them.

   Loop's thread only. Which look-ups come here, and how answers are shown, is
   loopmod/resolver.py's. */
#ifndef LM_OS_RESOLVER_H
#define LM_OS_RESOLVER_H

#include "core/loop.h"

#include <netdb.h>

/* Threads, and so look-ups at a time, of a loop that is not told another number; the most
   that it may be told. */
#define LM_LOOKUPS 8
#define LM_MOST_LOOKUPS 1000

/* A future of a list of (family, type, protocol, canonical name, address), or of (code, errno,
   message) where the look-up failed. New reference; None where no thread can be had; NULL
   with an exception set. Names are without NUL, or NULL. */
PyObject *lm_resolver_ask(LmLoop *loop, const char *host, const char *service,
                          const struct addrinfo *hints);

/* Module method, for before a fork: threads that wait for work end, of all loops that are not
   another thread's. */
PyObject *lm_resolver_end_idle(PyObject *module, PyObject *unused);

/* Ends all of it; futures that are not done stay so. Idempotent. */
void lm_resolver_close(LmLoop *loop);

int lm_resolver_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
