/* From the application's bytes to records for the transport below: see tls.h. Relies on
   net/stream_write.h where that transport is ours.

   An operation makes several records, which go down in one piece: the bytes object that
   they come in. */
#include "tls/tls.h"

#include "base/held.h"
#include "core/fault.h"
#include "net/stream_write.h"
#include "tls/view.h"

/* Records that one operation makes and one send takes: together they are below the size
   from which an allocation is a system call. */
#define MOST_RECORDS 7
#define DROPPED_WRITES_BEFORE_LOG 5

/* What an operation leaves unread would be the next connection's. */
static int
drop_unread(LmTlsEngine *engine)
{
    if (!engine->is_fed) {
        return 0;
    }
    PyObject *unread = lm_tls_engine_take_unread(engine);
    Py_XDECREF(unread);
    return unread != NULL ? 0 : -1;
}

int
lm_tls_begin(LmTls *p, LmTlsOuter *outer)
{
    if (lm_tls_engine_enter(p->engine, outer) < 0) {
        return -1;
    }
    if (!outer->is_nested) {
        /* Left by a call of the application's on an ssl_object: nobody can tell whose it
           is, and on any other connection it would do harm. So would what could not be
           taken out for want of memory. */
        PyObject *stray = lm_tls_engine_take(p->engine);
        Py_XDECREF(stray);
        if (stray == NULL || drop_unread(p->engine) < 0) {
            return lm_tls_engine_leave(p->engine, outer, -1);
        }
    }
    p->in_ssl = 1;
    return 0;
}

int
lm_tls_end(LmTls *p, LmTlsOuter *outer, int failed)
{
    p->in_ssl = 0;
    if (failed == 0) {
        PyObject *records = lm_tls_engine_take(p->engine);
        if (records == NULL || lm_rawbuf_add(&p->out, PyBytes_AS_STRING(records),
                                             (size_t)PyBytes_GET_SIZE(records)) < 0) {
            failed = -1;
        }
        Py_XDECREF(records);
    }
    if (failed == 0) {
        failed = drop_unread(p->engine);
    }
    if (failed < 0) {
        lm_tls_engine_empty(p->engine);
    }
    return lm_tls_engine_leave(p->engine, outer, failed);
}

static int
send_object(LmTls *p, PyObject *bytes)
{
    PyObject *transport = p->transport;
    if (transport == NULL) {
        return 0;
    }
    if (LM_LIKELY(p->is_direct)) {
        Py_INCREF(transport); /* a write may end in the loss of the connection */
        int failed = lm_stream_write(transport, bytes);
        Py_DECREF(transport);
        return failed;
    }
    PyObject *done = lm_held_call_one(transport, p->st->str.write, bytes);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
send_down(LmTls *p, const char *data, size_t size)
{
    if (p->is_direct && p->transport != NULL) {
        PyObject *transport = Py_NewRef(p->transport);
        int failed = lm_stream_write_raw(transport, data, size);
        Py_DECREF(transport);
        return failed;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    int failed = bytes != NULL ? send_object(p, bytes) : -1;
    Py_XDECREF(bytes);
    return failed;
}

/* Sends what waits. The block is taken first: the transport may call back. */
static int
send_out(LmTls *p)
{
    if (p->out.size == 0 || p->ssl_writing_paused) {
        return 0;
    }
    LmRawbuf taken = p->out;
    p->out = (LmRawbuf){NULL, 0, 0, 0};
    int failed = send_down(p, lm_rawbuf_data(&taken), taken.size);
    lm_rawbuf_clear(&taken);
    return failed;
}

/* Encrypts at most one record's worth. The bytes taken, 0 where OpenSSL takes none now,
   -1 with an exception set. */
static Py_ssize_t
seal(LmTls *p, const char *data, size_t size)
{
    size = size < LM_RECORD_PLAIN ? size : LM_RECORD_PLAIN;
    if (LM_LIKELY(p->ssl != NULL)) {
        Py_ssize_t taken = lm_tls_gear_write(&p->engine->gear, p->ssl, data, size);
        if (LM_LIKELY(taken > 0)) {
            return taken;
        }
    }
    /* A foreign object may keep what it is given: it gets bytes of its own. */
    PyObject *given = p->is_genuine ? Py_NewRef(lm_view_at(p->engine->view, data, size))
                                    : PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    PyObject *count = given != NULL ? PyObject_CallOneArg(p->ssl_write, given) : NULL;
    Py_XDECREF(given);
    if (count == NULL) {
        return lm_tls_engine_wants_more(p->engine) ? 0 : -1;
    }
    Py_ssize_t taken = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    if (taken < 0 || (size_t)taken > size) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "write() returned a wrong count");
        }
        return -1;
    }
    return taken;
}

/* Sends the records of an operation, behind those that wait. */
static int
send_records(LmTls *p, PyObject *records)
{
    size_t size = (size_t)PyBytes_GET_SIZE(records);
    if (size > 0 && p->out.size == 0 && !p->ssl_writing_paused) {
        return send_object(p, records);
    }
    int failed = lm_rawbuf_add(&p->out, PyBytes_AS_STRING(records), size);
    return failed < 0 ? -1 : send_out(p);
}

/* Ends the operation and sends what it gave. */
static int
finish_batch(LmTls *p, LmTlsOuter *outer, int failed)
{
    PyObject *records = failed == 0 ? lm_tls_engine_take(p->engine) : NULL;
    p->in_ssl = 0;
    if (records == NULL) {
        lm_tls_engine_empty(p->engine);
    }
    failed = lm_tls_engine_leave(p->engine, outer, records != NULL ? 0 : -1);
    if (failed == 0) {
        failed = send_records(p, records);
    }
    Py_XDECREF(records);
    return failed;
}

/* Encrypts from the front of `data`, one operation long. 1 where it may go on, 0 where
   OpenSSL takes no more now; -1 with an exception set. */
static int
write_some(LmTls *p, const char *data, size_t size, size_t *written)
{
    LmTlsOuter outer;
    Py_ssize_t taken = 1;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    for (int i = 0; taken > 0 && *written < size && i < MOST_RECORDS; i++) {
        taken = seal(p, data + *written, size - *written);
        *written += taken > 0 ? (size_t)taken : 0;
    }
    if (finish_batch(p, &outer, taken < 0 ? -1 : 0) < 0) {
        return -1;
    }
    return taken > 0;
}

/* A record's worth from the front of the backlog: small pieces go together. */
static Py_ssize_t
seal_front(LmTls *p)
{
    LmPiece *piece = &p->backlog.pieces[p->backlog.first];
    if (piece->left >= LM_RECORD_PLAIN || p->backlog.count == 1) {
        PyObject *owner = Py_NewRef(piece->bytes);
        Py_ssize_t taken = seal(p, piece->data, piece->left);
        Py_DECREF(owner);
        return taken;
    }
    char joined[LM_RECORD_PLAIN];
    size_t size = 0;
    for (size_t i = 0; i < p->backlog.count && size < sizeof(joined); i++, piece++) {
        size_t room = sizeof(joined) - size;
        size_t count = piece->left < room ? piece->left : room;
        memcpy(joined + size, piece->data, count);
        size += count;
    }
    return seal(p, joined, size);
}

/* The same as write_some, of the backlog. */
static int
write_backlog(LmTls *p)
{
    LmTlsOuter outer;
    Py_ssize_t taken = 1;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    for (int i = 0; taken > 0 && !lm_outbuf_is_empty(&p->backlog) && i < MOST_RECORDS;
         i++) {
        taken = seal_front(p);
        if (taken > 0) {
            lm_outbuf_sent(&p->backlog, (size_t)taken);
        }
    }
    if (finish_batch(p, &outer, taken < 0 ? -1 : 0) < 0) {
        return -1;
    }
    return taken > 0;
}

int
lm_tls_do_write(LmTls *p, int how_much)
{
    int goes_on = !p->in_ssl; /* else what runs now comes back to the backlog */
    while (goes_on > 0 && !lm_outbuf_is_empty(&p->backlog) &&
           (how_much == LM_ALL || !p->ssl_writing_paused)) {
        goes_on = write_backlog(p);
    }
    return goes_on < 0 ? -1 : lm_tls_process_outgoing(p);
}

int
lm_tls_process_outgoing(LmTls *p)
{
    return send_out(p) < 0 ? -1 : lm_tls_control_app_writing(p);
}

/* 1 where the write goes on, 0 where it is dropped; -1 with an exception set. */
static int
check_open(LmTls *p)
{
    if (LM_LIKELY(p->state == LM_WRAPPED || p->state == LM_DO_HANDSHAKE)) {
        return 1;
    }
    if (p->dropped_writes++ >= DROPPED_WRITES_BEFORE_LOG) {
        PyObject *done = lm_state_support(p->st, "log_dropped_tls_write", "");
        Py_XDECREF(done);
        return done != NULL ? 0 : -1;
    }
    return 0;
}

/* Encrypts at once what may be, without queueing it first. */
static int
write_now(LmTls *p, PyObject *owner, const char *data, size_t size)
{
    size_t written = 0;
    int goes_on = 1;
    if (p->state == LM_WRAPPED && !p->in_ssl && lm_outbuf_is_empty(&p->backlog)) {
        while (goes_on > 0 && written < size && !p->ssl_writing_paused &&
               p->state == LM_WRAPPED) {
            goes_on = write_some(p, data, size, &written);
        }
    }
    if (goes_on == 0 && p->state == LM_UNWRAPPED) {
        return 0; /* lost meanwhile */
    }
    if (goes_on < 0 ||
        lm_outbuf_add(&p->backlog, owner, data + written, size - written) < 0) {
        return -1;
    }
    return p->state == LM_WRAPPED ? lm_tls_control_app_writing(p) : 0;
}

int
lm_tls_write(LmTls *p, PyObject *owner, const char *data, size_t size)
{
    int is_open = check_open(p);
    if (is_open <= 0) {
        return is_open;
    }
    return lm_tls_guard(p, write_now(p, owner, data, size),
                        "Fatal error on SSL protocol");
}

int
lm_tls_writelines(LmTls *p, PyObject *pieces)
{
    int is_open = check_open(p);
    if (is_open <= 0) {
        return is_open;
    }
    LmOutbuf fresh = {NULL, 0, 0, 0, 0};
    if (lm_outbuf_gather(&fresh, pieces) < 0) {
        return -1;
    }
    if (p->state != LM_WRAPPED && p->state != LM_DO_HANDSHAKE) {
        lm_outbuf_clear(&fresh); /* closed by what was asked for a buffer */
        return 0;
    }
    if (lm_outbuf_append(&p->backlog, &fresh) < 0) {
        return -1;
    }
    return p->state == LM_WRAPPED ? lm_tls_guard(p, lm_tls_do_write(p, LM_UNTIL_FULL),
                                                 "Fatal error on SSL protocol")
                                  : 0;
}

static int
tell_app(LmTls *p, const char *method, const char *fault)
{
    PyObject *loop = Py_NewRef(p->loop);
    PyObject *app = Py_NewRef(p->app_protocol);
    PyObject *done = PyObject_CallMethod(app, method, NULL);
    int failed = 0;
    if (done == NULL) {
        failed = lm_fault_report(loop, p->st, fault, "transport", p->app_transport,
                                 "protocol", (PyObject *)p, NULL);
    }
    Py_XDECREF(done);
    Py_DECREF(app);
    Py_DECREF(loop);
    return failed;
}

int
lm_tls_control_app_writing(LmTls *p)
{
    size_t size = lm_tls_unsent(p);
    if (p->app_protocol == NULL) {
        return 0;
    }
    if (size >= p->out_marks.high && !p->app_writing_paused) {
        p->app_writing_paused = 1;
        return tell_app(p, "pause_writing", "protocol.pause_writing() failed");
    }
    if (size <= p->out_marks.low && p->app_writing_paused) {
        p->app_writing_paused = 0;
        return tell_app(p, "resume_writing", "protocol.resume_writing() failed");
    }
    return 0;
}
