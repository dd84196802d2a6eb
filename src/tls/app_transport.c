/* The SSLTransport type: what the application writes to. Its state is the connection's
   (tls.h); each method works on a lost connection too, and behind the second close(),
   which lets go of the connection, as asyncio's does: so a protocol that keeps its
   transport keeps no more than that. */
#include "tls/tls.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/fault.h"
#include "net/flow.h"
#include "net/transport_extra.h"

/* Stands behind the fields of asyncio's _FlowControlMixin. */
typedef struct {
    LmTls *tls; /* NULL behind the second close() */
    LmLoop *loop;
    PyObject *dict;
    PyObject *weakrefs;
    uint8_t is_closed;
} AppTransport;

static Py_ssize_t app_transport_offset;

static AppTransport *
app(PyObject *self)
{
    return (AppTransport *)((char *)self + app_transport_offset);
}

PyObject *
lm_app_transport_new(LmTls *p)
{
    PyTypeObject *type = lm_type(p->st->SSLTransportType);
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        app(self)->tls = (LmTls *)Py_NewRef(p);
        app(self)->loop = (LmLoop *)Py_NewRef(p->loop);
    }
    return self;
}

void
lm_app_transport_mark_closed(PyObject *self)
{
    app(self)->is_closed = 1;
}

/* Ends a method that the connection may lose this transport in, which would be its last
   reference: the caller holds one of its own. */
static PyObject *
let_go(LmTls *p, int failed)
{
    Py_DECREF(p);
    return lm_none_if(failed);
}

static PyObject *
method_write(PyObject *self, PyObject *data)
{
    LmTls *p = app(self)->tls;
    if (LM_LIKELY(PyBytes_CheckExact(data) && p != NULL)) {
        size_t size = (size_t)PyBytes_GET_SIZE(data);
        Py_INCREF(p);
        return let_go(
            p, size == 0 ? 0 : lm_tls_write(p, data, PyBytes_AS_STRING(data), size));
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        return PyErr_Format(PyExc_TypeError,
                            "data: expecting a bytes-like instance, got %s",
                            lm_type_name(Py_TYPE(data)));
    }
    Py_buffer view;
    Py_XINCREF(p); /* __buffer__ may close */
    int failed = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    if (failed == 0) {
        if (view.len > 0 && p != NULL) {
            failed = lm_tls_write(p, data, view.buf, (size_t)view.len);
        }
        PyBuffer_Release(&view);
    }
    Py_XDECREF(p);
    return lm_none_if(failed);
}

static PyObject *
method_writelines(PyObject *self, PyObject *pieces)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls);
    return let_go(p, lm_tls_writelines(p, pieces));
}

static PyObject *
method_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    PyErr_SetNone(PyExc_NotImplementedError);
    return NULL;
}

static PyObject *
method_can_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    Py_RETURN_FALSE;
}

static PyObject *
method_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->is_closed) {
        Py_CLEAR(app(self)->tls);
        Py_RETURN_NONE;
    }
    app(self)->is_closed = 1;
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls);
    return let_go(p, lm_tls_start_shutdown(p));
}

static int
force_close(PyObject *self, PyObject *exc)
{
    if (app(self)->tls == NULL) {
        return 0;
    }
    app(self)->is_closed = 1;
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls);
    int failed = lm_tls_abort(p, exc);
    Py_DECREF(p);
    return failed;
}

static PyObject *
method_abort(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(force_close(self, Py_None));
}

static PyObject *
method_force_close(PyObject *self, PyObject *exc)
{
    return lm_none_if(force_close(self, exc));
}

static PyObject *
method_is_closing(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_TRUE;
    }
    LmTls *p = app(self)->tls;
    if (app(self)->is_closed || p->transport == NULL) {
        return PyBool_FromLong(app(self)->is_closed);
    }
    if (p->is_direct) {
        return PyBool_FromLong(lm_transport(p->transport)->is_closing);
    }
    PyObject *transport = Py_NewRef(p->transport);
    PyObject *answer = PyObject_CallMethod(transport, "is_closing", NULL);
    Py_DECREF(transport);
    return answer;
}

static PyObject *
method_is_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong(!app(self)->tls->app_reading_paused);
}

static PyObject *
method_pause_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    return lm_none_if(lm_tls_pause_reading(app(self)->tls));
}

static PyObject *
method_resume_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls);
    return let_go(p, lm_tls_resume_reading(p));
}

static PyObject *
method_get_protocol(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *protocol = app(self)->tls->app_protocol;
    return Py_NewRef(protocol != NULL ? protocol : Py_None);
}

static PyObject *
method_set_protocol(PyObject *self, PyObject *protocol)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    LmTls *p = app(self)->tls;
    Py_INCREF(p);
    return let_go(p, lm_tls_set_app_protocol(p, protocol));
}

static PyObject *
method_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    PyObject *name, *fallback;
    if (lm_transport_extra_args(args, nargs, kwnames, &name, &fallback) < 0) {
        return NULL;
    }
    if (app(self)->tls == NULL) {
        return Py_NewRef(fallback);
    }
    PyObject *tls = Py_NewRef((PyObject *)app(self)->tls);
    PyObject *found = PyObject_CallMethod(tls, "_get_extra_info", "OO", name, fallback);
    Py_DECREF(tls);
    return found;
}

static int
set_marks(const char *function, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames, size_t usual, LmMarks *marks)
{
    static const char *const names[] = {"high", "low", NULL};
    PyObject *values[] = {Py_None, Py_None};
    return lm_args_parse(function, args, nargs, kwnames, 2, 0, names, values) < 0
               ? -1
               : lm_marks_set(marks, values[0], values[1], usual, 1);
}

static PyObject *
method_set_write_buffer_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls); /* a number may close */
    int failed = set_marks("set_write_buffer_limits", args, nargs, kwnames,
                           LM_TLS_HIGH_WATER_WRITE, &p->out_marks);
    return let_go(p, failed < 0 ? -1 : lm_tls_control_app_writing(p));
}

static PyObject *
method_set_read_buffer_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    LmTls *p = (LmTls *)Py_NewRef((PyObject *)app(self)->tls); /* a number may close */
    int failed = set_marks("set_read_buffer_limits", args, nargs, kwnames,
                           LM_TLS_HIGH_WATER_READ, &p->in_marks);
    return let_go(p, failed < 0 ? -1 : lm_tls_control_ssl_reading(p));
}

static PyObject *
method_get_write_buffer_limits(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    return lm_marks_show(&app(self)->tls->out_marks);
}

static PyObject *
method_get_read_buffer_limits(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    return lm_marks_show(&app(self)->tls->in_marks);
}

static PyObject *
method_get_write_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        return PyLong_FromLong(0);
    }
    return PyLong_FromSize_t(lm_tls_unsent(app(self)->tls));
}

static PyObject *
method_get_read_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        return PyLong_FromLong(0);
    }
    return PyLong_FromSize_t(app(self)->tls->in.size);
}

/* For asyncio's own tests, which fill the backlog behind the connection's back. */
static PyObject *
method_append_write_backlog(PyObject *self, PyObject *data)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    Py_buffer view;
    LmTls *p =
        (LmTls *)Py_NewRef((PyObject *)app(self)->tls); /* __buffer__ may close */
    int failed = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    if (failed == 0) {
        failed = lm_outbuf_add(&p->backlog, data, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    return let_go(p, failed);
}

static PyObject *
get_tls(PyObject *self, void *closure LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_NONE;
    }
    return Py_NewRef((PyObject *)app(self)->tls);
}

static PyObject *
get_loop(PyObject *self, void *closure LM_UNUSED)
{
    return Py_NewRef(app(self)->loop);
}

static PyObject *
get_closed(PyObject *self, void *closure LM_UNUSED)
{
    return PyBool_FromLong(app(self)->is_closed);
}

/* asyncio's sendfile waits by it. */
static PyObject *
get_protocol_paused(PyObject *self, void *closure LM_UNUSED)
{
    if (app(self)->tls == NULL) {
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong(app(self)->tls->app_writing_paused);
}

/* Dropped without being closed: said, as asyncio does. */
static void
app_transport_finalize(PyObject *self)
{
    if (app(self)->is_closed || app(self)->tls == NULL) {
        return;
    }
    app(self)->is_closed = 1;
    PyObject *exc = PyErr_GetRaisedException();
    lm_fault_unclosed(app(self)->tls->st, self);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

static int
app_transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(app(self)->tls);
    Py_VISIT(app(self)->loop);
    Py_VISIT(app(self)->dict);
    return 0;
}

static int
app_transport_clear(PyObject *self)
{
    Py_CLEAR(app(self)->dict);
    return 0;
}

static void
app_transport_dealloc(PyObject *self)
{
    if (PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (app(self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    Py_CLEAR(app(self)->dict);
    Py_CLEAR(app(self)->tls);
    Py_CLEAR(app(self)->loop);
    lm_free_instance(self);
}

static PyMethodDef app_transport_methods[] = {
    {"write", method_write, METH_O,
     LM_DOC("write($self, data, /)",
            "Encrypt and send bytes; what the connection does not take now is "
            "queued.\n\ndata: bytes, bytearray or memoryview, else TypeError. Loop's "
            "thread "
            "only. Implements asyncio.WriteTransport.write.")},
    {"writelines", method_writelines, METH_O,
     LM_DOC("writelines($self, list_of_data, /)",
            "Send several pieces in as few records as they fit into.\n\nImplements "
            "asyncio.WriteTransport.writelines.")},
    {"write_eof", method_write_eof, METH_NOARGS,
     LM_DOC("write_eof($self)",
            "Raise NotImplementedError: TLS has no half-close here.")},
    {"can_write_eof", method_can_write_eof, METH_NOARGS,
     LM_DOC("can_write_eof($self)", "Return False.")},
    {"close", method_close, METH_NOARGS,
     LM_DOC("close($self)",
            "Send what is queued, exchange the ends of the stream with the "
            "peer, then call connection_lost.")},
    {"abort", method_abort, METH_NOARGS,
     LM_DOC("abort($self)", "Close at once; what is queued is lost.")},
    {"is_closing", method_is_closing, METH_NOARGS,
     LM_DOC("is_closing($self)",
            "Return True once close() or abort() was called or the peer is gone.")},
    {"is_reading", method_is_reading, METH_NOARGS,
     LM_DOC("is_reading($self)", "Return True unless paused.")},
    {"pause_reading", method_pause_reading, METH_NOARGS,
     LM_DOC("pause_reading($self)", "Deliver nothing until resume_reading().")},
    {"resume_reading", method_resume_reading, METH_NOARGS,
     LM_DOC("resume_reading($self)", "Deliver again after pause_reading().")},
    {"get_protocol", method_get_protocol, METH_NOARGS,
     LM_DOC("get_protocol($self)", "Return the protocol.")},
    {"set_protocol", method_set_protocol, METH_O,
     LM_DOC("set_protocol($self, protocol, /)",
            "Deliver to another protocol from now on.")},
    {"get_extra_info", LM_FASTCALL(method_get_extra_info),
     LM_DOC(
         "get_extra_info($self, name, default=None)",
         "Return sslcontext, ssl_object, peercert, cipher or compression, or what the "
         "transport below knows.")},
    {"set_write_buffer_limits", LM_FASTCALL(method_set_write_buffer_limits),
     LM_DOC(
         "set_write_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, at which the protocol is told to pause and resume "
         "writing.\n\nRaises ValueError unless high >= low >= 0.")},
    {"get_write_buffer_limits", method_get_write_buffer_limits, METH_NOARGS,
     LM_DOC("get_write_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"get_write_buffer_size", method_get_write_buffer_size, METH_NOARGS,
     LM_DOC("get_write_buffer_size($self)",
            "Return how many bytes have not gone to the transport below.")},
    {"set_read_buffer_limits", LM_FASTCALL(method_set_read_buffer_limits),
     LM_DOC(
         "set_read_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, between which the transport below reads while the "
         "protocol does not.\n\nRaises ValueError unless high >= low >= 0.")},
    {"get_read_buffer_limits", method_get_read_buffer_limits, METH_NOARGS,
     LM_DOC("get_read_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"get_read_buffer_size", method_get_read_buffer_size, METH_NOARGS,
     LM_DOC("get_read_buffer_size($self)",
            "Return how many bytes wait to be decrypted.")},
    {"_force_close", method_force_close, METH_O,
     LM_DOC("_force_close($self, exc, /)",
            "Close at once; connection_lost(exc) in the next turn.")},
    {"_test__append_write_backlog", method_append_write_backlog, METH_O,
     LM_DOC("_test__append_write_backlog($self, data, /)",
            "Queue bytes without sending, for tests.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef app_transport_getset[] = {
    {"_ssl_protocol", get_tls, NULL, NULL, NULL},
    {"_loop", get_loop, NULL, NULL, NULL},
    {"_closed", get_closed, NULL, NULL, NULL},
    {"_protocol_paused", get_protocol_paused, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static int
set_class_attributes(PyObject *type)
{
    PyObject *modes = lm_state_import("asyncio.constants", "_SendfileMode");
    PyObject *fallback =
        modes != NULL ? PyObject_GetAttrString(modes, "FALLBACK") : NULL;
    int failed = fallback == NULL ||
                 PyObject_SetAttrString(type, "_sendfile_compatible", fallback) < 0 ||
                 PyObject_SetAttrString(type, "_start_tls_compatible", Py_True) < 0;
    Py_XDECREF(modes);
    Py_XDECREF(fallback);
    return failed ? -1 : 0;
}

int
lm_app_transport_init(PyObject *module, LmState *st)
{
    app_transport_offset =
        (lm_type(st->asyncio_FlowControlMixin)->tp_basicsize + 7) & ~(Py_ssize_t)7;
    PyMemberDef members[] = {
        LM_DICT_MEMBERS(AppTransport, dict, weakrefs, app_transport_offset),
        {NULL, 0, 0, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, "The application's side of a TLS connection; made by the loop. "
                    "Implements asyncio.Transport."},
        {Py_tp_dealloc, app_transport_dealloc},
        {Py_tp_finalize, app_transport_finalize},
        {Py_tp_traverse, app_transport_traverse},
        {Py_tp_clear, app_transport_clear},
        {Py_tp_methods, app_transport_methods},
        {Py_tp_getset, app_transport_getset},
        {Py_tp_members, members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "loopmod._loopmod.SSLTransport",
        .basicsize = (int)(app_transport_offset + (Py_ssize_t)sizeof(AppTransport)),
        .flags =
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    st->SSLTransportType =
        PyType_FromModuleAndSpec(module, &spec, st->asyncio_FlowControlMixin);
    if (st->SSLTransportType == NULL ||
        set_class_attributes(st->SSLTransportType) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "SSLTransport", st->SSLTransportType);
}
