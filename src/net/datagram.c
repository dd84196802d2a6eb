/* Receiving and sending datagrams: see datagram.h. Relies on outbuf.h for what waits and
   flow.h for telling the protocol. Any protocol method may close, pause or switch the
   protocol, or send. */
#include "net/datagram.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "net/flow.h"
#include "net/transport_extra.h"
#include "net/transport_socket.h"

/* In one wake-up. asyncio reads one; more than that pays where they come in bursts, and a
   bound leaves the other descriptors their turn. */
#define MOST_READS 16
#define MOST_SINGLE_READS 31

#if PY_VERSION_HEX >= 0x030D0000
/* What a queued datagram is counted for beyond its bytes, so that empty ones count. */
#define OVERHEAD 8
#define SENDS_EMPTY 1
#else
#define OVERHEAD 0
#define SENDS_EMPTY 0
#endif

#define READ_FAULT "Fatal read error on datagram transport"
#define WRITE_FAULT "Fatal write error on datagram transport"

int
lm_datagram_prepare(PyObject *self, const LmTransportParts *parts)
{
    LmDatagram *d = lm_datagram(self);
    LmAddr local;
    if (lm_transport_prepare_socket(self, parts) < 0) {
        return -1;
    }
    lm_ends_local(d->base.ends, &local);
    /* Now, not when it is asked for: addresses may change, and endpoints are few. */
    PyObject *extra = lm_transport_get_extra(self, NULL);
    if (extra == NULL) {
        return -1;
    }
    PyObject *peer;
    int is_connected = PyDict_GetItemStringRef(extra, "peername", &peer);
    Py_DECREF(extra);
    if (is_connected > 0) {
        is_connected = PyObject_IsTrue(peer);
    }
    Py_XDECREF(peer);
    int has_address = is_connected >= 0 && parts->address != NULL
                          ? PyObject_IsTrue(parts->address)
                          : 0;
    if (is_connected < 0 || has_address < 0) {
        return -1;
    }
    d->is_connected = (uint8_t)is_connected;
    d->family = local.any.sa_family;
    d->reads_raw = (uint8_t)lm_addr_is_known(&local);
    if (has_address) {
        d->address = Py_NewRef(parts->address);
        if (!lm_addr_parse(d->address, d->family, &d->address_name)) {
            d->address_name.length = 0;
        }
    }
    return 0;
}

/* Takes the exception that is set while reading or sending: an OSError goes to the
   protocol, others close the transport. -1 with an exception set that is for the caller. */
static int
report_error(PyObject *self, const char *fault)
{
    LmTransport *t = lm_transport(self);
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    if (!PyErr_ExceptionMatches(PyExc_OSError) || t->protocol == NULL) {
        return lm_transport_fatal(self, fault);
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_done(lm_held_call_one(t->protocol, t->st->str.error_received, exc));
    Py_DECREF(exc);
    return failed;
}

/* What the Python socket raises where asyncio tries again later. */
static int
take_would_block(void)
{
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
        return 1;
    }
    return 0;
}

/* Reading */

/* The address as an object, the same one for the same sender where it sent the last
   datagram too. New reference. */
static PyObject *
show_sender(LmDatagram *d, const LmAddr *name)
{
    if (d->peer != NULL && lm_addr_same(&d->peer_name, name)) {
        return Py_NewRef(d->peer);
    }
    if (name->length == 0) {
        Py_RETURN_NONE; /* a Unix socket without a name */
    }
    PyObject *shown = lm_addr_show(name);
    if (shown != NULL) {
        Py_XSETREF(d->peer, Py_NewRef(shown));
        d->peer_name = *name;
    }
    return shown;
}

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
    *sender = *data != NULL ? show_sender(d, &name) : NULL;
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

/* -1 with EBADF where there is no socket. */
static int
check_has_socket(const LmDatagram *d)
{
    if (d->base.sock == NULL) {
        lm_oserr_set(EBADF);
        return -1;
    }
    return 0;
}

static int
receive_by_socket(LmDatagram *d, PyObject **data, PyObject **sender)
{
    PyObject *size = check_has_socket(d) == 0 ? PyLong_FromLong(LM_SCRATCH_SIZE) : NULL;
    PyObject *returned =
        size != NULL ? lm_held_call_one(d->base.sock, d->base.st->str.recvfrom, size)
                     : NULL;
    Py_XDECREF(size);
    if (returned == NULL) {
        return take_would_block() ? 0 : -1;
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

static int
deliver_datagram(LmTransport *t, PyObject *data, PyObject *sender)
{
    PyObject *protocol = Py_XNewRef(t->protocol);
    if (protocol == NULL) {
        return 0; /* ended by the Python socket's own code */
    }
    PyObject *args[] = {protocol, data, sender};
    int failed = lm_done(PyObject_VectorcallMethod(
        t->st->str.datagram_received, args, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    Py_DECREF(protocol);
    return failed;
}

/* Whether another read of this wake-up is as asyncio would read: nothing that ran has
   closed or paused the transport (or resumed it, in another context) or stopped the
   loop. */
static int
may_read_on(const LmTransport *t, const PyObject *context)
{
    return t->lost == 0 && t->reader.is_active && t->read_context == context &&
           !LM_LOAD(t->loop->is_stopping);
}

int
lm_datagram_read(PyObject *self)
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
            return report_error(self, READ_FAULT);
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
        int failed = t->protocol != NULL ? deliver_datagram(t, data, sender) : 0;
        Py_DECREF(data);
        Py_DECREF(sender);
        if (failed < 0 || !may_read_on(t, context)) {
            return failed;
        }
    }
    return 0;
}

/* Sending. The functions that send: 1 where it went out, 0 where the socket takes none
   now, -1 with an exception set. */

static int
sent_or_not(ssize_t sent)
{
    if (LM_LIKELY(sent >= 0)) {
        return 1;
    }
    if (lm_sys_is_not_ready()) {
        return 0;
    }
    lm_oserr_set(errno);
    return -1;
}

/* The raw form of an address, or NULL where the Python socket has to look at it. */
static const LmAddr *
name_of(const LmDatagram *d, PyObject *addr, LmAddr *room)
{
    if (addr == d->peer) {
        return &d->peer_name; /* an answer; what is shown cannot be changed */
    }
    if (addr == d->address) {
        return d->address_name.length > 0 ? &d->address_name : NULL;
    }
    return lm_addr_parse(addr, d->family, room) ? room : NULL;
}

static int
send_by_socket(LmDatagram *d, PyObject *data, PyObject *addr)
{
    if (check_has_socket(d) < 0) {
        return -1;
    }
    PyObject *sock = Py_NewRef(d->base.sock);
    PyObject *args[] = {sock, data, addr};
    PyObject *name = d->is_connected ? d->base.st->str.send : d->base.st->str.sendto;
    size_t count = d->is_connected ? 2 : 3;
    PyObject *done = PyObject_VectorcallMethod(
        name, args, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(sock);
    Py_XDECREF(done);
    return done != NULL ? 1 : take_would_block() ? 0 : -1;
}

static int
send_one(LmDatagram *d, PyObject *data, const char *bytes, size_t size, PyObject *addr)
{
    LmTransport *t = &d->base;
    if (LM_UNLIKELY(t->loop == NULL)) {
        return 1; /* closed by what was asked for the data's buffer */
    }
    t->loop->has_done_io = 1;
    if (!lm_transport_owns_fd(t)) {
        return send_by_socket(d, data, addr);
    }
    if (d->is_connected) {
        return sent_or_not(send(t->fd, bytes, size, MSG_NOSIGNAL));
    }
    LmAddr room;
    const LmAddr *name = name_of(d, addr, &room);
    if (name == NULL) {
        return send_by_socket(d, data, addr);
    }
    /* As socket.sendto() does. A hook may do anything, so the name is ours first. */
    if (name != &room) {
        room = *name;
    }
    if (check_has_socket(d) < 0 ||
        PySys_Audit("socket.sendto", "OO", t->sock, addr) < 0) {
        return -1;
    }
    if (!lm_transport_owns_fd(t)) {
        return t->loop != NULL ? send_by_socket(d, data, addr) : 1;
    }
    return sent_or_not(
        sendto(t->fd, bytes, size, MSG_NOSIGNAL, &room.any, room.length));
}

static int
send_datagram(LmDatagram *d, PyObject *data, PyObject *addr)
{
    if (LM_LIKELY(PyBytes_CheckExact(data))) {
        return send_one(d, data, PyBytes_AS_STRING(data),
                        (size_t)PyBytes_GET_SIZE(data), addr);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int sent = send_one(d, data, view.buf, (size_t)view.len, addr);
    PyBuffer_Release(&view);
    return sent;
}

static int
queue(PyObject *self, PyObject *data, PyObject *addr)
{
    LmTransport *t = lm_transport(self);
    PyObject *bytes =
        PyBytes_CheckExact(data) ? Py_NewRef(data) : PyBytes_FromObject(data);
    int failed = -1;
    if (bytes != NULL) {
        /* Lost by now where what was asked for the bytes aborted. */
        failed =
            t->lost > 0 ? 0 : lm_outbuf_add_datagram(&t->out, bytes, addr, OVERHEAD);
    }
    Py_XDECREF(bytes);
    return failed < 0 ? -1 : lm_flow_maybe_pause(self);
}

/* 1 where the data is to be sent, 0 where it is to be ignored; -1 with an exception
   set. */
static int
check_data(PyObject *data)
{
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError,
                     "data argument must be a bytes-like object, not '%s'",
                     lm_type_name(Py_TYPE(data)));
        return -1;
    }
    return SENDS_EMPTY ? 1 : PyObject_IsTrue(data);
}

/* -1 with ValueError set where another address than the endpoint's is named. */
static int
check_address(const LmDatagram *d, PyObject *addr)
{
    if (addr == Py_None || addr == d->address) {
        return 0;
    }
    int is_none = PyObject_RichCompareBool(Py_None, addr, Py_EQ);
    int is_same =
        is_none == 0 ? PyObject_RichCompareBool(d->address, addr, Py_EQ) : is_none;
    if (is_same == 0) {
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S",
                     d->address);
    }
    return is_same > 0 ? 0 : -1;
}

int
lm_datagram_sendto(PyObject *self, PyObject *data, PyObject *addr)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    int is_wanted = check_data(data);
    if (is_wanted <= 0) {
        return is_wanted;
    }
    if (d->address != NULL) {
        if (check_address(d, addr) < 0) {
            return -1;
        }
        addr = d->address;
    }
    /* Without an address asyncio sends until the socket is closed. */
    if (LM_UNLIKELY(t->lost > 0 && (d->address != NULL || t->loop == NULL))) {
        return lm_transport_drop_write(t);
    }
    if (LM_LIKELY(lm_outbuf_is_empty(&t->out))) {
        int sent = send_datagram(d, data, addr);
        if (LM_LIKELY(sent > 0)) {
            return 0;
        }
        if (sent < 0) {
            return report_error(self, WRITE_FAULT);
        }
        if (t->lost > 0) {
            return 0;
        }
        if (lm_transport_start_writing(self) < 0) {
            return -1;
        }
    }
    return queue(self, data, addr);
}

/* Sends the datagram in front. */
static int
send_front(LmDatagram *d)
{
    LmOutbuf *out = &d->base.out;
    LmPiece piece = *lm_outbuf_front(out);
    Py_INCREF(piece.bytes);
    Py_INCREF(piece.to);
    int sent = send_one(d, piece.bytes, piece.data, piece.left, piece.to);
    /* An odd address's methods may have dropped the queue. */
    if (sent != 0 && !lm_outbuf_is_empty(out) &&
        lm_outbuf_front(out)->data == piece.data) {
        LmPiece gone = lm_outbuf_take(out, OVERHEAD);
        Py_DECREF(gone.bytes);
        Py_DECREF(gone.to);
    }
    Py_DECREF(piece.bytes);
    Py_DECREF(piece.to);
    return sent;
}

int
lm_datagram_flush(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    int sent = 1;
    while (sent > 0 && t->loop != NULL && !lm_outbuf_is_empty(&t->out)) {
        sent = send_front(d);
        if (sent < 0) {
            return report_error(self, WRITE_FAULT);
        }
    }
    if (lm_flow_maybe_resume(self) < 0) {
        return -1;
    }
    /* The protocol may have sent more, or closed. */
    if (t->loop == NULL || !lm_outbuf_is_empty(&t->out)) {
        return 0;
    }
    lm_transport_stop_writing(self);
    return t->is_closing && t->lost == 0 ? lm_transport_finish(self, Py_None) : 0;
}
