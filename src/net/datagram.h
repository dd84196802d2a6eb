/* DatagramTransport: messages between a datagram socket and a protocol. What it has in
   common with streams, its life above all, is in transport.h.

   recvfrom and sendto go straight to the kernel for the families that addr.h knows and
   addresses that need no look-up; everything else is asked of the Python socket, which so
   decides what is valid and how it fails. An OSError goes to error_received and the
   transport lives on. */
#ifndef LM_NET_DATAGRAM_H
#define LM_NET_DATAGRAM_H

#include "net/transport_make.h"

typedef struct {
    LmTransport base;
    PyObject *address;   /* as given: the one peer that sendto() may name; or NULL */
    LmAddr address_name; /* the same parsed, or length 0 */
    PyObject *peer;      /* the last sender, as it was shown to the protocol; or NULL */
    LmAddr peer_name;
    int family; /* of the socket, or AF_UNSPEC where addr.h does not know it */
    uint8_t is_connected; /* the kernel knows the peer */
    uint8_t reads_raw;    /* senders' addresses are of a family that addr.h knows */
    /* A second read in a wake-up costs a system call where there is nothing: it is left
       out for a while after that. */
    uint8_t single_reads; /* how many wake-ups are to read once */
    uint8_t penalty;      /* how many it was the last time */
    /* In a loop that joins: datagram_many.h, burst.h. */
    uint8_t lacks_receive_many; /* the system has no recvmmsg, ... */
    uint8_t lacks_send_many;    /* ... no sendmmsg, */
    uint8_t knows_segments;     /* was asked whether it cuts up what is sent, */
    uint8_t knows_merging;      /* ... and to merge what arrives, ... */
    uint8_t is_merging;         /* ... and does */
    uint16_t most_segment;      /* the largest datagram to be sent with others in one */
    uint8_t is_left_due;        /* what is left will be read without the watch */
    LmOutbuf left;              /* received, not yet delivered */
} LmDatagram;

static inline LmDatagram *
lm_datagram(PyObject *self)
{
    return (LmDatagram *)lm_transport(self);
}

int lm_datagram_init(PyObject *module, LmState *st);

/* An OPEN transport over a datagram socket, which parts.sock has to name; as
   lm_transport_new. */
PyObject *lm_datagram_new(LmLoop *loop, const LmTransportParts *parts);

/* What makes up its kind, and transport.sendto; -1 with an exception set. What the
   protocol's methods raise is such an exception, as in asyncio. */
int lm_datagram_prepare(PyObject *self, const LmTransportParts *parts);
int lm_datagram_read(PyObject *self);
int lm_datagram_flush(PyObject *self);
int lm_datagram_sendto(PyObject *self, PyObject *data, PyObject *addr);

/* Sends what is joined (join.h), and tells the protocol what the system refused, in the
   order of the calls. -1 with an exception that has to leave the loop. */
int lm_datagram_settle(PyObject *self);

/* --- what the files of this kind share: datagram.c */

#if PY_VERSION_HEX >= 0x030D0000
/* What a queued datagram is counted for beyond its bytes, so that empty ones count. */
#define LM_DATAGRAM_OVERHEAD 8
#define LM_DATAGRAM_SENDS_EMPTY 1
#else
#define LM_DATAGRAM_OVERHEAD 0
#define LM_DATAGRAM_SENDS_EMPTY 0
#endif

#define LM_DATAGRAM_READ_FAULT "Fatal read error on datagram transport"
#define LM_DATAGRAM_WRITE_FAULT "Fatal write error on datagram transport"

/* Takes the exception that is set while reading or sending: an OSError goes to the
   protocol, others close the transport. -1 with an exception set that is for the caller. */
int lm_datagram_report(PyObject *self, const char *fault);

/* 1 where the exception that is set, and gone then, is what the Python socket raises where
   asyncio tries again later. */
int lm_datagram_would_block(void);

/* -1 with EBADF set where there is no Python socket. */
int lm_datagram_check_socket(const LmDatagram *d);

/* The address as an object, the same one for the same sender where it sent the last
   datagram too. New reference. */
PyObject *lm_datagram_show_sender(LmDatagram *d, const LmAddr *name);

/* The raw form of an address, or NULL where the Python socket has to look at it. */
const LmAddr *lm_datagram_name(const LmDatagram *d, PyObject *addr, LmAddr *room);

/* datagram_received(); -1 with what it raised. */
int lm_datagram_deliver(LmTransport *t, PyObject *data, PyObject *sender);

/* Whether another datagram of this wake-up is as asyncio would read it: nothing that ran has
   closed or paused the transport (or resumed it, in another context) or stopped the
   loop. */
static inline int
lm_datagram_may_read_on(const LmTransport *t, const PyObject *context)
{
    return t->lost == 0 && t->reader.is_active && t->read_context == context &&
           !LM_LOAD(t->loop->is_stopping);
}

#endif
