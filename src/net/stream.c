/* The SocketTransport type: what streams add to the methods of transport_type.c, and their
   kind. See stream.h. */
#include "net/stream.h"

#include "base/args.h"
#include "base/held.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "net/join.h"
#include "net/stream_feed.h"
#include "net/stream_read.h"
#include "net/stream_send.h"
#include "net/stream_write.h"
#include "net/transport_socket.h"
#include "net/transport_type.h"

#include <netinet/tcp.h>

static PyObject *
stream_method_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    PyObject *data = lm_args_only("write", args, nargs, kwnames, "data");
    return data != NULL ? lm_none_if(lm_stream_write(self, data)) : NULL;
}

static PyObject *
stream_method_writelines(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyObject *list_of_data =
        lm_args_only("writelines", args, nargs, kwnames, "list_of_data");
    return list_of_data != NULL ? lm_none_if(lm_stream_writelines(self, list_of_data))
                                : NULL;
}

static PyObject *
stream_method_write_eof(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_stream_write_eof(self));
}

static PyObject *
stream_method_can_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    Py_RETURN_TRUE;
}

static int
check_no_waiter(LmTransport *t)
{
    if (t->empty_waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Empty waiter is already set");
        return -1;
    }
    return 0;
}

static PyObject *
stream_method_make_empty_waiter(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (lm_transport_settle(self) < 0) {
        return NULL;
    }
    if (check_no_waiter(t) < 0) {
        return NULL;
    }
    if (t->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Transport is closed");
        return NULL;
    }
    PyObject *loop = Py_NewRef(t->loop);
    PyObject *waiter = PyObject_CallMethod(loop, "create_future", NULL);
    Py_DECREF(loop);
    if (waiter == NULL || check_no_waiter(t) < 0) {
        Py_XDECREF(waiter);
        return NULL;
    }
    t->empty_waiter = Py_NewRef(waiter);
    if (lm_outbuf_is_empty(&t->out)) {
        PyObject *done = PyObject_CallMethod(waiter, "set_result", "O", Py_None);
        if (done == NULL) {
            Py_CLEAR(waiter);
        }
        Py_XDECREF(done);
    }
    return waiter;
}

static PyObject *
stream_method_reset_empty_waiter(PyObject *self, PyObject *unused LM_UNUSED)
{
    Py_CLEAR(lm_transport(self)->empty_waiter);
    Py_RETURN_NONE;
}

LM_GETTER(get_empty_waiter, LmTransport *t = lm_transport(self),
          lm_none_or(t->empty_waiter))
LM_GETTER(get_eof, LmTransport *t = lm_transport(self), PyBool_FromLong(t->eof_written))

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
stream_method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport(self)->lost == 0 ? lm_stream_read(self) : 0);
}

static PyObject *
stream_method_write_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport(self)->lost == 0 ? lm_stream_flush(self) : 0);
}

LM_OWNED_METHOD(stream_method_read_ready, lm_transport_owner)
LM_OWNED_METHOD(stream_method_write_ready, lm_transport_owner)

static PyMethodDef read_ready_def = {"_read_ready", LM_OWNED(stream_method_read_ready),
                                     METH_NOARGS, NULL};
static PyMethodDef write_ready_def = {
    "_write_ready", LM_OWNED(stream_method_write_ready), METH_NOARGS, NULL};

/* Small writes must not wait for the peer's acknowledgements. By the address family: a
   socket made with protocol 0 is TCP all the same. */
static int
set_nodelay(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int on = 1;
    LmAddr local;
    if (!lm_transport_owns_fd(t)) {
        return lm_done(lm_state_support(t->st, "set_nodelay", "O", t->sock));
    }
    lm_ends_local(t->ends, &local);
    if (lm_addr_is_inet(&local)) {
        (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return 0;
}

static int
prepare_stream(PyObject *self, const LmTransportParts *parts)
{
    return lm_transport_prepare_socket(self, parts) < 0 ? -1 : set_nodelay(self);
}

static const LmTransportKind stream_kind = {
    .read = lm_stream_read,
    .flush = lm_stream_flush,
    .read_method = &read_ready_def,
    .flush_method = &write_ready_def,
    .write = lm_stream_write,
    .write_raw = lm_stream_write_raw,
    .settle = lm_join_send,
    .prepare = prepare_stream,
    .is_stream = 1,
};

PyObject *
lm_stream_new(LmLoop *loop, const LmTransportParts *parts)
{
    return lm_transport_new(loop, loop->st->SocketTransportType, &stream_kind, parts);
}

LM_OWNED_METHOD(stream_method_write_eof, lm_transport_owner)
LM_OWNED_METHOD(stream_method_make_empty_waiter, lm_transport_owner)
LM_OWNED_METHOD(stream_method_reset_empty_waiter, lm_transport_owner)
LM_OWNED_FASTCALL(stream_method_write, lm_transport_owner)
LM_OWNED_FASTCALL(stream_method_writelines, lm_transport_owner)
LM_OWNED_SHOWN(get_empty_waiter, lm_transport_owner)
LM_OWNED_SHOWN(get_eof, lm_transport_owner)

static PyMethodDef stream_methods[] = {
    {"write", LM_FASTCALL(LM_OWNED(stream_method_write)),
     LM_DOC(
         "write($self, data)",
         "Send bytes; what the socket does not take now is queued.\n\n"
         "data: bytes, bytearray or memoryview. Raises TypeError for other types, RuntimeError after "
         "write_eof(). Loop's thread only. Implements asyncio.WriteTransport.write.")},
    {"writelines", LM_FASTCALL(LM_OWNED(stream_method_writelines)),
     LM_DOC("writelines($self, list_of_data)",
            "Send several pieces with one system call.\n\n"
            "Implements asyncio.WriteTransport.writelines.")},
    {"write_eof", LM_OWNED(stream_method_write_eof), METH_NOARGS,
     LM_DOC("write_eof($self)",
            "Shut the sending half down once what is queued is sent.")},
    {"can_write_eof", stream_method_can_write_eof, METH_NOARGS,
     LM_DOC("can_write_eof($self)", "Return True.")},
    {"_make_empty_waiter", LM_OWNED(stream_method_make_empty_waiter), METH_NOARGS,
     LM_DOC("_make_empty_waiter($self)",
            "Return a future that is done when nothing is queued.")},
    {"_reset_empty_waiter", LM_OWNED(stream_method_reset_empty_waiter), METH_NOARGS,
     LM_DOC("_reset_empty_waiter($self)", "Allow writing again.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef stream_getset[] = {
    {"_eof", LM_OWNED(get_eof), NULL, NULL, NULL},
    {"_empty_waiter", LM_OWNED(get_empty_waiter), NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static int
set_stream_attributes(PyObject *type)
{
    PyObject *modes = lm_state_import("asyncio.constants", "_SendfileMode");
    PyObject *native =
        modes != NULL ? PyObject_GetAttrString(modes, "TRY_NATIVE") : NULL;
    int failed = native == NULL ||
                 PyObject_SetAttrString(type, "_sendfile_compatible", native) < 0 ||
                 PyObject_SetAttrString(type, "_start_tls_compatible", Py_True) < 0;
    Py_XDECREF(modes);
    Py_XDECREF(native);
    return failed ? -1 : 0;
}

int
lm_stream_init(PyObject *module, LmState *st)
{
    LmTransportTypeSpec spec = {
        .name = "loopmod._loopmod.SocketTransport",
        .doc =
            "A connected stream socket; made by the loop. Implements asyncio.Transport.",
        .size = sizeof(LmTransport),
        .methods = stream_methods,
        .getset = stream_getset,
        .has_our_base = 1,
    };
    st->SocketTransportType = lm_transport_type_new(module, &spec, st->TransportType);
    return st->SocketTransportType != NULL
               ? set_stream_attributes(st->SocketTransportType) | lm_feed_init(st)
               : -1;
}
