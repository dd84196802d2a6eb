/* ServerCore: the C part of Server, which knows the open connections that the server
   accepted. */
#ifndef LM_NET_SERVER_H
#define LM_NET_SERVER_H

#include "base/list.h"
#include "base/state.h"

int lm_server_init(PyObject *module, LmState *st);

/* A transport of the server's; `link` stands in the transport, which is borrowed.
   `server` may be any object with asyncio's _attach and _detach. -1 with an exception
   set. A server belongs to one loop, whose thread attaches and detaches; but where another
   thread lets go of the last reference to a transport, it may be that one. */
int lm_server_attach(LmState *st, PyObject *server, PyObject *transport, LmList *link);

/* The transport is closed or dying. Wakes wait_closed() after the last one. Runs
   Python; -1 with an exception. */
int lm_server_detach(LmState *st, PyObject *server, PyObject *transport, LmList *link);

/* Of a dead transport, which the list may still have. Runs no Python. */
void lm_server_forget(PyObject *server, LmList *link);

#endif
