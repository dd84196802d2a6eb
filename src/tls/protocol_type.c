/* The SSLProtocol type: the constructor, the methods that a transport below calls, and
   what libraries look at. See tls.h. All of the constructing is done in tp_new: there is
   no instance without its parts. */
#include "tls/tls.h"

#include "base/type_help.h"
#include "net/flow.h"

#define OWN_BUFFER_SIZE (64 * 1024)

int
lm_tls_set_app_protocol(LmTls *p, PyObject *protocol)
{
    PyObject *get_buffer = NULL, *buffer_updated = NULL;
    int is_buffered = PyObject_IsInstance(protocol, p->st->asyncio_BufferedProtocol);
    if (is_buffered > 0) {
        get_buffer = PyObject_GetAttr(protocol, p->st->str.get_buffer);
        buffer_updated = get_buffer != NULL
                             ? PyObject_GetAttr(protocol, p->st->str.buffer_updated)
                             : NULL;
        is_buffered = buffer_updated != NULL ? 1 : -1;
    }
    if (is_buffered < 0) {
        Py_XDECREF(get_buffer);
        return -1;
    }
    /* Whole before the end of what was there, which may write or read. */
    PyObject *old[] = {p->get_buffer, p->buffer_updated, p->app_protocol};
    p->get_buffer = get_buffer;
    p->buffer_updated = buffer_updated;
    p->app_protocol = Py_NewRef(protocol);
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
        Py_XDECREF(old[i]);
    }
    return 0;
}

/* 1 where nobody has put another function in the place of the type's; -1 with an exception
   set. */
static int
is_own_method(LmTls *p, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(p->engine->SSLObject, name);
    if (method == NULL) {
        return -1;
    }
    int is_own = PyFunction_Check(method) &&
                 PyFunction_GetGlobals(method) == p->engine->ssl_names;
    Py_DECREF(method);
    return is_own;
}

/* What an SSLObject's read and write, which are Python, hand everything to: called
   directly, a record costs no frame. New reference. */
static PyObject *
low_level_object(LmTls *p)
{
    int is_own = Py_IS_TYPE(p->sslobj, lm_type(p->engine->SSLObject))
                     ? is_own_method(p, p->st->str.read)
                     : 0;
    if (is_own > 0) {
        is_own = is_own_method(p, p->st->str.write);
    }
    if (is_own < 0) {
        return NULL;
    }
    return is_own ? PyObject_GetAttrString(p->sslobj, "_sslobj") : Py_NewRef(p->sslobj);
}

/* sslcontext.wrap_bio(...): new reference. */
static PyObject *
call_wrap_bio(LmTls *p)
{
    PyObject *wrap_bio = PyObject_GetAttrString(p->sslcontext, "wrap_bio");
    PyObject *args = wrap_bio != NULL
                         ? PyTuple_Pack(2, p->engine->incoming, p->engine->outgoing)
                         : NULL;
    PyObject *kwargs =
        args != NULL
            ? Py_BuildValue("{sOsO}", "server_side", p->is_server ? Py_True : Py_False,
                            "server_hostname",
                            p->server_hostname ? p->server_hostname : Py_None)
            : NULL;
    PyObject *sslobj = kwargs != NULL ? PyObject_Call(wrap_bio, args, kwargs) : NULL;
    Py_XDECREF(wrap_bio);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return sslobj;
}

/* Its read and write, and whether they are those of _ssl: only those are lent memory. */
static int
take_methods(LmTls *p, PyObject *low_level)
{
    p->ssl_read = PyObject_GetAttr(low_level, p->st->str.read);
    p->ssl_write =
        p->ssl_read != NULL ? PyObject_GetAttr(low_level, p->st->str.write) : NULL;
    if (p->ssl_write == NULL) {
        return -1;
    }
    p->is_genuine = Py_IS_TYPE(low_level, lm_type(p->engine->SSLSocket));
    if (p->is_genuine) {
        p->ssl = lm_tls_gear_find(&p->engine->gear, low_level, p->sslcontext);
    }
    return 0;
}

static int
wrap(LmTls *p)
{
    p->sslobj = call_wrap_bio(p);
    if (p->sslobj == NULL) {
        return -1;
    }
    PyObject *low_level = low_level_object(p);
    int failed = low_level != NULL ? take_methods(p, low_level) : -1;
    Py_XDECREF(low_level);
    return failed;
}

static int
take_context(LmTls *p, const LmTlsParts *parts)
{
    int is_given = PyObject_IsTrue(parts->sslcontext);
    if (is_given < 0) {
        return -1;
    }
    p->sslcontext =
        is_given ? Py_NewRef(parts->sslcontext)
                 : lm_state_support(p->st, "default_ssl_context", "iO", p->is_server,
                                    p->server_hostname ? p->server_hostname : Py_None);
    if (p->sslcontext == NULL) {
        return -1;
    }
    p->extra = Py_BuildValue("{sO}", "sslcontext", p->sslcontext);
    return p->extra != NULL ? 0 : -1;
}

static int
fill(LmTls *p, const LmTlsParts *parts)
{
    p->engine = lm_tls_engine_of(p->loop);
    if (p->engine == NULL || take_context(p, parts) < 0 ||
        lm_tls_set_app_protocol(p, parts->app_protocol) < 0 || wrap(p) < 0) {
        return -1;
    }
    lm_marks_init(&p->in_marks, LM_TLS_HIGH_WATER_READ);
    lm_marks_init(&p->out_marks, LM_TLS_HIGH_WATER_WRITE);
    p->app_transport = lm_app_transport_new(p);
    return p->app_transport != NULL ? 0 : -1;
}

PyObject *
lm_tls_new(PyTypeObject *type, const LmTlsParts *parts)
{
    LmTls *p = (LmTls *)type->tp_alloc(type, 0);
    if (p == NULL) {
        return NULL;
    }
    PyObject_GC_UnTrack(p); /* nobody finds it before it is whole */
    p->st = lm_state_hold(parts->loop->st);
    p->loop = (LmLoop *)Py_NewRef(parts->loop);
    p->is_server = (uint8_t)parts->is_server;
    p->app_state = parts->call_connection_made ? LM_APP_INIT : LM_APP_CON_MADE;
    p->waiter = Py_XNewRef(parts->waiter);
    p->server_hostname = Py_XNewRef(parts->server_hostname);
    p->handshake_timeout = Py_NewRef(parts->handshake_timeout);
    p->shutdown_timeout = Py_NewRef(parts->shutdown_timeout);
    if (fill(p, parts) < 0) {
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
    PyObject *loop, *app, *context, *waiter, *hostname = Py_None;
    PyObject *handshake = Py_None, *shutdown = Py_None, *self = NULL;
    int is_server = 0, call_made = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO|pOpOO:SSLProtocol", names,
                                     &loop, &app, &context, &waiter, &is_server,
                                     &hostname, &call_made, &handshake, &shutdown)) {
        return NULL;
    }
    LmState *st = lm_state_of_type(type);
    if (st == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(loop, lm_type(st->LoopType))) {
        PyErr_SetString(PyExc_TypeError, "loop must be a loopmod.Loop");
        return NULL;
    }
    int has_name = PyObject_IsTrue(hostname);
    if (has_name < 0) {
        return NULL;
    }
    handshake = timeout_of(handshake, "ssl_handshake_timeout", "SSL_HANDSHAKE_TIMEOUT");
    if (handshake == NULL) {
        return NULL;
    }
    shutdown = timeout_of(shutdown, "ssl_shutdown_timeout", "SSL_SHUTDOWN_TIMEOUT");
    if (shutdown != NULL) {
        LmTlsParts parts = {
            .loop = (LmLoop *)loop,
            .app_protocol = app,
            .sslcontext = context,
            .waiter = waiter != Py_None ? waiter : NULL,
            .server_hostname = has_name && !is_server ? hostname : NULL,
            .handshake_timeout = handshake,
            .shutdown_timeout = shutdown,
            .is_server = is_server,
            .call_connection_made = call_made,
        };
        self = lm_tls_new(type, &parts);
        Py_DECREF(shutdown);
    }
    Py_DECREF(handshake);
    return self;
}

static PyObject *
method_connection_made(PyObject *self, PyObject *transport)
{
    return lm_none_if(lm_tls_on_connection_made((LmTls *)self, transport));
}

static PyObject *
method_connection_lost(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_tls_on_connection_lost((LmTls *)self, exc));
}

static PyObject *
method_eof_received(PyObject *self, PyObject *unused LM_UNUSED)
{
    int keep_open = lm_tls_on_eof((LmTls *)self);
    return keep_open < 0 ? NULL : Py_NewRef(keep_open ? Py_True : Py_None);
}

static PyObject *
method_get_buffer(PyObject *self, PyObject *hint LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->own_buffer == NULL) {
        p->own_buffer = PyByteArray_FromStringAndSize(NULL, OWN_BUFFER_SIZE);
        if (p->own_buffer == NULL) {
            return NULL;
        }
    }
    return PyMemoryView_FromObject(p->own_buffer);
}

static PyObject *
method_buffer_updated(PyObject *self, PyObject *count)
{
    LmTls *p = (LmTls *)self;
    Py_ssize_t size = PyLong_AsSsize_t(count);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (p->own_buffer == NULL || size < 0 ||
        size > PyByteArray_GET_SIZE(p->own_buffer)) {
        PyErr_SetString(PyExc_ValueError, "more bytes than get_buffer() gave room for");
        return NULL;
    }
    /* They are copied before anything else may run. */
    return lm_none_if(
        lm_tls_on_bytes(p, PyByteArray_AS_STRING(p->own_buffer), (size_t)size));
}

static PyObject *
method_pause_writing(PyObject *self, PyObject *unused LM_UNUSED)
{
    ((LmTls *)self)->ssl_writing_paused = 1;
    Py_RETURN_NONE;
}

static PyObject *
method_resume_writing(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    p->ssl_writing_paused = 0;
    if (lm_outbuf_is_empty(&p->backlog) || p->state != LM_WRAPPED) {
        return lm_none_if(lm_tls_process_outgoing(p));
    }
    return lm_none_if(lm_tls_guard(p, lm_tls_do_write(p, LM_UNTIL_FULL),
                                   "Fatal error on SSL protocol"));
}

static PyObject *
method_adopt_input(PyObject *self, PyObject *data)
{
    LmTls *p = (LmTls *)self;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int failed = lm_rawbuf_add(&p->in, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return lm_none_if(failed);
}

static PyObject *
method_get_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    LmTls *p = (LmTls *)self;
    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "_get_extra_info() takes 1 or 2 arguments");
        return NULL;
    }
    PyObject *fallback = nargs == 2 ? args[1] : Py_None;
    PyObject *known = PyDict_GetItemWithError(p->extra, args[0]);
    if (known != NULL || PyErr_Occurred()) {
        return Py_XNewRef(known);
    }
    if (p->transport == NULL) {
        return Py_NewRef(fallback);
    }
    PyObject *transport = Py_NewRef(p->transport);
    PyObject *found =
        PyObject_CallMethod(transport, "get_extra_info", "OO", args[0], fallback);
    Py_DECREF(transport);
    return found;
}

static PyObject *
method_abort(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_tls_abort((LmTls *)self, exc));
}

static PyObject *
get_state(PyObject *self, void *closure LM_UNUSED)
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
get_flag(PyObject *self, void *closure)
{
    return PyBool_FromLong(*((uint8_t *)self + (size_t)closure));
}

#define MEMBER(name, field)                                    \
    {                                                          \
        name, T_OBJECT, offsetof(LmTls, field), READONLY, NULL \
    }
#define FLAG(name, field)                                          \
    {                                                              \
        name, get_flag, NULL, NULL, (void *)offsetof(LmTls, field) \
    }

static PyMemberDef tls_members[] = {
    MEMBER("_loop", loop),
    MEMBER("_app_protocol", app_protocol),
    MEMBER("_app_transport", app_transport),
    MEMBER("_transport", transport),
    MEMBER("_sslcontext", sslcontext),
    MEMBER("_sslobj", sslobj),
    MEMBER("_server_hostname", server_hostname),
    MEMBER("_waiter", waiter),
    MEMBER("_extra", extra),
    MEMBER("_ssl_handshake_timeout", handshake_timeout),
    MEMBER("_ssl_shutdown_timeout", shutdown_timeout),
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LmTls, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyObject *
get_is_native(PyObject *self, void *unused LM_UNUSED)
{
    return PyBool_FromLong(((LmTls *)self)->ssl != NULL);
}

static PyGetSetDef tls_getset[] = {{"_state", get_state, NULL, NULL, NULL},
                                   {"_is_native", get_is_native, NULL, NULL, NULL},
                                   FLAG("_server_side", is_server),
                                   FLAG("_eof_received", eof_received),
                                   FLAG("_app_reading_paused", app_reading_paused),
                                   FLAG("_app_writing_paused", app_writing_paused),
                                   FLAG("_ssl_reading_paused", ssl_reading_paused),
                                   FLAG("_ssl_writing_paused", ssl_writing_paused),
                                   {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef tls_methods[] = {
    {"connection_made", method_connection_made, METH_O,
     LM_DOC("connection_made($self, transport, /)", "Start the handshake.")},
    {"connection_lost", method_connection_lost, METH_O,
     LM_DOC("connection_lost($self, exc, /)", "Tell the application's protocol.")},
    {"eof_received", method_eof_received, METH_NOARGS,
     LM_DOC("eof_received($self)", "The peer sends no more.")},
    {"get_buffer", method_get_buffer, METH_O,
     LM_DOC("get_buffer($self, sizehint, /)", "Return where raw bytes are to be put.")},
    {"buffer_updated", method_buffer_updated, METH_O,
     LM_DOC("buffer_updated($self, nbytes, /)", "Raw bytes are there.")},
    {"pause_writing", method_pause_writing, METH_NOARGS,
     LM_DOC("pause_writing($self)", "The transport below is full.")},
    {"resume_writing", method_resume_writing, METH_NOARGS,
     LM_DOC("resume_writing($self)", "The transport below takes bytes again.")},
    {"_adopt_input", method_adopt_input, METH_O,
     LM_DOC("_adopt_input($self, data, /)",
            "Take raw bytes that came before the handshake was started.")},
    {"_get_extra_info", (PyCFunction)(void (*)(void))method_get_extra_info,
     METH_FASTCALL,
     LM_DOC("_get_extra_info($self, name, default=None, /)",
            "Return what is known of the connection.")},
    {"_abort", method_abort, METH_O,
     LM_DOC("_abort($self, exc, /)", "Close at once; what is queued is lost.")},
    {NULL, NULL, 0, NULL}};

static int
tls_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmTls *p = (LmTls *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(p->loop);
    Py_VISIT(p->app_protocol);
    Py_VISIT(p->app_transport);
    Py_VISIT(p->transport);
    Py_VISIT(p->sslcontext);
    Py_VISIT(p->sslobj);
    Py_VISIT(p->ssl_read);
    Py_VISIT(p->ssl_write);
    Py_VISIT(p->waiter);
    Py_VISIT(p->extra);
    Py_VISIT(p->handshake_timer);
    Py_VISIT(p->shutdown_timer);
    Py_VISIT(p->in_marks.given);
    Py_VISIT(p->out_marks.given);
    Py_VISIT(p->get_buffer);
    Py_VISIT(p->buffer_updated);
    return 0;
}

/* What an operation needs stays: loop, SSLObject and its methods, `extra`. */
static int
tls_clear(PyObject *self)
{
    LmTls *p = (LmTls *)self;
    Py_CLEAR(p->app_protocol);
    Py_CLEAR(p->app_transport);
    p->is_direct = 0;
    Py_CLEAR(p->transport);
    Py_CLEAR(p->waiter);
    Py_CLEAR(p->handshake_timer);
    Py_CLEAR(p->shutdown_timer);
    Py_CLEAR(p->get_buffer);
    Py_CLEAR(p->buffer_updated);
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
    Py_CLEAR(p->in_marks.given);
    Py_CLEAR(p->out_marks.given);
    Py_CLEAR(p->ssl_read);
    Py_CLEAR(p->ssl_write);
    Py_CLEAR(p->sslobj);
    Py_CLEAR(p->sslcontext);
    Py_CLEAR(p->extra);
    Py_CLEAR(p->server_hostname);
    Py_CLEAR(p->handshake_timeout);
    Py_CLEAR(p->shutdown_timeout);
    Py_CLEAR(p->own_buffer);
    lm_rawbuf_clear(&p->in);
    lm_rawbuf_clear(&p->out);
    lm_outbuf_clear(&p->backlog);
    Py_CLEAR(p->loop);
    lm_state_free_instance(p->st, self);
}

static PyType_Slot tls_slots[] = {
    {Py_tp_doc, "SSLProtocol(loop, app_protocol, sslcontext, waiter, ...)\n--\n\nA TLS "
                "connection over the transport whose protocol it is."},
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
