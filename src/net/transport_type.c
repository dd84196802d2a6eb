/* The Python types of transports: the slots that all of them share, and _Transport, the
   base of those over a socket, with what it adds to transport_methods.h. Each method works
   on a closed transport too. */
#include "net/transport_type.h"

#include "base/args.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "core/inbox.h"
#include "net/join.h"
#include "net/readers.h"
#include "net/server.h"
#include "net/transport_extra.h"
#include "net/transport_methods.h"

#include <unistd.h>

static PyObject *
transport_method_force_close(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_transport_force_close(self, exc));
}

static PyObject *
transport_method_fatal_error(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
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
transport_method_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *name, *fallback;
    if (lm_transport_extra_args(args, nargs, kwnames, &name, &fallback) < 0) {
        return NULL;
    }
    return lm_transport_extra_info(self, name, fallback);
}

static PyObject *
transport_method_settle(PyObject *self, PyObject *is_exposed)
{
    return lm_none_if(is_exposed == Py_True ? lm_join_expose(self)
                                            : lm_transport_settle(self));
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
    if (lm_transport_settle(self) < 0) {
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

LM_GETTER(get_conn_lost, LmTransport *t = lm_transport(self),
          PyLong_FromUnsignedLong(t->lost))
LM_GETTER(get_connected, LmTransport *t = lm_transport(self),
          PyBool_FromLong(t->protocol != NULL))

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

/* Whether there is something to close: of a pipe its file object, if nobody took it, even
   one that was given to it after its end. */
static int
is_open(const LmTransport *t)
{
    return t->kind->is_files ? t->sock != NULL : t->loop != NULL && t->fd >= 0;
}

/* What was taken out of a dropped transport, to be closed. */
typedef struct {
    PyObject *sock;
    int fd;
} Opened;

static void
take_out(PyObject *self, Opened *opened)
{
    LmTransport *t = lm_transport(self);
    *opened = (Opened){t->sock, t->fd};
    t->sock = NULL;
    t->fd = -1;
    t->own_fd = &t->fd;
    lm_transport_note_owner(t);
    if (t->loop != NULL) {
        lm_readers_drop_owner(t->loop, opened->fd, self);
    }
}

/* The last reference goes in any thread; what is taken is the loop's, whose table of
   descriptors has it too. 1 where it is open, and taken out where `opened` is given; 0 where
   not; -1 where another thread has the loop. */
static int
look_at_open(PyObject *self, Opened *opened)
{
    LmLoop *loop = lm_transport_owner(self);
    int is_taken = loop != NULL ? lm_owner_begin_short(loop) : 0;
    if (is_taken < 0) {
        return -1;
    }
    int was_open = is_open(lm_transport(self));
    if (was_open && opened != NULL) {
        take_out(self, opened);
    }
    if (is_taken > 0) {
        lm_owner_end_short(loop);
    }
    return was_open;
}

static void
close_opened(PyObject *self, const Opened *opened)
{
    if (opened->sock == NULL) {
        close(opened->fd);
        return;
    }
    PyObject *done =
        PyObject_CallMethodNoArgs(opened->sock, lm_transport(self)->st->str.close);
    if (done == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(done);
    Py_DECREF(opened->sock);
}

/* Said, as asyncio does, and the socket closed. -1 where another thread has the loop. */
static int
end_dropped(PyObject *self)
{
    Opened opened;
    int was_open = look_at_open(self, NULL);
    if (was_open <= 0) {
        return was_open;
    }
    /* Who is shown the warning is given the transport. */
    lm_fault_unclosed(lm_transport(self)->st, self);
    was_open = look_at_open(self, &opened);
    if (was_open > 0) {
        close_opened(self, &opened);
    }
    if (was_open >= 0 && lm_transport_leave_server(self) < 0) {
        PyErr_WriteUnraisable(self);
    }
    return was_open;
}

#if LM_FREE_THREADED
/* Ready-queue function. */
static int
end_dropped_at_home(LmLoop *loop LM_UNUSED, PyObject *self)
{
    end_dropped(self);
    Py_DECREF(self);
    return 0;
}
#endif

/* Dropped without being closed; or __del__ was called, in any thread. Where it is left to its
   loop it lives until that has done it, so that tp_dealloc finds nothing of the loop's. */
static void
transport_finalize(PyObject *self)
{
    PyObject *exc = lm_exc_hold();
    int failed = end_dropped(self);
#if LM_FREE_THREADED
    if (failed < 0 && lm_inbox_push(lm_transport_owner(self), end_dropped_at_home,
                                    Py_NewRef(self)) < 0) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
            Py_INCREF(
                self); /* for ever, rather than that it is found when it is dead */
        }
        PyErr_Clear(); /* a closed loop knows no descriptors */
    }
#else
    (void)failed;
#endif
    lm_exc_restore(exc);
}

static int
transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmTransport *t = lm_transport(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(t->loop);
#if LM_FREE_THREADED
    Py_VISIT(t->home);
#endif
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
    Py_XDECREF(lm_shared_swap(self, &t->extra, NULL));
    Py_CLEAR(t->empty_waiter);
    Py_CLEAR(t->dict);
    if (t->fd < 0) {
        Py_XDECREF(lm_shared_swap(self, &t->protocol, NULL));
    }
    return 0;
}

static void
transport_dealloc(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (is_open(t) && PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (LM_FREE_THREADED && is_open(t) && t->sock == NULL) {
        close(t->fd); /* its loop was closed before it came to it */
    }
    if (t->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (t->loop != NULL) {
        lm_transport_stop_both(t);
    }
    if (t->server != NULL) {
        lm_server_forget(t->server, &t->server_link);
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
#if LM_FREE_THREADED
    LmLoop *home = t->home;
    lm_state_free_instance(t->st, self);
    Py_XDECREF(home);
#else
    lm_state_free_instance(t->st, self);
#endif
    Py_XDECREF(loop);
}

LM_OWNED_REPR(transport_repr, lm_transport_owner)
LM_OWNED_METHOD(transport_method_settle, lm_transport_owner)
LM_OWNED_METHOD(transport_method_force_close, lm_transport_owner)
LM_OWNED_FASTCALL_ELSE(transport_method_get_extra_info, lm_transport_owner,
                       lm_transport_see_extra_info)
LM_OWNED_FASTCALL(transport_method_fatal_error, lm_transport_owner)
LM_OWNED_SHOWN(lm_transport_get_extra, lm_transport_owner)
LM_OWNED_SETTER(lm_transport_set_extra, lm_transport_owner)
LM_OWNED_SHOWN(get_server, lm_transport_owner)
LM_OWNED_SHOWN(get_conn_lost, lm_transport_owner)
LM_OWNED_SHOWN(get_connected, lm_transport_owner)
LM_OWNED_SHOWN(get_sock, lm_transport_owner)
LM_OWNED_SHOWN(get_fd, lm_transport_owner)

static PyMethodDef transport_methods[] = {
    LM_TRANSPORT_METHODS,
    LM_TRANSPORT_READ_METHODS,
    LM_TRANSPORT_WRITE_METHODS,
    {"get_extra_info", LM_FASTCALL(LM_OWNED(transport_method_get_extra_info)),
     LM_DOC(
         "get_extra_info($self, name, default=None)",
         "Return what is known of the connection by that name: 'socket', 'sockname', 'peername'.")},
    {"_settle", LM_OWNED(transport_method_settle), METH_O,
     LM_DOC(
         "_settle($self, is_exposed, /)",
         "Send what is joined; and join nothing from now on, if the number is told.")},
    {"_force_close", LM_OWNED(transport_method_force_close), METH_O,
     LM_DOC("_force_close($self, exc, /)",
            "Drop what is queued; connection_lost(exc) in the next turn.")},
    {"_fatal_error", LM_FASTCALL(LM_OWNED(transport_method_fatal_error)),
     LM_DOC("_fatal_error($self, exc, message='Fatal error on transport')",
            "Report the exception and close with it.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef transport_getset[] = {
    LM_TRANSPORT_GETSET,
    LM_TRANSPORT_READ_GETSET,
    LM_TRANSPORT_WRITE_GETSET,
    {"_extra", LM_OWNED(lm_transport_get_extra), LM_OWNED(lm_transport_set_extra), NULL,
     NULL},
    {"_protocol_connected", LM_OWNED(get_connected), NULL, NULL, NULL},
    {"_server", LM_OWNED(get_server), NULL, NULL, NULL},
    {"_sock", LM_OWNED(get_sock), NULL, NULL, NULL},
    {"_sock_fd", LM_OWNED(get_fd), NULL, NULL, NULL},
    {"_conn_lost", LM_OWNED(get_conn_lost), NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyObject *
lm_transport_type_new(PyObject *module, const LmTransportTypeSpec *spec,
                      PyObject *bases)
{
    PyMemberDef members[] = {
        LM_DICT_MEMBERS(LmTransport, dict, weakrefs, lm_transport_offset),
        {NULL, 0, 0, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)spec->doc},
        {Py_tp_dealloc, transport_dealloc},
        {Py_tp_finalize, transport_finalize},
        {Py_tp_traverse, transport_traverse},
        {Py_tp_clear, transport_clear},
        {Py_tp_repr, spec->repr != NULL ? spec->repr : LM_OWNED(transport_repr)},
        {Py_tp_methods, spec->methods},
        {Py_tp_getset, spec->getset},
        {spec->has_our_base ? 0 : Py_tp_members, members},
        {0, NULL},
    };
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
    lm_offset_keep(&lm_transport_offset,
                   lm_offset_behind(st->asyncio_FlowControlMixin));
    LmTransportTypeSpec spec = {
        .name = "loopmod._loopmod._Transport",
        .doc = "What all transports over a socket share.",
        .size = sizeof(LmTransport),
        .methods = transport_methods,
        .getset = transport_getset,
        .flags = Py_TPFLAGS_BASETYPE,
    };
    st->TransportType =
        lm_transport_type_new(module, &spec, st->asyncio_FlowControlMixin);
    return st->TransportType != NULL ? 0 : -1;
}
