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

/* The four that make up its kind, and transport.sendto; -1 with an exception set. What
   the protocol's methods raise is such an exception, as in asyncio. */
int lm_datagram_prepare(PyObject *self, const LmTransportParts *parts);
int lm_datagram_read(PyObject *self);
int lm_datagram_flush(PyObject *self);
int lm_datagram_sendto(PyObject *self, PyObject *data, PyObject *addr);

#endif
