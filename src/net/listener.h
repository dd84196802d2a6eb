/* Listener: accepts the connections of one listening socket and makes a transport of
   each. */
#ifndef LM_NET_LISTENER_H
#define LM_NET_LISTENER_H

#include "core/loop.h"

int lm_listener_init(PyObject *module, LmState *st);

/* Watches a listening socket (Python object, kept) until close(). At most `backlog`
   connections are taken per wake-up. `server` may be NULL. New reference, or NULL with
   an exception set. */
PyObject *lm_listener_new(LmLoop *loop, PyObject *factory, PyObject *sock,
                          PyObject *server, int backlog);

#endif
