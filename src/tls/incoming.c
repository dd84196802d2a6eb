/* From raw bytes to plain ones: see phase.h and records.h.

   Only whole records are fed, and as many reads made as records were fed: no read ends in
   an exception, but for records without data (tickets, key updates). All that comes is
   either decrypted or put by when the operation is over: whoever gets the plain bytes may
   do anything. */
#include "tls/phase.h"

#include "base/held.h"

#define ALL_RECORDS UINT32_MAX

/* What OpenSSL answers by itself may wait for the transport below: a peer that asks for new
   keys for ever and reads nothing is then not read from. */
#define MOST_ANSWERS (64 * 1024)

/* One record: the bytes object that OpenSSL's wrapper makes is what is delivered. `size`
   is not 0: such a read never asks OpenSSL, and looks like the end of the stream. */
static int
read_one(LmTls *p, size_t size, LmTlsPlain *plain)
{
    if (lm_tls_session_read_bytes(&p->session, size, &plain->data) < 0) {
        return -1;
    }
    if (plain->data != NULL && PyBytes_GET_SIZE(plain->data) == 0) {
        plain->is_end = 1;
        Py_CLEAR(plain->data);
    }
    return 0;
}

/* `count` records of `size` bytes, or all that OpenSSL can give where their number is not
   known. They decrypt into the bytes object that is delivered: they only get smaller. */
static int
read_many(LmTls *p, unsigned count, size_t size, LmTlsPlain *plain)
{
    int is_open_ended = p->in.is_unframed || p->in.may_pend || !p->session.is_genuine;
    /* What pends comes on top of what one feed can bring: a record's worth at most. */
    size_t room = is_open_ended ? LM_TLS_BUFFER_SIZE + LM_RECORD_LARGEST : size;
    size_t filled = 0;
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    if (data == NULL) {
        return -1;
    }
    while (is_open_ended || count-- > 0) {
        Py_ssize_t got = LM_READ_NOTHING;
        if (filled < room) {
            got = lm_tls_session_read(&p->session, PyBytes_AS_STRING(data) + filled,
                                      room - filled);
        }
        if (got == LM_READ_FAILED) {
            Py_DECREF(data);
            return -1;
        }
        if (got == LM_READ_NOTHING) {
            /* With no room left OpenSSL was not asked: the next round does. */
            p->in.may_pend = filled == room;
            break;
        }
        if (got == 0) {
            plain->is_end = 1;
            break;
        }
        filled += (size_t)got;
    }
    if (filled == 0) {
        Py_DECREF(data);
        return 0;
    }
    plain->data = data;
    return lm_bytes_resize(&plain->data, (Py_ssize_t)filled);
}

/* Feeds what may be fed from the front. What has once not looked like records goes to
   OpenSSL as it comes, for good: it raises what there is to raise. */
static int
feed_records(LmTls *p, const char *raw, size_t size, unsigned most, LmRecords *fed)
{
    *fed = (LmRecords){size < LM_TLS_BUFFER_SIZE ? size : LM_TLS_BUFFER_SIZE, 0, 0};
    if (!p->in.is_unframed) {
        *fed = lm_records_find(raw, size, LM_TLS_BUFFER_SIZE, most);
        if (!fed->is_sane && fed->count == 0) {
            p->in.is_unframed = 1;
            return feed_records(p, raw, size, most, fed);
        }
    }
    return fed->bytes > 0 ? lm_tls_engine_feed(p->session.engine, raw, fed->bytes) : 0;
}

/* Feeds and reads. What is not fed of fresh bytes is put by first: they stand in the
   buffer of the loop, which the next connection receives into. */
static int
read_round(LmTls *p, const char *raw, size_t size, int is_fresh, LmTlsPlain *plain)
{
    LmRecords fed;
    if (feed_records(p, raw, size, ALL_RECORDS, &fed) < 0) {
        return -1;
    }
    if (is_fresh) {
        if (lm_rawbuf_add(&p->in.raw, raw + fed.bytes, size - fed.bytes) < 0) {
            return -1;
        }
    }
    else if (fed.bytes > 0) {
        lm_rawbuf_drop(&p->in.raw, fed.bytes);
    }
    if (fed.count == 0 && !p->in.is_unframed && !p->in.may_pend) {
        return 0;
    }
    return fed.count == 1 && !p->in.may_pend && p->session.is_genuine &&
                   p->session.native == NULL
               ? read_one(p, fed.bytes, plain)
               : read_many(p, fed.count, fed.bytes, plain);
}

/* Nothing counts behind the peer's close_notify. */
static int
drop_rest(LmTls *p)
{
    lm_rawbuf_clear(&p->in.raw);
    p->in.may_pend = 0;
    return lm_done(lm_tls_engine_take_unread(p->session.engine));
}

int
lm_tls_decrypt(LmTls *p, const char *raw, size_t size, int is_fresh, LmTlsPlain *plain)
{
    LmTlsOuter outer;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int failed = read_round(p, raw, size, is_fresh, plain);
    if (plain->is_end && drop_rest(p) < 0) {
        failed = -1;
    }
    if (lm_tls_end(p, &outer, failed) < 0) {
        Py_CLEAR(plain->data);
        return -1;
    }
    return 0;
}

/* Fills memory, feeding a record at a time: what does not fit stays with us. */
static int
fill_memory(LmTls *p, char *into, size_t room, LmTlsPlain *plain)
{
    while (plain->filled < room) {
        size_t left = room - plain->filled;
        if (!p->in.may_pend) {
            LmRecords fed;
            if (feed_records(p, lm_rawbuf_data(&p->in.raw), p->in.raw.size, 1, &fed) <
                0) {
                return -1;
            }
            if (fed.bytes == 0) {
                return 0;
            }
            lm_rawbuf_drop(&p->in.raw, fed.bytes);
            p->in.may_pend = 1;
        }
        Py_ssize_t got = lm_tls_session_read(&p->session, into + plain->filled, left);
        if (got == LM_READ_FAILED) {
            return -1;
        }
        if (got == 0) {
            plain->is_end = 1;
            return drop_rest(p);
        }
        /* A record gives less than its size: with room left nothing pends, unless a
           foreign object gives less than it has. */
        p->in.may_pend =
            got != LM_READ_NOTHING &&
            (p->in.is_unframed || !p->session.is_genuine || (size_t)got == left);
        plain->filled += got != LM_READ_NOTHING ? (size_t)got : 0;
    }
    return lm_tls_put_back_unread(p); /* the room is full */
}

int
lm_tls_decrypt_into(LmTls *p, char *into, size_t room, LmTlsPlain *plain)
{
    LmTlsOuter outer;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    plain->is_end = room == 0; /* as asyncio has it */
    return lm_tls_end(p, &outer, fill_memory(p, into, room, plain));
}

int
lm_tls_has_input(const LmTls *p)
{
    const LmRawbuf *raw = &p->in.raw;
    return p->in.may_pend || (p->in.is_unframed && raw->size > 0) ||
           (raw->size >= LM_RECORD_HEADER &&
            lm_record_size((unsigned char *)lm_rawbuf_data(raw)) <= raw->size);
}

int
lm_tls_control_input(LmTls *p)
{
    /* The beginning of a record is of no use without its rest: it stops no reading. */
    size_t size = lm_tls_has_input(p) ? p->in.raw.size : 0;
    /* At the end of a connection all that was written waits there, and not for a peer
       that is to be stopped. */
    int is_owed = p->state == LM_WRAPPED && p->out.records.size >= MOST_ANSWERS;
    if ((size >= p->in.marks.high || is_owed) && !p->below.is_reading_paused) {
        return lm_tls_below_pause_reading(&p->below, 1);
    }
    if (size <= p->in.marks.low && !is_owed && p->below.is_reading_paused) {
        return lm_tls_below_pause_reading(&p->below, 0);
    }
    return 0;
}
