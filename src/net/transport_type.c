/* The methods and getters that all transports share, over transport.h, and the making of
   their types. Each works on a closed transport too. */
#include "net/transport_extra.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/fault.h"
#include "net/flow.h"
#include "net/join.h"
#include "net/readers.h"
#include "net/server.h"

#include <unistd.h>


static PyObject *
method_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport_close(self));
}

static PyObject *
method_abort(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport_force_close(self, Py_None));
}

static PyObject *
method_force_close(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_transport_force_close(self, exc));
}

static PyObject *
method_fatal_error(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const char *const names[] = {"exc", "message", NULL};
    PyObject *values[] = {NULL, NULL};
    if (lm_args_parse("_fatal_error", args, nargs, kwnames, 2, 1, names, values) < 0) {
        return NULL;
    }
    if (!PyExceptionInstance_Check(values[0])) {
        PyErr_SetString(PyExc_TypeError, "exc must be an exception");
        return NULL;
    }
    const char *message =
        values[1] != NULL ? PyUnicode_AsUTF8(values[1]) : "Fatal error on transport";
    if (message == NULL) {
        return NULL;
    }
    PyErr_SetRaisedException(Py_NewRef(values[0]));
    return lm_none_if(lm_transport_fatal(self, message));
}

static PyObject *
method_is_closing(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(lm_transport(self)->is_closing);
}

static PyObject *
method_is_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    return PyBool_FromLong(!t->is_closing && !t->is_paused);
}

static PyObject *
method_pause_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->is_paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    t->is_paused = 1;
    int is_debug = t->loop->is_debug;
    lm_transport_stop_reading(self);
    return lm_none_if(is_debug ? lm_transport_log_debug(self, "pauses reading") : 0);
}

static PyObject *
method_resume_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || !t->is_paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    t->is_paused = 0;
    int is_debug = t->loop->is_debug;
    if (lm_transport_start_reading(self) < 0) {
        return NULL;
    }
    return lm_none_if(is_debug ? lm_transport_log_debug(self, "resumes reading") : 0);
}

static PyObject *
method_get_protocol(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_or(lm_transport(self)->protocol);
}

static PyObject *
method_set_protocol(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    LmTransport *t = lm_transport(self);
    PyObject *protocol = lm_args_only("set_protocol", args, nargs, kwnames, "protocol");
    if (protocol == NULL) {
        return NULL;
    }
    return lm_none_if(lm_transport_set_protocol(t, protocol));
}

static PyObject *
method_get_write_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    return lm_join_settle(self) < 0 ? NULL : PyLong_FromSize_t(t->out.size);
}

static PyObject *
method_get_write_buffer_limits(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_marks_show(&lm_transport(self)->flow.marks);
}

static PyObject *
method_set_write_buffer_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const char *const names[] = {"high", "low", NULL};
    PyObject *values[] = {Py_None, Py_None};
    LmTransport *t = lm_transport(self);
    if (lm_args_parse("set_write_buffer_limits", args, nargs, kwnames, 2, 0, names,
                      values) < 0 ||
        lm_join_settle(self) < 0 ||
        lm_flow_set_limits(&t->flow, values[0], values[1]) < 0) {
        return NULL;
    }
    return lm_none_if(t->loop != NULL ? lm_flow_maybe_pause(self) : 0);
}

static PyObject *
method_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    PyObject *name, *fallback;
    if (lm_transport_extra_args(args, nargs, kwnames, &name, &fallback) < 0) {
        return NULL;
    }
    return lm_transport_extra_info(self, name, fallback);
}

static PyObject *
method_settle(PyObject *self, PyObject *is_exposed)
{
    return lm_none_if(is_exposed == Py_True ? lm_join_expose(self)
                                            : lm_join_settle(self));
}

static PyObject *
get_loop(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or((PyObject *)lm_transport(self)->loop);
}

static PyObject *
get_protocol(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or(lm_transport(self)->protocol);
}

static PyObject *
get_server(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or(lm_transport(self)->server);
}

static PyObject *
get_sock(PyObject *self, void *closure LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (lm_join_settle(self) < 0) {
        return NULL;
    }
    PyObject *sock = lm_transport_socket(t);
    return sock == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : sock;
}

static PyObject *
get_fd(PyObject *self, void *closure LM_UNUSED)
{
    if (lm_join_expose(self) < 0) {
        return NULL;
    }
    return PyLong_FromLong(lm_transport(self)->number);
}

LM_GETTER(get_closing, LmTransport *t = lm_transport(self),
          PyBool_FromLong(t->is_closing))
LM_GETTER(get_paused, LmTransport *t = lm_transport(self),
          PyBool_FromLong(t->is_paused))
LM_GETTER(get_protocol_paused, LmTransport *t = lm_transport(self),
          PyBool_FromLong(t->flow.is_paused))
LM_GETTER(get_connected, LmTransport *t = lm_transport(self),
          PyBool_FromLong(t->protocol != NULL))

static PyObject *
get_conn_lost(PyObject *self, void *closure LM_UNUSED)
{
    return PyLong_FromUnsignedLong(lm_transport(self)->lost);
}

static PyObject *
get_high_water(PyObject *self, void *closure LM_UNUSED)
{
    return lm_marks_high(&lm_transport(self)->flow.marks);
}

static PyObject *
get_low_water(PyObject *self, void *closure LM_UNUSED)
{
    return lm_marks_low(&lm_transport(self)->flow.marks);
}

static PyObject *
transport_repr(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    const char *state = t->loop == NULL ? " closed" : t->is_closing ? " closing" : "";
    if (t->loop == NULL || t->loop->is_closed) {
        return PyUnicode_FromFormat("<%s%s fd=%d>", lm_type_name(Py_TYPE(self)), state,
                                    t->number);
    }
    return PyUnicode_FromFormat(
        "<%s%s fd=%d read=%s write=<%s, bufsize=%zu>>", lm_type_name(Py_TYPE(self)),
        state, t->number, t->reader.is_active ? "polling" : "idle",
        lm_transport_is_writing(t) ? "polling" : "idle", t->out.size);
}

static void
close_dropped(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *sock = t->sock;
    int fd = t->fd;
    t->sock = NULL;
    t->fd = -1;
    t->own_fd = &t->fd;
    lm_transport_note_owner(t);
    lm_readers_drop_owner(t->loop, fd, self);
    if (sock == NULL) {
        close(fd);
        return;
    }
    PyObject *done = PyObject_CallMethodNoArgs(sock, t->st->str.close);
    if (done == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(done);
    Py_DECREF(sock);
}

/* Dropped without being closed: said, as asyncio does, and the socket closed. */
static void
transport_finalize(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->loop == NULL || t->fd < 0) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    lm_fault_unclosed(t->st, self);
    /* Who is shown the warning is given the transport. */
    if (t->loop != NULL && t->fd >= 0) {
        close_dropped(self);
    }
    if (lm_transport_leave_server(self) < 0) {
        PyErr_WriteUnraisable(self);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

static int
transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmTransport *t = lm_transport(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(t->loop);
    Py_VISIT(t->protocol);
    Py_VISIT(t->server);
    Py_VISIT(t->sock);
    Py_VISIT(t->extra);
    Py_VISIT(t->context);
    Py_VISIT(t->read_context);
    if (t->writer != NULL) {
        Py_VISIT(t->writer->context);
    }
    Py_VISIT(t->empty_waiter);
    Py_VISIT(t->flow.marks.given);
    Py_VISIT(t->dict);
    return t->kind != NULL && t->kind->traverse != NULL
               ? t->kind->traverse(self, visit, arg)
               : 0;
}

/* The loop, the server and the descriptor stay: what is still scheduled for the
   transport needs them. */
static int
transport_clear(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    t->extra_state = LM_EXTRA_GIVEN;
    Py_CLEAR(t->extra);
    Py_CLEAR(t->empty_waiter);
    Py_CLEAR(t->dict);
    if (t->fd < 0) {
        Py_CLEAR(t->protocol);
    }
    return 0;
}

static void
transport_dealloc(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->fd >= 0 && t->loop != NULL && PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (t->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (t->loop != NULL) {
        lm_transport_stop_both(t);
    }
    if (t->server != NULL) {
        lm_list_remove(&t->server_link);
    }
    transport_clear(self);
    lm_outbuf_clear(&t->out);
    Py_CLEAR(t->protocol);
    Py_CLEAR(t->server);
    Py_CLEAR(t->sock);
    Py_CLEAR(t->flow.marks.given);
    Py_CLEAR(t->context);
    Py_CLEAR(t->read_context);
    if (t->writer != NULL) {
        Py_CLEAR(t->writer->context);
        PyMem_Free(t->writer);
    }
    PyMem_Free(t->ends);
    if (t->kind->release != NULL) {
        t->kind->release(self);
    }
    LmLoop *loop = t->loop;
    lm_state_free_instance(t->st, self);
    Py_XDECREF(loop);
}

static PyMethodDef transport_methods[] = {
    {"close", method_close, METH_NOARGS,
     LM_DOC("close($self)",
            "Stop reading, send what is queued, then call connection_lost(None).")},
    {"abort", method_abort, METH_NOARGS,
     LM_DOC("abort($self)",
            "Drop what is queued and call connection_lost(None) in the next turn.")},
    {"is_closing", method_is_closing, METH_NOARGS,
     LM_DOC("is_closing($self)",
            "Return True once close() or abort() was called or the peer is gone.")},
    {"is_reading", method_is_reading, METH_NOARGS,
     LM_DOC("is_reading($self)", "Return True if neither paused nor closing.")},
    {"pause_reading", method_pause_reading, METH_NOARGS,
     LM_DOC("pause_reading($self)", "Read nothing until resume_reading().")},
    {"resume_reading", method_resume_reading, METH_NOARGS,
     LM_DOC("resume_reading($self)", "Read again after pause_reading().")},
    {"get_protocol", method_get_protocol, METH_NOARGS,
     LM_DOC("get_protocol($self)", "Return the protocol.")},
    {"set_protocol", LM_FASTCALL(method_set_protocol),
     LM_DOC("set_protocol($self, protocol)",
            "Deliver to another protocol from now on.")},
    {"get_write_buffer_size", method_get_write_buffer_size, METH_NOARGS,
     LM_DOC("get_write_buffer_size($self)", "Return how many bytes are queued.")},
    {"get_write_buffer_limits", method_get_write_buffer_limits, METH_NOARGS,
     LM_DOC("get_write_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"set_write_buffer_limits", LM_FASTCALL(method_set_write_buffer_limits),
     LM_DOC(
         "set_write_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, at which the protocol is told to pause and resume "
         "writing.\n\n"
         "Raises ValueError unless high >= low >= 0.")},
    {"get_extra_info", LM_FASTCALL(method_get_extra_info),
     LM_DOC(
         "get_extra_info($self, name, default=None)",
         "Return what is known of the connection by that name: 'socket', 'sockname', "
         "'peername'.")},
    {"_settle", method_settle, METH_O,
     LM_DOC(
         "_settle($self, is_exposed, /)",
         "Send what is joined; and join nothing from now on, if the number is told.")},
    {"_force_close", method_force_close, METH_O,
     LM_DOC("_force_close($self, exc, /)",
            "Drop what is queued; connection_lost(exc) in the next turn.")},
    {"_fatal_error", LM_FASTCALL(method_fatal_error),
     LM_DOC("_fatal_error($self, exc, message='Fatal error on transport')",
            "Report the exception and close with it.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef transport_getset[] = {
    {"_extra", lm_transport_get_extra, lm_transport_set_extra, NULL, NULL},
    {"_loop", get_loop, NULL, NULL, NULL},
    {"_protocol", get_protocol, NULL, NULL, NULL},
    {"_protocol_connected", get_connected, NULL, NULL, NULL},
    {"_server", get_server, NULL, NULL, NULL},
    {"_sock", get_sock, NULL, NULL, NULL},
    {"_sock_fd", get_fd, NULL, NULL, NULL},
    {"_closing", get_closing, NULL, NULL, NULL},
    {"_paused", get_paused, NULL, NULL, NULL},
    {"_conn_lost", get_conn_lost, NULL, NULL, NULL},
    {"_protocol_paused", get_protocol_paused, NULL, NULL, NULL},
    {"_high_water", get_high_water, NULL, NULL, NULL},
    {"_low_water", get_low_water, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyObject *
lm_transport_type_new(PyObject *module, const LmTransportTypeSpec *spec,
                      PyObject *bases)
{
    PyType_Slot slots[10] = {
        {Py_tp_doc, (void *)spec->doc},       {Py_tp_dealloc, transport_dealloc},
        {Py_tp_finalize, transport_finalize}, {Py_tp_traverse, transport_traverse},
        {Py_tp_clear, transport_clear},       {Py_tp_repr, transport_repr},
        {Py_tp_methods, spec->methods},       {Py_tp_getset, spec->getset},
    };
    if (spec->members != NULL) {
        slots[8] = (PyType_Slot){Py_tp_members, spec->members};
    }
    PyType_Spec type_spec = {
        .name = spec->name,
        .basicsize = (int)(lm_transport_offset + (Py_ssize_t)spec->size),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_DISALLOW_INSTANTIATION | spec->flags,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, bases);
    if (type != NULL &&
        PyModule_AddObjectRef(module, lm_type_name(lm_type(type)), type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

int
lm_transport_init(PyObject *module, LmState *st)
{
    st->asyncio_BufferedProtocol = lm_state_import("asyncio", "BufferedProtocol");
    st->asyncio_FlowControlMixin =
        lm_state_import("asyncio.transports", "_FlowControlMixin");
    st->socket_class = lm_state_import("socket", "socket");
    st->TransportSocket = lm_state_import("asyncio.trsock", "TransportSocket");
    if (!st->asyncio_BufferedProtocol || !st->asyncio_FlowControlMixin ||
        !st->socket_class || !st->TransportSocket || lm_sock_fd_init(st) < 0) {
        return -1;
    }
    lm_transport_offset =
        (lm_type(st->asyncio_FlowControlMixin)->tp_basicsize + 7) & ~(Py_ssize_t)7;
    PyMemberDef members[] = {
        LM_DICT_MEMBERS(LmTransport, dict, weakrefs, lm_transport_offset),
        {NULL, 0, 0, 0, NULL},
    };
    LmTransportTypeSpec spec = {
        .name = "loopmod._loopmod._Transport",
        .doc = "What all transports over a socket share.",
        .size = sizeof(LmTransport),
        .methods = transport_methods,
        .getset = transport_getset,
        .members = members,
        .flags = Py_TPFLAGS_BASETYPE,
    };
    st->TransportType =
        lm_transport_type_new(module, &spec, st->asyncio_FlowControlMixin);
    return st->TransportType != NULL ? 0 : -1;
}
