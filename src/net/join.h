/* Joined writes: what a callback or a task's step writes to a stream, or sends as datagrams,
   goes out in one call when it returns, or what a turn writes when the turn ends. For loops
   that were asked to (join_writes): a server that writes head and body apart saves a system
   call for each answer, and one whose answers leave together wakes their reader once.

   What is joined stands in the transport's own queue, without a watch, and never exceeds
   its high-water mark; LmLoop.postponed holds those transports. Joined by step, one does at a
   time: the next one that is written to sends the former's first, so that bytes leave in
   the order of the calls. Joined by turn, nothing waits for more than the step in which a
   quarter of a millisecond has passed. What asks for the state of the transport settles it
   first: nobody finds bytes that asyncio would have sent. What is written outside a step is
   sent at once, and so is what is written where somebody else can use the connection past
   the transport: who gave the socket and holds it still, or was told its number. */
#ifndef LM_NET_JOIN_H
#define LM_NET_JOIN_H

#include "net/transport.h"

/* Whether a write of that size to an open transport is to be joined: in a step, where
   nothing is queued that waits for the socket. Large ones gain nothing. */
int lm_join_wants(const LmTransport *t, size_t length);

/* Whether somebody besides the transport and what it shows may use the socket. */
int lm_join_has_other_users(const LmTransport *t);

/* A write that is wanted: 1 where it is to be queued now, and lm_join_queued called; 0 where
   it was dropped. -1 with MemoryError or with an exception that has to leave the loop. Runs
   Python where another transport's writes have to be sent first. */
int lm_join_begin(PyObject *self);

/* Sends what has become too much. -1 with an exception that has to leave the loop. */
int lm_join_queued(PyObject *self);

/* Both, of a stream. */
int lm_join_write(PyObject *self, PyObject *owner, const char *bytes, size_t length);

/* Sends what a stream has joined: behind lm_transport_settle. A failure of the socket
   closes it, which may run Python; -1 with an exception that has to leave the loop. */
int lm_join_send(PyObject *self);

/* The same, and nothing is joined from now on: the number is told. */
int lm_join_expose(PyObject *self);

#endif
