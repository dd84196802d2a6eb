/* Operations of one connection on the pair that all share: see tls.h and engine.h. */
#include "tls/tls.h"

#include "base/held.h"

/* What an operation leaves unread would be the next connection's. */
static int
drop_unread(LmTlsEngine *engine)
{
    return engine->is_fed ? lm_done(lm_tls_engine_take_unread(engine)) : 0;
}

int
lm_tls_begin(LmTls *p, LmTlsOuter *outer)
{
    LmTlsEngine *engine = p->session.engine;
    if (lm_tls_engine_enter(engine, outer) < 0) {
        return -1;
    }
    if (!outer->is_nested) {
        /* Left by a call of the application's on an ssl_object: nobody can tell whose it
           is, and on any other connection it would do harm. So would what could not be
           taken out for want of memory. */
        if (lm_done(lm_tls_engine_take(engine)) < 0 || drop_unread(engine) < 0) {
            return lm_tls_engine_leave(engine, outer, -1);
        }
    }
    p->session.is_busy = 1;
    return 0;
}

PyObject *
lm_tls_end_with_records(LmTls *p, LmTlsOuter *outer, int failed)
{
    LmTlsEngine *engine = p->session.engine;
    PyObject *records = failed == 0 ? lm_tls_engine_take(engine) : NULL;
    if (records != NULL && drop_unread(engine) < 0) {
        Py_CLEAR(records);
    }
    p->session.is_busy = 0;
    if (records == NULL) {
        lm_tls_engine_empty(engine);
    }
    if (lm_tls_engine_leave(engine, outer, records != NULL ? 0 : -1) < 0) {
        Py_CLEAR(records);
    }
    return records;
}

int
lm_tls_end(LmTls *p, LmTlsOuter *outer, int failed)
{
    PyObject *records = lm_tls_end_with_records(p, outer, failed);
    if (records != NULL) {
        failed = lm_rawbuf_add(&p->out.records, PyBytes_AS_STRING(records),
                               (size_t)PyBytes_GET_SIZE(records));
        Py_DECREF(records);
    }
    return records != NULL ? failed : -1;
}

int
lm_tls_feed_all(LmTls *p)
{
    if (p->in.raw.size == 0) {
        return 0;
    }
    int failed = lm_tls_engine_feed(p->session.engine, lm_rawbuf_data(&p->in.raw),
                                    p->in.raw.size);
    lm_rawbuf_clear(&p->in.raw);
    return failed;
}

int
lm_tls_put_back_unread(LmTls *p)
{
    PyObject *unread = lm_tls_engine_take_unread(p->session.engine);
    if (unread == NULL) {
        return -1;
    }
    LmRawbuf rest = p->in.raw;
    p->in.raw = (LmRawbuf){NULL, 0, 0, 0};
    int failed = lm_rawbuf_add(&p->in.raw, PyBytes_AS_STRING(unread),
                               (size_t)PyBytes_GET_SIZE(unread));
    if (failed == 0 && rest.size > 0) {
        failed = lm_rawbuf_add(&p->in.raw, lm_rawbuf_data(&rest), rest.size);
    }
    lm_rawbuf_clear(&rest);
    Py_DECREF(unread);
    return failed;
}
