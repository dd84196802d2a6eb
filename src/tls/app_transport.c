/* The SSLTransport type: what the application writes to. Its state is the connection's
   (tls.h); each method works on a lost connection too, and behind the second close(),
   which lets go of the connection, as asyncio's does: so a protocol that keeps its
   transport keeps no more than that. */
#include "tls/phase.h"

#include "base/args.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/fault.h"
#include "core/owner.h"
#include "net/flow.h"
#include "net/transport_extra.h"

/* Stands behind the fields of asyncio's _FlowControlMixin. */
typedef struct {
    LmTls *tls; /* NULL behind the second close() */
    LmLoop *loop;
    PyObject *dict;
    PyObject *weakrefs;
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

/* Around a method that may lose the connection, whose last reference could be ours: the
   connection, or NULL; and the end, with what is returned. */
static LmTls *
app_hold(PyObject *self)
{
    AppTransport *t = app(self);
    return lm_owner_is_home(t->loop)
               ? (LmTls *)Py_XNewRef(t->tls)
               : (LmTls *)lm_shared_get(self, (PyObject **)&t->tls);
}

static PyObject *
app_release(LmTls *p, int failed)
{
    Py_XDECREF(p);
    return lm_none_if(failed);
}

/* The end of a method that returns what it found, or None. */
static PyObject *
app_answer(LmTls *p, PyObject *found)
{
    Py_XDECREF(p);
    return found != NULL || PyErr_Occurred() ? found : Py_NewRef(Py_None);
}

#define APP_SHOWS(name, found)                                   \
    static PyObject *name(PyObject *self, PyObject *u LM_UNUSED) \
    {                                                            \
        LmTls *p = app_hold(self);                               \
        return app_answer(p, p != NULL ? (found) : NULL);        \
    }

static int
is_app_closed(PyObject *self)
{
    LmTls *p = app_hold(self);
    int is_closed = p == NULL || LM_LOAD(p->app.is_closed);
    Py_XDECREF(p);
    return is_closed;
}

static PyObject *
app_write(PyObject *self, PyObject *data)
{
    LmTls *p = app_hold(self);
    if (LM_LIKELY(PyBytes_CheckExact(data) && p != NULL)) {
        size_t size = (size_t)PyBytes_GET_SIZE(data);
        return app_release(
            p, size == 0 ? 0 : lm_tls_write(p, data, PyBytes_AS_STRING(data), size));
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError, "data: expecting a bytes-like instance, got %s",
                     lm_type_name(Py_TYPE(data)));
        return app_release(p, -1);
    }
    Py_buffer view;
    int failed = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE); /* may close */
    if (failed == 0) {
        if (view.len > 0 && p != NULL) {
            failed = lm_tls_write(p, data, view.buf, (size_t)view.len);
        }
        PyBuffer_Release(&view);
    }
    return app_release(p, failed);
}

static PyObject *
app_writelines(PyObject *self, PyObject *pieces)
{
    LmTls *p = app_hold(self);
    return app_release(p, p != NULL ? lm_tls_writelines(p, pieces) : 0);
}

static PyObject *
app_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    PyErr_SetNone(PyExc_NotImplementedError);
    return NULL;
}

static PyObject *
app_can_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    Py_RETURN_FALSE;
}

static PyObject *
app_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (is_app_closed(self)) {
        Py_XDECREF(lm_shared_swap(self, (PyObject **)&app(self)->tls, NULL));
        Py_RETURN_NONE;
    }
    LmTls *p = app_hold(self);
    LM_STORE(p->app.is_closed, 1);
    return app_release(p, lm_tls_start_shutdown(p));
}

static PyObject *
app_force_close(PyObject *self, PyObject *exc)
{
    LmTls *p = app_hold(self);
    if (p == NULL) {
        Py_RETURN_NONE;
    }
    LM_STORE(p->app.is_closed, 1);
    return app_release(p, lm_tls_abort(p, exc));
}

static PyObject *
app_abort(PyObject *self, PyObject *unused LM_UNUSED)
{
    return app_force_close(self, Py_None);
}

static PyObject *
app_is_closing(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = app_hold(self);
    PyObject *answer = p == NULL || LM_LOAD(p->app.is_closed)
                           ? Py_NewRef(Py_True)
                           : lm_tls_below_is_closing(&p->below, (PyObject *)p);
    Py_XDECREF(p);
    return answer;
}

static PyObject *
app_is_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = app_hold(self);
    return app_answer(p, PyBool_FromLong(p && !LM_LOAD(p->app.is_reading_paused)));
}

static PyObject *
app_pause_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (app(self)->tls != NULL) {
        LM_STORE(app(self)->tls->app.is_reading_paused, 1);
    }
    Py_RETURN_NONE;
}

static PyObject *
app_resume_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = app_hold(self);
    int failed = 0;
    if (p != NULL && p->app.is_reading_paused) {
        LM_STORE(p->app.is_reading_paused, 0);
        failed = lm_tls_resume_soon(p);
    }
    return app_release(p, failed);
}

APP_SHOWS(app_get_protocol, lm_shared_get((PyObject *)p, &p->app.protocol))
static PyObject *
app_set_protocol(PyObject *self, PyObject *protocol)
{
    LmTls *p = app_hold(self);
    return app_release(p, p != NULL ? lm_tls_app_set_protocol(p, protocol) : 0);
}

static PyObject *
app_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    PyObject *name, *fallback;
    if (lm_transport_extra_args(args, nargs, kwnames, &name, &fallback) < 0) {
        return NULL;
    }
    LmTls *p = app_hold(self);
    PyObject *found = p != NULL ? PyObject_CallMethod((PyObject *)p, "_get_extra_info",
                                                      "OO", name, fallback)
                                : Py_NewRef(fallback);
    Py_XDECREF(p);
    return found;
}

static int
set_app_marks(LmTls *p, const char *function, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames, size_t usual, LmMarks *marks)
{
    static const char *const names[] = {"high", "low", NULL};
    PyObject *values[] = {Py_None, Py_None};
    int failed = lm_args_parse(function, args, nargs, kwnames, 2, 0, names, values);
    LM_BEGIN_SECTION(p)
    failed = failed < 0 ? -1 : lm_marks_set(marks, values[0], values[1], usual, 1);
    LM_END_SECTION
    return failed;
}

static PyObject *
app_set_write_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    LmTls *p = app_hold(self); /* a number may close */
    int failed = 0;
    if (p != NULL) {
        failed = set_app_marks(p, "set_write_buffer_limits", args, nargs, kwnames,
                               LM_TLS_HIGH_WATER_WRITE, &p->out.marks);
        failed = failed < 0 ? -1 : lm_tls_app_control_writing(p);
    }
    return app_release(p, failed);
}

static PyObject *
app_set_read_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    LmTls *p = app_hold(self); /* a number may close */
    int failed = 0;
    if (p != NULL) {
        failed = set_app_marks(p, "set_read_buffer_limits", args, nargs, kwnames,
                               LM_TLS_HIGH_WATER_READ, &p->in.marks);
        failed = failed < 0 ? -1 : lm_tls_control_input(p);
    }
    return app_release(p, failed);
}

APP_SHOWS(app_get_write_limits, lm_marks_see((PyObject *)p, &p->out.marks))

APP_SHOWS(app_get_read_limits, lm_marks_see((PyObject *)p, &p->in.marks))
static PyObject *
app_get_write_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = app_hold(self);
    return app_answer(p, PyLong_FromSize_t(p != NULL ? lm_tls_unsent(p) : 0));
}

static PyObject *
app_get_read_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = app_hold(self);
    return app_answer(p, PyLong_FromSize_t(p != NULL ? LM_LOAD(p->in.raw.size) : 0));
}

/* For asyncio's own tests, which fill the backlog behind the connection's back. */
static PyObject *
app_append_backlog(PyObject *self, PyObject *data)
{
    LmTls *p = app_hold(self); /* __buffer__ may close */
    Py_buffer view;
    if (p == NULL) {
        Py_RETURN_NONE;
    }
    int failed = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    if (failed == 0) {
        failed = lm_outbuf_add(&p->out.backlog, data, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    return app_release(p, failed);
}

LM_GETTER(app_get_tls, AppTransport *t = app(self), lm_none_or((PyObject *)t->tls))
LM_GETTER(app_get_loop, AppTransport *t = app(self), Py_NewRef(t->loop))
LM_GETTER(app_get_closed, int is_closed = is_app_closed(self),
          PyBool_FromLong(is_closed))

/* asyncio's sendfile waits by it. */
static PyObject *
app_get_protocol_paused(PyObject *self, void *closure LM_UNUSED)
{
    LmTls *p = app_hold(self);
    return app_answer(p,
                      PyBool_FromLong(p != NULL && LM_LOAD(p->app.is_writing_paused)));
}

/* Dropped without being closed: said, as asyncio does. */
static void
app_transport_finalize(PyObject *self)
{
    if (is_app_closed(self)) {
        return;
    }
    LM_STORE(app(self)->tls->app.is_closed, 1);
    PyObject *exc = PyErr_GetRaisedException();
    lm_fault_unclosed(app(self)->tls->st, self);
    lm_exc_put_back(exc);
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

#define app_owner(self) app(self)->loop
LM_OWNED_METHOD(app_write, app_owner)
LM_OWNED_METHOD(app_writelines, app_owner)
LM_OWNED_METHOD(app_write_eof, app_owner)
LM_OWNED_METHOD(app_close, app_owner)
LM_OWNED_METHOD(app_abort, app_owner)
LM_OWNED_METHOD(app_pause_reading, app_owner)
LM_OWNED_METHOD(app_resume_reading, app_owner)
LM_OWNED_METHOD(app_set_protocol, app_owner)
LM_OWNED_METHOD(app_force_close, app_owner)
LM_OWNED_METHOD(app_append_backlog, app_owner)
LM_OWNED_FASTCALL(app_set_write_limits, app_owner)
LM_OWNED_FASTCALL(app_set_read_limits, app_owner)
LM_OWNED_SHOWN(app_get_tls, app_owner)

static PyMethodDef app_transport_methods[] = {
    {"write", LM_OWNED(app_write), METH_O,
     LM_DOC(
         "write($self, data, /)",
         "Encrypt and send bytes; what the connection does not take now is queued.\n\n"
         "data: bytes, bytearray or memoryview, else TypeError. Loop's thread only. "
         "Implements asyncio.WriteTransport.write.")},
    {"writelines", LM_OWNED(app_writelines), METH_O,
     LM_DOC("writelines($self, list_of_data, /)",
            "Send several pieces in as few records as they fit into.\n\n"
            "Implements asyncio.WriteTransport.writelines.")},
    {"write_eof", LM_OWNED(app_write_eof), METH_NOARGS,
     LM_DOC("write_eof($self)",
            "Raise NotImplementedError: TLS has no half-close here.")},
    {"can_write_eof", app_can_write_eof, METH_NOARGS,
     LM_DOC("can_write_eof($self)", "Return False.")},
    {"close", LM_OWNED(app_close), METH_NOARGS,
     LM_DOC("close($self)",
            "Send what is queued, exchange the ends of the stream with the peer, then "
            "call connection_lost.")},
    {"abort", LM_OWNED(app_abort), METH_NOARGS,
     LM_DOC("abort($self)", "Close at once; what is queued is lost.")},
    {"is_closing", app_is_closing, METH_NOARGS,
     LM_DOC("is_closing($self)",
            "Return True once close() or abort() was called or the peer is gone.")},
    {"is_reading", app_is_reading, METH_NOARGS,
     LM_DOC("is_reading($self)", "Return True unless paused.")},
    {"pause_reading", LM_OWNED(app_pause_reading), METH_NOARGS,
     LM_DOC("pause_reading($self)", "Deliver nothing until resume_reading().")},
    {"resume_reading", LM_OWNED(app_resume_reading), METH_NOARGS,
     LM_DOC("resume_reading($self)", "Deliver again after pause_reading().")},
    {"get_protocol", app_get_protocol, METH_NOARGS,
     LM_DOC("get_protocol($self)", "Return the protocol.")},
    {"set_protocol", LM_OWNED(app_set_protocol), METH_O,
     LM_DOC("set_protocol($self, protocol, /)",
            "Deliver to another protocol from now on.")},
    {"get_extra_info", LM_FASTCALL(app_get_extra_info),
     LM_DOC(
         "get_extra_info($self, name, default=None)",
         "Return sslcontext, ssl_object, peercert, cipher or compression, or what the "
         "transport below knows.")},
    {"set_write_buffer_limits", LM_FASTCALL(LM_OWNED(app_set_write_limits)),
     LM_DOC(
         "set_write_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, at which the protocol is told to pause and resume "
         "writing.\n\n"
         "Raises ValueError unless high >= low >= 0.")},
    {"get_write_buffer_limits", app_get_write_limits, METH_NOARGS,
     LM_DOC("get_write_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"get_write_buffer_size", app_get_write_size, METH_NOARGS,
     LM_DOC("get_write_buffer_size($self)",
            "Return how many bytes have not gone to the transport below.")},
    {"set_read_buffer_limits", LM_FASTCALL(LM_OWNED(app_set_read_limits)),
     LM_DOC(
         "set_read_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, between which the transport below reads while the "
         "protocol does not.\n\n"
         "Raises ValueError unless high >= low >= 0.")},
    {"get_read_buffer_limits", app_get_read_limits, METH_NOARGS,
     LM_DOC("get_read_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"get_read_buffer_size", app_get_read_size, METH_NOARGS,
     LM_DOC("get_read_buffer_size($self)",
            "Return how many bytes wait to be decrypted.")},
    {"_force_close", LM_OWNED(app_force_close), METH_O,
     LM_DOC("_force_close($self, exc, /)",
            "Close at once; connection_lost(exc) in the next turn.")},
    {"_test__append_write_backlog", LM_OWNED(app_append_backlog), METH_O,
     LM_DOC("_test__append_write_backlog($self, data, /)",
            "Queue bytes without sending, for tests.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef app_transport_getset[] = {
    {"_ssl_protocol", LM_OWNED(app_get_tls), NULL, NULL, NULL},
    {"_loop", app_get_loop, NULL, NULL, NULL},
    {"_closed", app_get_closed, NULL, NULL, NULL},
    {"_protocol_paused", app_get_protocol_paused, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static int
set_app_class_attributes(PyObject *type)
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
    lm_offset_keep(&app_transport_offset,
                   lm_offset_behind(st->asyncio_FlowControlMixin));
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
        set_app_class_attributes(st->SSLTransportType) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "SSLTransport", st->SSLTransportType);
}
