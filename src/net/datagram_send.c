/* Sending datagrams: see datagram.h. Relies on outbuf.h for what waits and flow.h for
   telling the protocol, whose methods may close, pause or switch the protocol, or send. */
#include "net/datagram.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "core/fault.h"
#include "net/burst.h"
#include "net/flow.h"
#include "net/join.h"

/* The functions that send: 1 where it went out, 0 where the socket takes none
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

static int
send_by_socket(LmDatagram *d, PyObject *data, PyObject *addr)
{
    if (lm_datagram_check_socket(d) < 0) {
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
    return done != NULL ? 1 : lm_datagram_would_block() ? 0 : -1;
}

/* What socket.sendto() says to audit hooks, which may do anything. */
static int
audit(const LmDatagram *d, PyObject *addr)
{
    PyObject *sock = Py_NewRef(d->base.sock);
    int failed = PySys_Audit("socket.sendto", "OO", sock, addr);
    Py_DECREF(sock);
    return failed;
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
    const LmAddr *name = lm_datagram_name(d, addr, &room);
    if (name == NULL) {
        return send_by_socket(d, data, addr);
    }
    /* A hook may do anything, so the name is ours first. */
    if (name != &room) {
        room = *name;
    }
    if (lm_datagram_check_socket(d) < 0 || audit(d, addr) < 0) {
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
        failed = t->lost > 0 ? 0
                             : lm_outbuf_add_datagram(&t->out, bytes, addr,
                                                      LM_DATAGRAM_OVERHEAD);
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
    return LM_DATAGRAM_SENDS_EMPTY ? 1 : PyObject_IsTrue(data);
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

static int
send_or_queue(PyObject *self, PyObject *data, PyObject *addr)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    if (LM_LIKELY(lm_outbuf_is_empty(&t->out))) {
        int sent = send_datagram(d, data, addr);
        if (LM_LIKELY(sent > 0)) {
            return 0;
        }
        if (sent < 0) {
            return lm_datagram_report(self, LM_DATAGRAM_WRITE_FAULT);
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

/* The bytes that are to be joined, a new reference; NULL, without an exception, where there
   is something about them that the ordinary way says. */
static PyObject *
bytes_to_join(PyObject *data)
{
    Py_buffer view;
    if (LM_LIKELY(PyBytes_CheckExact(data))) {
        return Py_NewRef(data);
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(view.buf, view.len);
    PyBuffer_Release(&view);
    if (bytes == NULL) {
        PyErr_Clear();
    }
    return bytes;
}

/* Whether it is to be joined, or to wait behind what the socket did not take. Those of Unix
   sockets gain nothing. */
static int
is_for_burst(const LmDatagram *d, PyObject *addr, size_t size)
{
    const LmTransport *t = &d->base;
    return t->lost == 0 && t->loop != NULL &&
           (d->family == AF_INET || d->family == AF_INET6) && t->sock != NULL &&
           lm_transport_owns_fd(t) &&
           (lm_join_wants(t, size) ||
            (lm_transport_is_writing(t) && !lm_join_has_other_users(t))) &&
           lm_burst_may(d, addr);
}

static int
join_bytes(PyObject *self, PyObject *bytes, PyObject *addr)
{
    LmDatagram *d = lm_datagram(self);
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    if (!is_for_burst(d, addr, size)) {
        return 0;
    }
    if (!d->is_connected) {
        if (audit(d, addr) < 0) {
            return lm_datagram_report(self, LM_DATAGRAM_WRITE_FAULT) < 0 ? -1 : 1;
        }
        if (!is_for_burst(d, addr, size)) {
            return 0;
        }
    }
    int wanted = lm_transport_is_writing(&d->base) ? 1 : lm_join_begin(self);
    if (wanted <= 0) {
        return wanted < 0 ? -1 : 1;
    }
    return lm_outbuf_add_datagram(&d->base.out, bytes, addr, LM_DATAGRAM_OVERHEAD) <
                       0 ||
                   lm_join_queued(self) < 0
               ? -1
               : 1;
}

/* In a loop that joins: 1 where nothing is left to be done; 0 where the datagram is to be
   sent now, behind whatever is joined; -1 with an exception set. */
static LM_APART int
join(PyObject *self, PyObject *data, PyObject *addr)
{
    PyObject *bytes = bytes_to_join(data);
    int done = bytes != NULL ? join_bytes(self, bytes, addr) : 0;
    Py_XDECREF(bytes);
    return done == 0 && lm_transport_settle(self) < 0 ? -1 : done;
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
    if (LM_UNLIKELY(t->loop->postpones)) {
        int done = join(self, data, addr);
        if (done != 0) {
            return done < 0 ? -1 : 0;
        }
    }
    return send_or_queue(self, data, addr);
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
        lm_outbuf_drop(out, LM_DATAGRAM_OVERHEAD);
    }
    Py_DECREF(piece.bytes);
    Py_DECREF(piece.to);
    return sent;
}

/* The same of what may be sent with others, by as few calls as that takes. 1 where one or
   more are gone, 0 where the socket takes none now; -1 with an exception set. */
static int
send_some(LmDatagram *d, size_t most, LmBurst *burst)
{
    d->base.loop->has_done_io = 1;
    int sent =
        lm_transport_owns_fd(&d->base) ? lm_burst_send(d, most, burst) : LM_BURST_ODD;
    if (sent == LM_BURST_ODD) {
        return send_front(d);
    }
    if (sent < 0) {
        lm_oserr_set(errno);
        lm_burst_drop_first(d, burst);
        return -1;
    }
    return sent > 0;
}

/* What is refused in the end of a step or turn has no caller to tell what the protocol
   raises then. -1 with an exception that has to leave the loop. */
static int
tell_refused(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (lm_datagram_report(self, LM_DATAGRAM_WRITE_FAULT) == 0) {
        return 0;
    }
    return lm_exc_leaves_loop() || t->loop == NULL
               ? -1
               : lm_fault_report((PyObject *)t->loop, t->st,
                                 "protocol.error_received() failed", "transport", self,
                                 "protocol", t->protocol, NULL);
}

/* Sends what is queued now, but not what the protocol sends when it is told of errors.
   -1 with an exception that has to leave the loop. */
static int
send_all(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    LmBurst burst = {0, 0, 0};
    size_t left = t->out.count;
    while (left > 0 && t->lost == 0 && t->loop != NULL &&
           !lm_outbuf_is_empty(&t->out)) {
        size_t before = t->out.count;
        int sent = send_some(d, left, &burst);
        size_t gone = before > t->out.count ? before - t->out.count : 1;
        left = gone < left ? left - gone : 0;
        if (sent == 0) {
            return 0;
        }
        if (sent < 0 && tell_refused(self) < 0) {
            return -1;
        }
    }
    return 0;
}

int
lm_datagram_settle(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    t->is_joined = 0;
    int failed = send_all(self);
    /* Closed by the protocol meanwhile, it ends when all is sent. */
    if (t->loop == NULL || t->lost > 0 ||
        (lm_outbuf_is_empty(&t->out) && !t->is_closing)) {
        return failed;
    }
    PyObject *exc = lm_exc_hold();
    failed |= lm_transport_start_writing(self);
    if (failed == 0 && t->lost == 0 && t->loop != NULL) {
        failed = lm_flow_maybe_pause(self);
    }
    lm_exc_put_back(exc);
    return failed;
}

/* As asyncio does: until one is refused. As send_datagram. */
static int
send_one_by_one(LmDatagram *d)
{
    int sent = 1;
    while (sent > 0 && d->base.loop != NULL && !lm_outbuf_is_empty(&d->base.out)) {
        sent = send_front(d);
    }
    return sent;
}

int
lm_datagram_flush(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    if (LM_UNLIKELY(t->loop->postpones)) {
        if (send_all(self) < 0) {
            return -1;
        }
    }
    else if (send_one_by_one(d) < 0) {
        return lm_datagram_report(self, LM_DATAGRAM_WRITE_FAULT);
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
