/* Joined writes: what one callback or task step writes to a stream goes out in one send when
   it returns. For loops made with join_writes=True; a server that writes head and body apart
   saves a system call for each answer.

   One transport at a time holds joined writes, LmLoop.joined: the next one that is written
   to sends the former's first, so that bytes leave in the order of the calls. They stand in
   the transport's own queue, without a watch, and never exceed its high-water mark. What
   asks for the state of the transport settles it first: nobody finds bytes that asyncio
   would have sent. What is written outside a step is sent at once. */
#ifndef LM_NET_JOIN_H
#define LM_NET_JOIN_H

#include "net/transport.h"

/* Whether a write of that size to an open transport is to be joined: in a step, where
   nothing is queued that waits for the socket. Large ones gain nothing. */
int lm_join_wants(const LmTransport *t, size_t length);

/* Joins the write, and sends what has become too much. -1 with MemoryError or with an
   exception that has to leave the loop. Runs Python where another transport's writes have
   to be sent first. */
int lm_join_write(PyObject *self, PyObject *owner, const char *bytes, size_t length);

/* Sends what the loop's last step has joined. A failure of the socket closes the transport,
   which may run Python; -1 with an exception that has to leave the loop. */
int lm_join_flush(LmLoop *loop);

/* Before the transport is closed, shut down or asked for its state. */
static inline int
lm_join_settle(LmTransport *t)
{
    return LM_LIKELY(!t->is_joined) ? 0 : lm_join_flush(t->loop);
}

#endif
