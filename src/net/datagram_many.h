/* Datagrams received many at once, where nobody could tell but for the time: in a loop that
   joins (join.h) and has no nested runs, from a socket that nobody else uses. The system is asked for several
   messages by one call (mail.h) and, once bursts were seen to come, to merge those of one
   sender (UDP GRO).

   They are delivered one by one. What the protocol leaves undelivered, because it closes,
   pauses or raises, or because the loop stops, waits in LmDatagram.left and comes first
   when the transport next reads. */
#ifndef LM_NET_DATAGRAM_MANY_H
#define LM_NET_DATAGRAM_MANY_H

#include "net/datagram.h"

/* Whether this wake-up is to receive so; else all is again as it was before the first did.
   -1 with an exception set. */
int lm_datagram_wants_many(PyObject *self);

/* One wake-up; -1 with an exception set, as lm_datagram_read. */
int lm_datagram_read_many(PyObject *self);

/* Delivers what is left of another one. -1 with an exception set. */
int lm_datagram_read_left(PyObject *self);

/* What has to be done before somebody else uses the socket, and before reading begins: two of
   its kind's functions. -1 with an exception set. */
int lm_datagram_expose(PyObject *self);
int lm_datagram_may_read(PyObject *self);

#endif
