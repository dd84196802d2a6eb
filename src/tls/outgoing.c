/* From the application's bytes to records for the transport below: see phase.h.

   An operation makes several records, which go down in one piece: the bytes object that
   they come in. */
#include "tls/phase.h"

#include "base/held.h"

/* Records that one operation makes and one send takes: together they are below the size
   from which an allocation is a system call. */
#define MOST_RECORDS 7

/* Sends what waits. The block is taken first: the transport may call back. */
static int
send_out(LmTls *p)
{
    if (p->out.records.size == 0 || p->below.is_writing_paused) {
        return 0;
    }
    LmRawbuf taken = p->out.records;
    p->out.records = (LmRawbuf){NULL, 0, 0, 0};
    int failed = lm_tls_below_write_raw(&p->below, lm_rawbuf_data(&taken), taken.size);
    lm_rawbuf_clear(&taken);
    return failed;
}

/* Sends the records of an operation, behind those that wait. */
static int
send_records(LmTls *p, PyObject *records)
{
    size_t size = (size_t)PyBytes_GET_SIZE(records);
    if (size > 0 && p->out.records.size == 0 && !p->below.is_writing_paused) {
        return lm_tls_below_write(&p->below, records);
    }
    int failed = lm_rawbuf_add(&p->out.records, PyBytes_AS_STRING(records), size);
    return failed < 0 ? -1 : send_out(p);
}

/* Ends the operation and sends what it gave. */
static int
finish_batch(LmTls *p, LmTlsOuter *outer, int failed)
{
    PyObject *records = lm_tls_end_with_records(p, outer, failed);
    failed = records != NULL ? send_records(p, records) : -1;
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
        taken = lm_tls_session_write(&p->session, data + *written, size - *written);
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
    LmPiece *piece = &p->out.backlog.pieces[p->out.backlog.first];
    if (piece->left >= LM_RECORD_PLAIN || p->out.backlog.count == 1) {
        PyObject *owner = Py_NewRef(piece->bytes);
        Py_ssize_t taken = lm_tls_session_write(&p->session, piece->data, piece->left);
        Py_DECREF(owner);
        return taken;
    }
    char joined[LM_RECORD_PLAIN];
    size_t size = 0;
    for (size_t i = 0; i < p->out.backlog.count && size < sizeof(joined);
         i++, piece++) {
        size_t room = sizeof(joined) - size;
        size_t count = piece->left < room ? piece->left : room;
        memcpy(joined + size, piece->data, count);
        size += count;
    }
    return lm_tls_session_write(&p->session, joined, size);
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
    for (int i = 0;
         taken > 0 && !lm_outbuf_is_empty(&p->out.backlog) && i < MOST_RECORDS; i++) {
        taken = seal_front(p);
        if (taken > 0) {
            lm_outbuf_sent(&p->out.backlog, (size_t)taken);
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
    int goes_on =
        !p->session.is_busy; /* else what runs now comes back to the backlog */
    while (goes_on > 0 && !lm_outbuf_is_empty(&p->out.backlog) &&
           (how_much == LM_ALL || !p->below.is_writing_paused)) {
        goes_on = write_backlog(p);
    }
    return goes_on < 0 ? -1 : lm_tls_process_outgoing(p);
}

int
lm_tls_process_outgoing(LmTls *p)
{
    return send_out(p) < 0 ? -1 : lm_tls_app_control_writing(p);
}

/* 1 where the write goes on, 0 where it is dropped; -1 with an exception set. */
static int
check_unclosed(LmTls *p)
{
    if (LM_LIKELY(p->state == LM_WRAPPED || p->state == LM_DO_HANDSHAKE)) {
        return 1;
    }
    if (p->dropped_writes++ >= LM_DROPPED_WRITES_BEFORE_LOG) {
        return lm_done(lm_state_support(p->st, "log_dropped_tls_write", ""));
    }
    return 0;
}

/* Encrypts at once what may be, without queueing it first. */
static int
write_now(LmTls *p, PyObject *owner, const char *data, size_t size)
{
    size_t written = 0;
    int goes_on = 1;
    if (p->state == LM_WRAPPED && !p->session.is_busy &&
        lm_outbuf_is_empty(&p->out.backlog)) {
        while (goes_on > 0 && written < size && !p->below.is_writing_paused &&
               p->state == LM_WRAPPED) {
            goes_on = write_some(p, data, size, &written);
        }
    }
    if (goes_on == 0 && p->state == LM_UNWRAPPED) {
        return 0; /* lost meanwhile */
    }
    if (goes_on < 0 ||
        lm_outbuf_add(&p->out.backlog, owner, data + written, size - written) < 0) {
        return -1;
    }
    return p->state == LM_WRAPPED ? lm_tls_app_control_writing(p) : 0;
}

int
lm_tls_write(LmTls *p, PyObject *owner, const char *data, size_t size)
{
    int is_open = check_unclosed(p);
    if (is_open <= 0) {
        return is_open;
    }
    return lm_tls_guard(p, write_now(p, owner, data, size));
}

int
lm_tls_writelines(LmTls *p, PyObject *pieces)
{
    int is_open = check_unclosed(p);
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
    if (lm_outbuf_append(&p->out.backlog, &fresh) < 0) {
        return -1;
    }
    return p->state == LM_WRAPPED ? lm_tls_guard(p, lm_tls_do_write(p, LM_UNTIL_FULL))
                                  : 0;
}
