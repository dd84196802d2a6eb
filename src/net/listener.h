/* Listener: accepts the connections of one listening socket and makes a transport of
   each. */
#ifndef LM_NET_LISTENER_H
#define LM_NET_LISTENER_H

#include "core/loop.h"

int lm_listener_init(PyObject *module, LmState *st);

/* Watches a listening socket (Python object, kept) until close(). At most `backlog`
   connections are taken per wake-up. `server` may be
   NULL. Each connection runs in a copy of `context` where there is one (3.15+); NULL
   registers its callbacks as asyncio did before. New reference, or NULL with
   an exception set. */
PyObject *lm_listener_new(LmLoop *loop, PyObject *factory, PyObject *sock,
                          PyObject *server, int backlog, PyObject *context);

#endif
