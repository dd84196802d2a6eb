/* A stream's calls by the methods of its Python socket, as asyncio makes them: where the
   number is no longer the socket's, which the method then says by its exception, and of
   objects that have methods of their own.

   All run Python, which may end the transport or change its queue: the caller looks
   again. -1 with an exception set; 0 of a send, and LM_WOULD_BLOCK of a receive, where the
   socket is not ready. */
#ifndef LM_NET_SOCK_WAY_H
#define LM_NET_SOCK_WAY_H

#include "net/transport.h"

#include <sys/uio.h>

enum { LM_WOULD_BLOCK = -2 };

/* Clears the exception that is set, where it says that the socket is not ready. */
int lm_sock_way_would_block(void);

/* What recv() gave: a new reference, or NULL with `*outcome` -1 or LM_WOULD_BLOCK. */
PyObject *lm_sock_way_recv(LmTransport *t, int *outcome);
Py_ssize_t lm_sock_way_recv_into(LmTransport *t, PyObject *buffer);

/* Copies of the pieces, which are the queue's or were written right now. */
Py_ssize_t lm_sock_way_send(LmTransport *t, const struct iovec *vectors, int count,
                            int is_queued);
int lm_sock_way_shut_down(LmTransport *t);

#endif
