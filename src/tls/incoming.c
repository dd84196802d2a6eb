/* From raw bytes to the application's data: see tls.h and records.h.

   Only whole records are fed, and as many reads made as records were fed: no read ends in
   an exception, but for records without data (tickets, key updates). What is decrypted is
   delivered when the operation is over and all that came is either decrypted or put by:
   data_received may do anything. */
#include "tls/tls.h"

#include "net/stream_feed.h"
#include "tls/view.h"

#define ALL_RECORDS UINT32_MAX

/* Bytes of a read's result: 0 is the end of the stream. */
enum { READ_FAILED = -1, READ_NOTHING = -2 };

static PyObject *
call_read(LmTls *p, size_t size, PyObject *into)
{
    PyObject *args[] = {PyLong_FromSize_t(size), into};
    if (args[0] == NULL) {
        return NULL;
    }
    PyObject *result =
        PyObject_Vectorcall(p->ssl_read, args, into != NULL ? 2 : 1, NULL);
    Py_DECREF(args[0]);
    return result;
}

static Py_ssize_t
failed_read(LmTls *p)
{
    return lm_tls_engine_wants_more(p->engine) ? READ_NOTHING : READ_FAILED;
}

/* One read into memory: bytes, 0 at the end, READ_NOTHING or READ_FAILED. */
static Py_ssize_t
read_into(LmTls *p, char *into, size_t room)
{
    if (LM_LIKELY(p->ssl != NULL)) {
        Py_ssize_t got = lm_tls_gear_read(&p->engine->gear, p->ssl, into, room);
        if (LM_LIKELY(got >= 0)) {
            return got > 0 ? got : READ_NOTHING;
        }
    }
    if (p->is_genuine) {
        PyObject *count = call_read(p, room, lm_view_at(p->engine->view, into, room));
        if (count == NULL) {
            return failed_read(p);
        }
        Py_ssize_t size = PyLong_AsSsize_t(count);
        Py_DECREF(count);
        return size < 0 ? READ_FAILED : size;
    }
    PyObject *data = call_read(p, room, NULL);
    if (data == NULL) {
        return failed_read(p);
    }
    Py_buffer view;
    Py_ssize_t size = READ_FAILED;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) == 0) {
        size = (size_t)view.len <= room ? view.len : (Py_ssize_t)room;
        memcpy(into, view.buf, (size_t)size);
        PyBuffer_Release(&view);
    }
    Py_DECREF(data);
    return size;
}

/* What one round of reading gave. */
typedef struct {
    PyObject *data; /* or NULL */
    int is_end;     /* the peer's close_notify */
} Round;

/* One record: the bytes object that OpenSSL's wrapper makes is what is delivered. `size`
   is not 0: such a read never asks OpenSSL, and looks like the end of the stream. */
static int
read_one(LmTls *p, size_t size, Round *round)
{
    PyObject *data = call_read(p, size, NULL);
    if (data == NULL) {
        return failed_read(p) == READ_NOTHING ? 0 : -1;
    }
    if (!PyBytes_Check(data)) {
        PyErr_Format(PyExc_TypeError, "read() returned %s, not bytes",
                     lm_type_name(Py_TYPE(data)));
        Py_DECREF(data);
        return -1;
    }
    if (PyBytes_GET_SIZE(data) == 0) {
        round->is_end = 1;
        Py_CLEAR(data);
    }
    round->data = data;
    return 0;
}

/* `count` records of `size` bytes, or all that OpenSSL can give where their number is not
   known. They decrypt into the bytes object that is delivered: they only get smaller. */
static int
read_many(LmTls *p, unsigned count, size_t size, Round *round)
{
    int is_open_ended = p->is_unframed || p->may_pend || !p->is_genuine;
    size_t room = is_open_ended ? LM_TLS_BUFFER_SIZE + LM_RECORD_LARGEST : size;
    size_t filled = 0;
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    if (data == NULL) {
        return -1;
    }
    while (is_open_ended || count-- > 0) {
        Py_ssize_t got = READ_NOTHING;
        if (filled < room) {
            got = read_into(p, PyBytes_AS_STRING(data) + filled, room - filled);
        }
        if (got == READ_FAILED) {
            Py_DECREF(data);
            return -1;
        }
        if (got == READ_NOTHING) {
            p->may_pend = filled == room;
            break;
        }
        if (got == 0) {
            round->is_end = 1;
            break;
        }
        filled += (size_t)got;
    }
    if (filled == 0) {
        Py_DECREF(data);
        return 0;
    }
    round->data = data;
    return lm_bytes_resize(&round->data, (Py_ssize_t)filled);
}

/* Feeds what may be fed from the front. */
static int
feed(LmTls *p, const char *raw, size_t size, unsigned most, LmRecords *fed)
{
    *fed = (LmRecords){size < LM_TLS_BUFFER_SIZE ? size : LM_TLS_BUFFER_SIZE, 0, 0};
    if (!p->is_unframed) {
        *fed = lm_records_find(raw, size, LM_TLS_BUFFER_SIZE, most);
        if (!fed->is_sane && fed->count == 0) {
            p->is_unframed = 1;
            return feed(p, raw, size, most, fed);
        }
    }
    return fed->bytes > 0 ? lm_tls_engine_feed(p->engine, raw, fed->bytes) : 0;
}

/* Feeds and reads. `raw` is p->in's own, or it is what has just come: then the rest of it
   is put by, before anything else runs. */
static int
read_round(LmTls *p, const char *raw, size_t size, int is_fresh, Round *round)
{
    LmRecords fed;
    if (feed(p, raw, size, ALL_RECORDS, &fed) < 0) {
        return -1;
    }
    if (is_fresh) {
        if (lm_rawbuf_add(&p->in, raw + fed.bytes, size - fed.bytes) < 0) {
            return -1;
        }
    }
    else if (fed.bytes > 0) {
        lm_rawbuf_drop(&p->in, fed.bytes);
    }
    if (fed.count == 0 && !p->is_unframed && !p->may_pend) {
        return 0;
    }
    return fed.count == 1 && !p->may_pend && p->is_genuine && p->ssl == NULL
               ? read_one(p, fed.bytes, round)
               : read_many(p, fed.count, fed.bytes, round);
}

static int
deliver(LmTls *p, PyObject *data)
{
    if (p->app_protocol == NULL) {
        return 0;
    }
    PyObject *app = Py_NewRef(p->app_protocol);
    int failed = lm_feed_protocol_bytes(p->st, app, data);
    Py_DECREF(app);
    return failed;
}

/* Nothing counts behind the peer's close_notify. */
static int
drop_rest(LmTls *p)
{
    PyObject *unread = lm_tls_engine_take_unread(p->engine);
    Py_XDECREF(unread);
    lm_rawbuf_clear(&p->in);
    p->may_pend = 0;
    return unread != NULL ? 0 : -1;
}

static int
on_close_notify(LmTls *p)
{
    return lm_tls_call_eof_received(p) < 0 ? -1 : lm_tls_start_shutdown(p);
}

/* One round with its delivery. */
static int
read_and_deliver(LmTls *p, const char *raw, size_t size, int is_fresh)
{
    LmTlsOuter outer;
    Round round = {NULL, 0};
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int failed = read_round(p, raw, size, is_fresh, &round);
    if (round.is_end && drop_rest(p) < 0) {
        failed = -1;
    }
    if (lm_tls_end(p, &outer, failed) < 0) {
        Py_XDECREF(round.data);
        return -1;
    }
    if (round.data != NULL) {
        failed = deliver(p, round.data);
        Py_DECREF(round.data);
    }
    if (failed == 0 && round.is_end) {
        failed = on_close_notify(p);
    }
    return failed;
}

static int
is_readable(LmTls *p)
{
    return (p->state == LM_WRAPPED || p->state == LM_FLUSHING) &&
           !p->app_reading_paused && !p->in_ssl;
}

static int
has_input(LmTls *p)
{
    return p->may_pend || (p->is_unframed && p->in.size > 0) ||
           (p->in.size >= LM_RECORD_HEADER &&
            lm_record_size((unsigned char *)lm_rawbuf_data(&p->in)) <= p->in.size);
}

/* To a plain protocol. */
static int
read_copied(LmTls *p)
{
    int failed = 0;
    while (failed == 0 && is_readable(p) && p->get_buffer == NULL && has_input(p)) {
        failed = read_and_deliver(p, lm_rawbuf_data(&p->in), p->in.size, 0);
    }
    if (failed == 0 && is_readable(p) && p->get_buffer != NULL && has_input(p)) {
        failed = lm_tls_resume_soon(p); /* switched to a BufferedProtocol */
    }
    return failed;
}

int
lm_tls_put_back_unread(LmTls *p)
{
    PyObject *unread = lm_tls_engine_take_unread(p->engine);
    if (unread == NULL) {
        return -1;
    }
    LmRawbuf rest = p->in;
    p->in = (LmRawbuf){NULL, 0, 0, 0};
    int failed = lm_rawbuf_add(&p->in, PyBytes_AS_STRING(unread),
                               (size_t)PyBytes_GET_SIZE(unread));
    if (failed == 0 && rest.size > 0) {
        failed = lm_rawbuf_add(&p->in, lm_rawbuf_data(&rest), rest.size);
    }
    lm_rawbuf_clear(&rest);
    Py_DECREF(unread);
    return failed;
}

/* Fills the protocol's buffer, feeding a record at a time: what it does not take stays
   with us. */
static int
fill_buffer(LmTls *p, Py_buffer *view, size_t *filled, int *is_end)
{
    size_t wants = (size_t)view->len;
    while (*filled < wants) {
        if (!p->may_pend) {
            LmRecords fed;
            if (feed(p, lm_rawbuf_data(&p->in), p->in.size, 1, &fed) < 0) {
                return -1;
            }
            if (fed.bytes == 0) {
                return 0;
            }
            lm_rawbuf_drop(&p->in, fed.bytes);
            p->may_pend = 1;
        }
        Py_ssize_t got = read_into(p, (char *)view->buf + *filled, wants - *filled);
        if (got == READ_FAILED) {
            return -1;
        }
        if (got == 0) {
            *is_end = 1;
            return drop_rest(p);
        }
        if (got == READ_NOTHING) {
            p->may_pend = 0;
        }
        else {
            /* A record gives less than its size: not all room taken, nothing pends,
               unless a foreign object gives less than it has. */
            p->may_pend =
                p->is_unframed || !p->is_genuine || (size_t)got == wants - *filled;
            *filled += (size_t)got;
        }
    }
    return lm_tls_put_back_unread(p); /* the protocol's buffer is full */
}

static PyObject *
ask_buffer(LmTls *p)
{
    PyObject *hint = PyLong_FromSize_t(p->in.size);
    PyObject *get_buffer = Py_NewRef(p->get_buffer);
    PyObject *buffer = hint != NULL ? PyObject_CallOneArg(get_buffer, hint) : NULL;
    Py_DECREF(get_buffer);
    Py_XDECREF(hint);
    return buffer;
}

static int
tell_updated(LmTls *p, PyObject *buffer_updated, size_t count)
{
    PyObject *received = PyLong_FromSize_t(count);
    PyObject *done =
        received != NULL ? PyObject_CallOneArg(buffer_updated, received) : NULL;
    Py_XDECREF(received);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* To a BufferedProtocol. */
static int
read_buffered(LmTls *p)
{
    PyObject *buffer_updated = Py_NewRef(p->buffer_updated);
    PyObject *buffer = ask_buffer(p);
    Py_buffer view;
    LmTlsOuter outer;
    size_t filled = 0;
    int is_end = 0;
    if (buffer == NULL || PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        Py_XDECREF(buffer);
        Py_DECREF(buffer_updated);
        return -1;
    }
    Py_DECREF(buffer);
    size_t wants = (size_t)view.len;
    int failed = is_readable(p) ? lm_tls_begin(p, &outer) : 1;
    if (failed == 0) {
        is_end = wants == 0; /* as asyncio has it */
        failed = lm_tls_end(p, &outer, fill_buffer(p, &view, &filled, &is_end));
    }
    PyBuffer_Release(&view);
    if (failed == 0 && filled > 0 && filled == wants) {
        failed = lm_tls_resume_soon(p);
    }
    if (failed == 0 && filled > 0) {
        failed = tell_updated(p, buffer_updated, filled);
    }
    Py_DECREF(buffer_updated);
    if (failed == 0 && is_end) {
        failed = on_close_notify(p);
    }
    return failed < 0 ? -1 : 0;
}

/* After reading: what was written meanwhile goes out, and what OpenSSL answers. */
static int
answer(LmTls *p)
{
    int failed = 0;
    if (!lm_outbuf_is_empty(&p->backlog) && p->state != LM_UNWRAPPED) {
        failed = lm_tls_do_write(p, LM_UNTIL_FULL);
    }
    else {
        failed = lm_tls_process_outgoing(p);
    }
    return failed < 0 ? -1 : lm_tls_control_ssl_reading(p);
}

static int
read_and_answer(LmTls *p)
{
    if (p->app_reading_paused) {
        return lm_tls_control_ssl_reading(p);
    }
    int failed = p->get_buffer != NULL ? read_buffered(p) : read_copied(p);
    return failed < 0 ? -1 : answer(p);
}

int
lm_tls_do_read(LmTls *p)
{
    if (p->state != LM_WRAPPED && p->state != LM_FLUSHING) {
        return 0;
    }
    if (p->in_ssl) {
        return lm_tls_resume_soon(p);
    }
    return lm_tls_guard(p, read_and_answer(p), "Fatal error on SSL protocol");
}

int
lm_tls_read_fresh(LmTls *p, const char *raw, size_t size)
{
    if (LM_UNLIKELY(!is_readable(p) || p->get_buffer != NULL || p->in.size > 0)) {
        return lm_rawbuf_add(&p->in, raw, size) < 0 ? -1 : lm_tls_do_read(p);
    }
    int failed = read_and_deliver(p, raw, size, 1);
    if (failed == 0 && p->in.size > 0) {
        failed = read_copied(p); /* where not all fitted into one round */
    }
    return lm_tls_guard(p, failed < 0 ? -1 : answer(p), "Fatal error on SSL protocol");
}

int
lm_tls_pause_reading(LmTls *p)
{
    p->app_reading_paused = 1;
    return 0;
}

int
lm_tls_resume_reading(LmTls *p)
{
    if (!p->app_reading_paused) {
        return 0;
    }
    p->app_reading_paused = 0;
    return lm_tls_resume_soon(p);
}

int
lm_tls_control_ssl_reading(LmTls *p)
{
    /* The beginning of a record is of no use without its rest: it stops no reading. */
    size_t size = has_input(p) ? p->in.size : 0;
    const char *method = NULL;
    if (size >= p->in_marks.high && !p->ssl_reading_paused) {
        p->ssl_reading_paused = 1;
        method = "pause_reading";
    }
    else if (size <= p->in_marks.low && p->ssl_reading_paused) {
        p->ssl_reading_paused = 0;
        method = "resume_reading";
    }
    if (method == NULL || p->transport == NULL) {
        return 0;
    }
    PyObject *transport = Py_NewRef(p->transport);
    PyObject *done = PyObject_CallMethod(transport, method, NULL);
    Py_DECREF(transport);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}
