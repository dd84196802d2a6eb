/* The SSLProtocol type: the constructor, the methods that a transport below calls, and
   what libraries look at. See tls.h. All of the constructing is done in tp_new: there is
   no instance without its parts. */
#include "tls/phase.h"

#include "base/type_help.h"
#include "core/owner.h"

#define OWN_BUFFER_SIZE (64 * 1024)

/* The constructor's arguments. */
typedef struct {
    PyObject *loop;
    PyObject *app_protocol;
    PyObject *sslcontext;
    PyObject *waiter;
    PyObject *server_hostname;
    PyObject *handshake_timeout;
    PyObject *shutdown_timeout;
    int is_server;
    int call_connection_made;
} Parts;

static int
take_context(LmTls *p, PyObject *given)
{
    int is_given = PyObject_IsTrue(given);
    if (is_given < 0) {
        return -1;
    }
    PyObject *hostname = p->session.server_hostname;
    p->session.context = is_given ? Py_NewRef(given)
                                  : lm_state_support(p->st, "default_ssl_context", "iO",
                                                     p->session.is_server,
                                                     hostname ? hostname : Py_None);
    if (p->session.context == NULL) {
        return -1;
    }
    p->extra = Py_BuildValue("{sO}", "sslcontext", p->session.context);
    return p->extra != NULL ? 0 : -1;
}

static int
fill_tls(LmTls *p, const Parts *parts)
{
    p->session.engine = lm_tls_engine_of(p->loop);
    if (p->session.engine == NULL || take_context(p, parts->sslcontext) < 0 ||
        lm_tls_app_set_protocol(p, parts->app_protocol) < 0 ||
        lm_tls_session_wrap(&p->session, p->st) < 0) {
        return -1;
    }
    lm_marks_init(&p->in.marks, LM_TLS_HIGH_WATER_READ);
    lm_marks_init(&p->out.marks, LM_TLS_HIGH_WATER_WRITE);
    p->app.transport = lm_app_transport_new(p);
    return p->app.transport != NULL ? 0 : -1;
}

/* A connection without a transport below, of arguments that were checked. New reference,
   NULL with an exception set. */
static PyObject *
new_tls(PyTypeObject *type, const Parts *parts)
{
    LmTls *p = (LmTls *)type->tp_alloc(type, 0);
    if (p == NULL) {
        return NULL;
    }
    PyObject_GC_UnTrack(p); /* nobody finds it before it is whole */
    p->loop = (LmLoop *)Py_NewRef(parts->loop);
    p->st = lm_state_hold(p->loop->st);
    p->below.loop = p->loop;
    p->session.is_server = (uint8_t)parts->is_server;
    p->session.server_hostname = Py_XNewRef(parts->server_hostname);
    p->app.state = parts->call_connection_made ? LM_APP_INIT : LM_APP_CON_MADE;
    p->waiter = parts->waiter != Py_None ? Py_NewRef(parts->waiter) : NULL;
    p->handshake.delay = Py_NewRef(parts->handshake_timeout);
    p->shutdown.delay = Py_NewRef(parts->shutdown_timeout);
    if (fill_tls(p, parts) < 0) {
        Py_DECREF(p);
        return NULL;
    }
    PyObject_GC_Track(p);
    return (PyObject *)p;
}

/* The timeout, or asyncio's default. New reference; NULL with ValueError set. */
static PyObject *
timeout_of(PyObject *given, const char *name, const char *default_name)
{
    if (given == Py_None) {
        return lm_state_import("asyncio.constants", default_name);
    }
    PyObject *zero = PyLong_FromLong(0);
    int is_wrong = zero != NULL ? PyObject_RichCompareBool(given, zero, Py_LE) : -1;
    Py_XDECREF(zero);
    if (is_wrong > 0) {
        PyErr_Format(PyExc_ValueError, "%s should be a positive number, got %S", name,
                     given);
    }
    return is_wrong == 0 ? Py_NewRef(given) : NULL;
}

static PyObject *
new_at_home(PyTypeObject *type, const Parts *parts)
{
    LmLoop *loop = (LmLoop *)parts->loop;
    int is_taken = lm_owner_begin(loop);
    PyObject *self = is_taken >= 0 ? new_tls(type, parts) : NULL;
    if (is_taken > 0) {
        lm_owner_end(loop);
    }
    return self;
}

static PyObject *
tls_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"loop",
                            "app_protocol",
                            "sslcontext",
                            "waiter",
                            "server_side",
                            "server_hostname",
                            "call_connection_made",
                            "ssl_handshake_timeout",
                            "ssl_shutdown_timeout",
                            NULL};
    PyObject *self = NULL, *hostname = Py_None, *handshake = Py_None,
             *shutdown = Py_None;
    Parts parts = {.call_connection_made = 1};
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OOOO|pOpOO:SSLProtocol", names, &parts.loop,
            &parts.app_protocol, &parts.sslcontext, &parts.waiter, &parts.is_server,
            &hostname, &parts.call_connection_made, &handshake, &shutdown)) {
        return NULL;
    }
    LmState *st = lm_state_of_type(type);
    if (st == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(parts.loop, lm_type(st->LoopType))) {
        PyErr_SetString(PyExc_TypeError, "loop must be a loopmod.Loop");
        return NULL;
    }
    int has_name = PyObject_IsTrue(hostname);
    if (has_name < 0) {
        return NULL;
    }
    parts.server_hostname = has_name && !parts.is_server ? hostname : NULL;
    parts.handshake_timeout =
        timeout_of(handshake, "ssl_handshake_timeout", "SSL_HANDSHAKE_TIMEOUT");
    parts.shutdown_timeout =
        parts.handshake_timeout != NULL
            ? timeout_of(shutdown, "ssl_shutdown_timeout", "SSL_SHUTDOWN_TIMEOUT")
            : NULL;
    if (parts.shutdown_timeout != NULL) {
        self = new_at_home(type, &parts);
    }
    Py_XDECREF(parts.handshake_timeout);
    Py_XDECREF(parts.shutdown_timeout);
    return self;
}

static PyObject *
tls_connection_made(PyObject *self, PyObject *transport)
{
    return lm_none_if(lm_tls_start_handshake((LmTls *)self, transport));
}

static PyObject *
tls_connection_lost(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_tls_on_connection_lost((LmTls *)self, exc));
}

static PyObject *
tls_eof_received(PyObject *self, PyObject *unused LM_UNUSED)
{
    int keep_open = lm_tls_on_eof((LmTls *)self);
    return keep_open < 0 ? NULL : Py_NewRef(keep_open ? Py_True : Py_None);
}

static PyObject *
tls_get_buffer(PyObject *self, PyObject *hint LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->in.own_buffer == NULL) {
        p->in.own_buffer = PyByteArray_FromStringAndSize(NULL, OWN_BUFFER_SIZE);
        if (p->in.own_buffer == NULL) {
            return NULL;
        }
    }
    return PyMemoryView_FromObject(p->in.own_buffer);
}

static PyObject *
tls_buffer_updated(PyObject *self, PyObject *count)
{
    LmTls *p = (LmTls *)self;
    Py_ssize_t size = PyLong_AsSsize_t(count);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (p->in.own_buffer == NULL || size < 0 ||
        size > PyByteArray_GET_SIZE(p->in.own_buffer)) {
        PyErr_SetString(PyExc_ValueError, "more bytes than get_buffer() gave room for");
        return NULL;
    }
    /* They are copied before anything else may run. */
    return lm_none_if(
        lm_tls_on_bytes(p, PyByteArray_AS_STRING(p->in.own_buffer), (size_t)size));
}

static PyObject *
tls_pause_writing(PyObject *self, PyObject *unused LM_UNUSED)
{
    ((LmTls *)self)->below.is_writing_paused = 1;
    Py_RETURN_NONE;
}

static PyObject *
tls_resume_writing(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_tls_on_writable((LmTls *)self));
}

static PyObject *
tls_adopt_input(PyObject *self, PyObject *data)
{
    LmTls *p = (LmTls *)self;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int failed = lm_rawbuf_add(&p->in.raw, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return lm_none_if(failed);
}

static PyObject *
tls_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "_get_extra_info() takes 1 or 2 arguments");
        return NULL;
    }
    LmTls *p = (LmTls *)self;
    PyObject *known;
    if (PyDict_GetItemRef(p->extra, args[0], &known) != 0) {
        return known;
    }
    PyObject *fallback = nargs == 2 ? args[1] : Py_None;
    PyObject *below = lm_shared_get(self, &p->below.transport);
    if (below == NULL) {
        return Py_NewRef(fallback);
    }
    PyObject *found =
        PyObject_CallMethod(below, "get_extra_info", "OO", args[0], fallback);
    Py_DECREF(below);
    return found;
}

static PyObject *
tls_abort(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_tls_abort((LmTls *)self, exc));
}

static PyObject *
tls_get_state(PyObject *self, void *closure LM_UNUSED)
{
    static const char *const states[] = {"UNWRAPPED", "DO_HANDSHAKE", "WRAPPED",
                                         "FLUSHING", "SHUTDOWN"};
    PyObject *kinds = lm_state_import("asyncio.sslproto", "SSLProtocolState");
    PyObject *state =
        kinds != NULL ? PyObject_GetAttrString(kinds, states[((LmTls *)self)->state])
                      : NULL;
    Py_XDECREF(kinds);
    return state;
}

static PyObject *
tls_get_flag(PyObject *self, void *closure)
{
    return PyBool_FromLong(LM_LOAD(*((uint8_t *)self + (size_t)closure)));
}

static PyObject *
tls_get_object(PyObject *self, void *closure)
{
    return lm_none_or(*(PyObject **)((char *)self + (size_t)closure));
}

LM_OWNED_SHOWN(tls_get_object, lm_tls_owner)

#define MEMBER(name, field)                                                        \
    {                                                                              \
        name, LM_OWNED(tls_get_object), NULL, NULL, (void *)offsetof(LmTls, field) \
    }
#define FLAG(name, field)                                              \
    {                                                                  \
        name, tls_get_flag, NULL, NULL, (void *)offsetof(LmTls, field) \
    }

static PyMemberDef tls_members[] = {
    {"_loop", T_OBJECT, offsetof(LmTls, loop), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LmTls, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

LM_GETTER(tls_get_is_native, LmTls *p = (LmTls *)self,
          PyBool_FromLong(p->session.native != NULL))

LM_OWNED_SHOWN(tls_get_state, lm_tls_owner)

static PyGetSetDef tls_getset[] = {
    {"_state", LM_OWNED(tls_get_state), NULL, NULL, NULL},
    {"_is_native", tls_get_is_native, NULL, NULL, NULL},
    MEMBER("_app_protocol", app.protocol),
    MEMBER("_app_transport", app.transport),
    MEMBER("_transport", below.transport),
    MEMBER("_sslcontext", session.context),
    MEMBER("_sslobj", session.object),
    MEMBER("_server_hostname", session.server_hostname),
    MEMBER("_waiter", waiter),
    MEMBER("_extra", extra),
    MEMBER("_ssl_handshake_timeout", handshake.delay),
    MEMBER("_ssl_shutdown_timeout", shutdown.delay),
    FLAG("_server_side", session.is_server),
    FLAG("_eof_received", in.is_at_end),
    FLAG("_app_reading_paused", app.is_reading_paused),
    FLAG("_app_writing_paused", app.is_writing_paused),
    FLAG("_ssl_reading_paused", below.is_reading_paused),
    FLAG("_ssl_writing_paused", below.is_writing_paused),
    {NULL, NULL, NULL, NULL, NULL}};

LM_OWNED_METHOD(tls_connection_made, lm_tls_owner)
LM_OWNED_METHOD(tls_connection_lost, lm_tls_owner)
LM_OWNED_METHOD(tls_eof_received, lm_tls_owner)
LM_OWNED_METHOD(tls_get_buffer, lm_tls_owner)
LM_OWNED_METHOD(tls_buffer_updated, lm_tls_owner)
LM_OWNED_METHOD(tls_pause_writing, lm_tls_owner)
LM_OWNED_METHOD(tls_resume_writing, lm_tls_owner)
LM_OWNED_METHOD(tls_adopt_input, lm_tls_owner)
LM_OWNED_METHOD(tls_abort, lm_tls_owner)

static PyMethodDef tls_methods[] = {
    {"connection_made", LM_OWNED(tls_connection_made), METH_O,
     LM_DOC("connection_made($self, transport, /)", "Start the handshake.")},
    {"connection_lost", LM_OWNED(tls_connection_lost), METH_O,
     LM_DOC("connection_lost($self, exc, /)", "Tell the application's protocol.")},
    {"eof_received", LM_OWNED(tls_eof_received), METH_NOARGS,
     LM_DOC("eof_received($self)", "The peer sends no more.")},
    {"get_buffer", LM_OWNED(tls_get_buffer), METH_O,
     LM_DOC("get_buffer($self, sizehint, /)", "Return where raw bytes are to be put.")},
    {"buffer_updated", LM_OWNED(tls_buffer_updated), METH_O,
     LM_DOC("buffer_updated($self, nbytes, /)", "Raw bytes are there.")},
    {"pause_writing", LM_OWNED(tls_pause_writing), METH_NOARGS,
     LM_DOC("pause_writing($self)", "The transport below is full.")},
    {"resume_writing", LM_OWNED(tls_resume_writing), METH_NOARGS,
     LM_DOC("resume_writing($self)", "The transport below takes bytes again.")},
    {"_adopt_input", LM_OWNED(tls_adopt_input), METH_O,
     LM_DOC("_adopt_input($self, data, /)",
            "Take raw bytes that came before the handshake was started.")},
    {"_get_extra_info", LM_POSITIONAL(tls_get_extra_info),
     LM_DOC("_get_extra_info($self, name, default=None, /)",
            "Return what is known of the connection.")},
    {"_abort", LM_OWNED(tls_abort), METH_O,
     LM_DOC("_abort($self, exc, /)", "Close at once; what is queued is lost.")},
    {NULL, NULL, 0, NULL}};

static int
tls_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmTls *p = (LmTls *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(p->loop);
    Py_VISIT(p->extra);
    Py_VISIT(p->waiter);
    Py_VISIT(p->handshake.handle);
    Py_VISIT(p->shutdown.handle);
    Py_VISIT(p->session.context);
    Py_VISIT(p->session.object);
    Py_VISIT(p->session.read);
    Py_VISIT(p->session.write);
    Py_VISIT(p->below.transport);
    Py_VISIT(p->app.protocol);
    Py_VISIT(p->app.transport);
    Py_VISIT(p->app.get_buffer);
    Py_VISIT(p->app.buffer_updated);
    Py_VISIT(p->in.marks.given);
    Py_VISIT(p->out.marks.given);
    return 0;
}

/* What an operation needs stays: loop, SSLObject and its methods, `extra`. */
static int
tls_clear(PyObject *self)
{
    LmTls *p = (LmTls *)self;
    Py_XDECREF(lm_shared_swap(self, &p->app.protocol, NULL));
    Py_XDECREF(lm_shared_swap(self, &p->app.transport, NULL));
    Py_XDECREF(lm_tls_below_take(&p->below, self));
    Py_CLEAR(p->waiter);
    Py_CLEAR(p->handshake.handle);
    Py_CLEAR(p->shutdown.handle);
    Py_CLEAR(p->app.get_buffer);
    Py_CLEAR(p->app.buffer_updated);
    return 0;
}

static void
tls_dealloc(PyObject *self)
{
    LmTls *p = (LmTls *)self;
    PyObject_GC_UnTrack(self);
    if (p->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    tls_clear(self);
    Py_CLEAR(p->in.marks.given);
    Py_CLEAR(p->out.marks.given);
    Py_CLEAR(p->session.read);
    Py_CLEAR(p->session.write);
    Py_CLEAR(p->session.object);
    Py_CLEAR(p->session.context);
    Py_CLEAR(p->session.server_hostname);
    Py_CLEAR(p->extra);
    Py_CLEAR(p->handshake.delay);
    Py_CLEAR(p->shutdown.delay);
    Py_CLEAR(p->in.own_buffer);
    lm_rawbuf_clear(&p->in.raw);
    lm_rawbuf_clear(&p->out.records);
    lm_outbuf_clear(&p->out.backlog);
    Py_CLEAR(p->loop);
    lm_state_free_instance(p->st, self);
}

static PyType_Slot tls_slots[] = {
    {Py_tp_doc, LM_DOC("SSLProtocol(loop, app_protocol, sslcontext, waiter, ...)",
                       "A TLS connection over the transport whose protocol it is.")},
    {Py_tp_new, tls_new},
    {Py_tp_dealloc, tls_dealloc},
    {Py_tp_traverse, tls_traverse},
    {Py_tp_clear, tls_clear},
    {Py_tp_methods, tls_methods},
    {Py_tp_members, tls_members},
    {Py_tp_getset, tls_getset},
    {0, NULL}};

static PyType_Spec tls_spec = {
    .name = "loopmod._loopmod.SSLProtocol",
    .basicsize = sizeof(LmTls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = tls_slots,
};

int
lm_tls_init(PyObject *module, LmState *st)
{
    if (lm_type(st->asyncio_BufferedProtocol)->tp_basicsize >
        (Py_ssize_t)sizeof(PyObject)) {
        PyErr_SetString(PyExc_ImportError, "asyncio.BufferedProtocol has fields");
        return -1;
    }
    if (lm_tls_engine_init(module, st) < 0 || lm_app_transport_init(module, st) < 0) {
        return -1;
    }
    st->SSLProtocolType =
        PyType_FromModuleAndSpec(module, &tls_spec, st->asyncio_BufferedProtocol);
    if (st->SSLProtocolType == NULL) {
        return -1;
    }
    st->native_protocol = &lm_tls_native;
    return PyModule_AddObjectRef(module, "SSLProtocol", st->SSLProtocolType);
}
