/* The socket calls behind the operations of sockops.h. */
#ifndef LM_NET_SOCK_CALLS_H
#define LM_NET_SOCK_CALLS_H

#include "net/sockops.h"

int lm_sock_calls_init(LmState *st);

/* Tries the operation's call. 1 with a new reference in *result; 0 where it would block;
   -1 with an exception set. May run Python, where the socket is not a plain one. */
int lm_sock_try(LmSockOp *op, PyObject **result);

#endif
