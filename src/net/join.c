/* Joined writes: see join.h. Relies on stream_write.h for the send itself. */
#include "net/join.h"

#include "net/stream_write.h"

#define MOST_JOINED ((size_t)64 * 1024)

static size_t
most_joined(const LmTransport *t)
{
    return t->flow.high_water < MOST_JOINED ? t->flow.high_water : MOST_JOINED;
}

int
lm_join_wants(const LmTransport *t, size_t length)
{
    return t->loop->joins_now &&
           (t->is_joined || (lm_outbuf_is_empty(&t->out) && length <= most_joined(t)));
}

int
lm_join_write(PyObject *self, PyObject *owner, const char *bytes, size_t length)
{
    LmTransport *t = lm_transport(self);
    LmLoop *loop = t->loop;
    while (!t->is_joined && loop->joined != NULL) {
        if (lm_join_flush(loop) < 0) {
            return -1;
        }
    }
    /* What that called may have closed the transport or written to it. */
    if (t->lost > 0) {
        return lm_transport_drop_write(t);
    }
    if (lm_outbuf_is_empty(&t->out)) {
        loop->joined = Py_NewRef(self);
        t->is_joined = 1;
    }
    if (lm_outbuf_add(&t->out, owner, bytes, length) < 0) {
        return -1;
    }
    if (!t->is_joined) {
        return lm_flow_maybe_pause(self);
    }
    return t->out.size > most_joined(t) ? lm_join_flush(loop) : 0;
}

int
lm_join_flush(LmLoop *loop)
{
    PyObject *self = loop->joined;
    if (self == NULL) {
        return 0;
    }
    loop->joined = NULL;
    LmTransport *t = lm_transport(self);
    t->is_joined = 0;
    int failed =
        t->lost > 0 || lm_outbuf_is_empty(&t->out) ? 0 : lm_stream_send_fresh(self);
    Py_DECREF(self);
    return failed;
}
