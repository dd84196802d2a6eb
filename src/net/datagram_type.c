/* The DatagramTransport type: what it adds to the methods of transport_type.c, and its
   kind. See datagram.h. */
#include "net/datagram_many.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "net/transport_type.h"

static PyObject *
datagram_method_sendto(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const char *const names[] = {"data", "addr", NULL};
    PyObject *values[] = {NULL, Py_None};
    if (lm_args_parse("sendto", args, nargs, kwnames, 2, 1, names, values) < 0) {
        return NULL;
    }
    return lm_none_if(lm_datagram_sendto(self, values[0], values[1]));
}

LM_GETTER(get_address, LmDatagram *d = lm_datagram(self), lm_none_or(d->address))

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
datagram_method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport(self)->lost == 0 ? lm_datagram_read(self) : 0);
}

static PyObject *
datagram_method_sendto_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport(self)->lost == 0 ? lm_datagram_flush(self) : 0);
}

LM_OWNED_METHOD(datagram_method_read_ready, lm_transport_owner)
LM_OWNED_METHOD(datagram_method_sendto_ready, lm_transport_owner)

static PyMethodDef read_ready_def = {
    "_read_ready", LM_OWNED(datagram_method_read_ready), METH_NOARGS, NULL};
static PyMethodDef sendto_ready_def = {
    "_sendto_ready", LM_OWNED(datagram_method_sendto_ready), METH_NOARGS, NULL};

static int
datagram_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmDatagram *d = lm_datagram(self);
    Py_VISIT(d->address);
    Py_VISIT(d->peer);
    if (lm_outbuf_traverse(&d->left, visit, arg) != 0) {
        return -1;
    }
    return lm_outbuf_traverse(&d->base.out, visit, arg);
}

static void
datagram_release(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    Py_CLEAR(d->address);
    Py_CLEAR(d->peer);
    lm_outbuf_clear(&d->left);
}

static const LmTransportKind datagram_kind = {
    .read = lm_datagram_read,
    .flush = lm_datagram_flush,
    .read_method = &read_ready_def,
    .flush_method = &sendto_ready_def,
    .settle = lm_datagram_settle,
    .read_left = lm_datagram_read_left,
    .expose = lm_datagram_expose,
    .may_read = lm_datagram_may_read,
    .prepare = lm_datagram_prepare,
    .traverse = datagram_traverse,
    .release = datagram_release,
};

PyObject *
lm_datagram_new(LmLoop *loop, const LmTransportParts *parts)
{
    return lm_transport_new(loop, loop->st->DatagramTransportType, &datagram_kind,
                            parts);
}

LM_OWNED_FASTCALL(datagram_method_sendto, lm_transport_owner)
LM_OWNED_SHOWN(get_address, lm_transport_owner)

static PyMethodDef datagram_methods[] = {
    {"sendto", LM_FASTCALL(LM_OWNED(datagram_method_sendto)),
     LM_DOC(
         "sendto($self, data, addr=None)",
         "Send one datagram; where the socket does not take it now it is queued.\n\n"
         "data: bytes, bytearray or memoryview. addr: as socket.sendto() takes it; None or "
         "the same address where the endpoint has a remote one, else ValueError. What the "
         "system refuses goes to error_received(). Loop's thread only. Implements "
         "asyncio.DatagramTransport.sendto.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef datagram_getset[] = {
    {"_address", LM_OWNED(get_address), NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

int
lm_datagram_init(PyObject *module, LmState *st)
{
    LmTransportTypeSpec spec = {
        .name = "loopmod._loopmod.DatagramTransport",
        .doc =
            "A datagram socket; made by the loop. Implements asyncio.DatagramTransport.",
        .size = sizeof(LmDatagram),
        .methods = datagram_methods,
        .getset = datagram_getset,
        .has_our_base = 1,
    };
    PyObject *base = lm_state_import("asyncio", "DatagramTransport");
    PyObject *bases = base != NULL ? PyTuple_Pack(2, st->TransportType, base) : NULL;
    Py_XDECREF(base);
    if (bases != NULL) {
        st->DatagramTransportType = lm_transport_type_new(module, &spec, bases);
    }
    Py_XDECREF(bases);
    return st->DatagramTransportType != NULL ? 0 : -1;
}
