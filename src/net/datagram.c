/* What receiving and sending datagrams share: see datagram.h. */
#include "net/datagram.h"

#include "base/held.h"
#include "base/oserr.h"
#include "net/transport_extra.h"
#include "net/transport_socket.h"

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

int
lm_datagram_report(PyObject *self, const char *fault)
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

int
lm_datagram_would_block(void)
{
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
        return 1;
    }
    return 0;
}

PyObject *
lm_datagram_show_sender(LmDatagram *d, const LmAddr *name)
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

int
lm_datagram_check_socket(const LmDatagram *d)
{
    if (d->base.sock == NULL) {
        lm_oserr_set(EBADF);
        return -1;
    }
    return 0;
}

int
lm_datagram_deliver(LmTransport *t, PyObject *data, PyObject *sender)
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

const LmAddr *
lm_datagram_name(const LmDatagram *d, PyObject *addr, LmAddr *room)
{
    if (addr == d->peer) {
        return &d->peer_name; /* an answer; what is shown cannot be changed */
    }
    if (addr == d->address) {
        return d->address_name.length > 0 ? &d->address_name : NULL;
    }
    return lm_addr_parse(addr, d->family, room) ? room : NULL;
}
