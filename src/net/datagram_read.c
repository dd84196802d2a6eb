/* Receiving datagrams: see datagram.h. Any protocol method may close, pause or switch the
   protocol, or send. */
#include "net/datagram.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "net/datagram_many.h"

/* In one wake-up. asyncio reads one; more than that pays where they come in bursts, and a
   bound leaves the other descriptors their turn. */
#define MOST_READS 16
#define MOST_SINGLE_READS 31

/* The three functions below: 1 with a datagram in *data and *sender, new references; 0
   where there is none; -1 with an exception set. */
static int
receive_raw(LmDatagram *d, PyObject **data, PyObject **sender)
{
    char *scratch = lm_loop_scratch(d->base.loop);
    if (scratch == NULL) {
        return -1;
    }
    LmAddr name;
    name.length = LM_ADDR_ROOM;
    ssize_t size =
        recvfrom(d->base.fd, scratch, LM_SCRATCH_SIZE, 0, &name.any, &name.length);
    if (size < 0) {
        if (lm_sys_is_not_ready()) {
            return 0;
        }
        lm_oserr_set(errno);
        return -1;
    }
    if (name.length > LM_ADDR_ROOM) {
        name.length = LM_ADDR_ROOM;
    }
    *data = PyBytes_FromStringAndSize(scratch, size);
    *sender = *data != NULL ? lm_datagram_show_sender(d, &name) : NULL;
    if (*sender == NULL) {
        Py_XDECREF(*data);
        return -1;
    }
    return 1;
}

/* What a patched recvfrom() returned may be anything. */
static int
unpack_received(PyObject *returned, PyObject **data, PyObject **sender)
{
    PyObject *pair = PySequence_Tuple(returned);
    if (pair == NULL) {
        return -1;
    }
    if (PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_ValueError,
                     "recvfrom() returned %zd values, not data and an address",
                     PyTuple_GET_SIZE(pair));
        Py_DECREF(pair);
        return -1;
    }
    *data = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
    *sender = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
    Py_DECREF(pair);
    return 1;
}

static int
receive_by_socket(LmDatagram *d, PyObject **data, PyObject **sender)
{
    PyObject *size =
        lm_datagram_check_socket(d) == 0 ? PyLong_FromLong(LM_SCRATCH_SIZE) : NULL;
    PyObject *returned =
        size != NULL ? lm_held_call_one(d->base.sock, d->base.st->str.recvfrom, size)
                     : NULL;
    Py_XDECREF(size);
    if (returned == NULL) {
        return lm_datagram_would_block() ? 0 : -1;
    }
    int got = unpack_received(returned, data, sender);
    Py_DECREF(returned);
    return got;
}

static int
receive_datagram(LmDatagram *d, PyObject **data, PyObject **sender)
{
    return LM_LIKELY(d->reads_raw) && lm_transport_owns_fd(&d->base)
               ? receive_raw(d, data, sender)
               : receive_by_socket(d, data, sender);
}

/* One wake-up. */
static int
read_one_by_one(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    const PyObject *context = t->read_context;
    int most = MOST_READS;
    if (d->single_reads > 0) {
        d->single_reads--;
        most = 1;
    }
    for (int count = 0; count < most; count++) {
        PyObject *data, *sender;
        int got = receive_datagram(d, &data, &sender);
        if (got < 0) {
            return lm_datagram_report(self, LM_DATAGRAM_READ_FAULT);
        }
        if (got == 0) {
            if (count == 1) {
                d->penalty = d->penalty < MOST_SINGLE_READS ? d->penalty * 2 + 1
                                                            : MOST_SINGLE_READS;
                d->single_reads = d->penalty;
            }
            return 0;
        }
        if (count == 1) {
            d->penalty = 0;
        }
        /* The socket's method may have closed the transport. */
        int failed = t->protocol != NULL ? lm_datagram_deliver(t, data, sender) : 0;
        Py_DECREF(data);
        Py_DECREF(sender);
        if (failed < 0 || !lm_datagram_may_read_on(t, context)) {
            return failed;
        }
    }
    return 0;
}

static LM_APART int
read_in_joining_loop(PyObject *self)
{
    const LmDatagram *d = lm_datagram(self);
    if (!lm_outbuf_is_empty(&d->left)) {
        return d->is_left_due ? 0 : lm_datagram_read_left(self);
    }
    int wants = lm_datagram_wants_many(self);
    return wants < 0    ? -1
           : wants == 0 ? read_one_by_one(self)
                        : lm_datagram_read_many(self);
}

int
lm_datagram_read(PyObject *self)
{
    const LmDatagram *d = lm_datagram(self);
    return LM_UNLIKELY(d->base.loop->postpones || d->is_merging ||
                       !lm_outbuf_is_empty(&d->left))
               ? read_in_joining_loop(self)
               : read_one_by_one(self);
}
