/* The shared pair and its operations: see engine.h. */
#include "tls/engine.h"

#include "base/held.h"
#include "base/oserr.h"
#include "tls/view.h"

int
lm_tls_engine_init(PyObject *module, LmState *st)
{
    return lm_view_init(module, st);
}

/* The pair, of the C type itself: what is in the ssl module's place for it may keep what it
   is given. */
static int
make_pair(LmTlsEngine *e)
{
    PyObject *bio = lm_state_import("_ssl", "MemoryBIO");
    e->incoming = bio != NULL ? PyObject_CallNoArgs(bio) : NULL;
    e->outgoing = e->incoming != NULL ? PyObject_CallNoArgs(bio) : NULL;
    Py_XDECREF(bio);
    return e->outgoing != NULL ? 0 : -1;
}

/* Each step only after the one before has gone well: none runs with an exception set. */
static int
fill_engine(LmTlsEngine *e, LmState *st)
{
    const struct {
        PyObject **place;
        const char *module;
        const char *name;
    } wanted[] = {
        {&e->ssl_names, "ssl", "__dict__"},
        {&e->SSLObject, "ssl", "SSLObject"},
        {&e->SSLSocket, "_ssl", "_SSLSocket"},
        {&e->SSLError, "ssl", "SSLError"},
        {&e->SSLWantReadError, "ssl", "SSLWantReadError"},
        {&e->SSLSyscallError, "ssl", "SSLSyscallError"},
        {&e->CertificateError, "ssl", "CertificateError"},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].place = lm_state_import(wanted[i].module, wanted[i].name);
        if (*wanted[i].place == NULL) {
            return -1;
        }
    }
    if (make_pair(e) < 0 ||
        (e->feed = PyObject_GetAttr(e->incoming, st->str.write)) == NULL ||
        (e->drain = PyObject_GetAttr(e->incoming, st->str.read)) == NULL ||
        (e->take = PyObject_GetAttr(e->outgoing, st->str.read)) == NULL ||
        (e->view = lm_view_new(st)) == NULL) {
        return -1;
    }
    lm_tls_gear_load(&e->gear);
    return 0;
}

/* All that it owns. */
#define OWNED(e)                                                                   \
    {                                                                              \
        (e)->incoming, (e)->outgoing, (e)->feed, (e)->drain, (e)->take, (e)->view, \
            (e)->ssl_names, (e)->SSLObject, (e)->SSLSocket, (e)->SSLError,         \
            (e)->SSLWantReadError, (e)->SSLSyscallError, (e)->CertificateError     \
    }

static void
free_engine(LmTlsEngine *e)
{
    PyObject *owned[] = OWNED(e);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        Py_XDECREF(owned[i]);
    }
    PyMem_RawFree(e->received);
    PyMem_RawFree(e);
}

LmTlsEngine *
lm_tls_engine_of(LmLoop *loop)
{
    if (loop->tls != NULL) {
        return loop->tls;
    }
    LmTlsEngine *e = PyMem_RawCalloc(1, sizeof(*e));
    if (e == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    int failed = fill_engine(e, loop->st);
    if (failed == 0 && loop->tls == NULL) {
        loop->tls = e;
        return e;
    }
    free_engine(e);
    return failed < 0 ? NULL : loop->tls; /* an import has made another one */
}

void
lm_tls_engine_free(LmLoop *loop)
{
    if (loop->tls != NULL) {
        free_engine(loop->tls);
        loop->tls = NULL;
    }
}

int
lm_tls_engine_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    if (loop->tls != NULL) {
        PyObject *owned[] = OWNED(loop->tls);
        for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
            Py_VISIT(owned[i]);
        }
    }
    return 0;
}

PyObject *
lm_tls_engine_take(LmTlsEngine *e)
{
    return PyObject_CallNoArgs(e->take);
}

PyObject *
lm_tls_engine_take_unread(LmTlsEngine *e)
{
    PyObject *unread = PyObject_CallNoArgs(e->drain);
    e->is_fed = e->is_fed && unread == NULL;
    return unread;
}

void
lm_tls_engine_empty(LmTlsEngine *e)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (lm_done(lm_tls_engine_take_unread(e)) < 0) {
        PyErr_Clear(); /* the next operation sees to it */
    }
    if (lm_done(lm_tls_engine_take(e)) < 0) {
        PyErr_Clear();
    }
    lm_exc_put_back(exc);
}

int
lm_tls_engine_enter(LmTlsEngine *e, LmTlsOuter *outer)
{
    unsigned long thread = PyThread_get_thread_ident();
    outer->is_nested = e->busy_thread != 0;
    if (LM_LIKELY(!outer->is_nested)) {
        e->busy_thread = thread;
        return 0;
    }
    if (e->busy_thread != thread) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop other "
                        "than the current one");
        return -1;
    }
    outer->incoming = lm_tls_engine_take_unread(e);
    outer->outgoing = outer->incoming != NULL ? lm_tls_engine_take(e) : NULL;
    if (outer->outgoing == NULL) {
        Py_XDECREF(outer->incoming);
        return -1;
    }
    outer->viewed = ((LmView *)e->view)->data;
    outer->viewed_size = (size_t)((LmView *)e->view)->size;
    return 0;
}

/* Gives the outer operation its bytes back. */
static int
put_back(LmTlsEngine *e, LmTlsOuter *outer)
{
    PyObject *exc = PyErr_GetRaisedException();
    e->is_fed = 1;
    PyObject *fed = PyObject_CallOneArg(e->feed, outer->incoming);
    PyObject *written =
        fed != NULL ? PyObject_CallMethod(e->outgoing, "write", "O", outer->outgoing)
                    : NULL;
    int failed = written != NULL ? 0 : -1;
    Py_XDECREF(fed);
    Py_XDECREF(written);
    Py_DECREF(outer->incoming);
    Py_DECREF(outer->outgoing);
    /* The methods of a foreign SSLObject are Python: a finalizer or a signal handler may
       have run us between the outer one's getting the view and its using it. */
    lm_view_at(e->view, outer->viewed, outer->viewed_size);
    if (exc != NULL) {
        PyErr_Clear();
        PyErr_SetRaisedException(exc);
    }
    return failed;
}

int
lm_tls_engine_leave(LmTlsEngine *e, LmTlsOuter *outer, int failed)
{
    if (LM_LIKELY(!outer->is_nested)) {
        lm_view_at(e->view, "", 0); /* a traceback may keep it */
        e->busy_thread = 0;
        return failed;
    }
    return put_back(e, outer) < 0 ? -1 : failed;
}

int
lm_tls_engine_feed(LmTlsEngine *e, const char *raw, size_t size)
{
    e->is_fed = 1;
    return lm_done(PyObject_CallOneArg(e->feed, lm_view_at(e->view, raw, size)));
}

char *
lm_tls_engine_buffer(LmTlsEngine *e)
{
    if (LM_UNLIKELY(e->received == NULL)) {
        /* Pages are touched, and so cost memory, only as far as they are used. */
        e->received = PyMem_RawMalloc(LM_TLS_BUFFER_SIZE);
        if (e->received == NULL) {
            PyErr_NoMemory();
        }
    }
    return e->received;
}

int
lm_tls_engine_wants_more(LmTlsEngine *e)
{
    if (!PyErr_ExceptionMatches(e->SSLWantReadError) &&
        !PyErr_ExceptionMatches(e->SSLSyscallError)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}
