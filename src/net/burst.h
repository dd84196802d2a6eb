/* Many datagrams sent by one call: those of equal size to one destination as one message
   that the system cuts up (UDP GSO), several such messages by sendmmsg.

   Only what addr.h knows, and in the order of the queue. Which of them was refused, and why,
   is told as by single calls: a message that the system does not cut up is sent again
   by the datagram, and where an error could be another one's (a peer is named) messages go
   one by one. Runs no Python. */
#ifndef LM_NET_BURST_H
#define LM_NET_BURST_H

#include "net/datagram.h"

enum { LM_BURST_ODD = -2 };

/* What was learnt in the course of one queue; zeroed at first. */
typedef struct {
    size_t singles;   /* datagrams in front that are not to be merged, since */
    uint16_t blamed;  /* ... the system did not take the first of them, of this size, */
    uint16_t at_most; /* ... so, and may take this one */
} LmBurst;

/* Sends some of the first `most` datagrams of the queue and takes them out: how many. 0 where
   the socket takes none now; -1 with errno set, which is about the first one, still there;
   LM_BURST_ODD where the Python socket has to look at that one's address. */
int lm_burst_send(LmDatagram *d, size_t most, LmBurst *burst);

/* Whether datagrams to the address may be sent so. */
int lm_burst_may(const LmDatagram *d, PyObject *addr);

/* The first datagram was refused: it is taken out. */
void lm_burst_drop_first(LmDatagram *d, LmBurst *burst);

#endif
