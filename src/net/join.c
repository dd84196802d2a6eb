/* Joined writes: see join.h. Relies on stream_send.h for the send itself. */
#include "net/join.h"

#include "base/clock.h"
#include "net/stream_send.h"

#define MOST_JOINED ((size_t)64 * 1024)

/* Of a turn: what many connections write while a peer is awake costs the kernel no wake-up
   of it; a turn of slow steps is not to keep what its first one wrote. */
#define LONGEST_JOINED_NS 250000

static size_t
most_joined(const LmTransport *t)
{
    return t->flow.marks.high < MOST_JOINED ? t->flow.marks.high : MOST_JOINED;
}

int
lm_join_has_other_users(const LmTransport *t)
{
    return t->is_exposed || (t->sock != NULL && Py_REFCNT(t->sock) > 1 + t->is_shown);
}

int
lm_join_wants(const LmTransport *t, size_t length)
{
    return t->is_joined || (t->loop->postpones_now && lm_outbuf_is_empty(&t->out) &&
                            !lm_transport_is_writing(t) && length <= most_joined(t) &&
                            !lm_join_has_other_users(t));
}

/* It may have been settled by now, and even have joined anew. Steals `self`. */
static int
send_joined(LmLoop *loop LM_UNUSED, PyObject *self)
{
    int failed = lm_transport_settle(self);
    Py_DECREF(self);
    return failed;
}

static int
begin(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    LmLoop *loop = t->loop;
    if (lm_ring_length(&loop->postponed) == 0) {
        loop->postponed_until_ns =
            loop->postpones == LM_POSTPONE_TURN ? lm_clock_ns() + LONGEST_JOINED_NS : 0;
    }
    if (lm_ring_push(&loop->postponed, send_joined, self) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(self);
    t->is_joined = 1;
    return 0;
}

int
lm_join_begin(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->is_joined) {
        return 1;
    }
    if (t->loop->postpones == LM_POSTPONE_STEP && lm_loop_run_postponed(t->loop) < 0) {
        return -1;
    }
    /* What that called may have closed the transport or written to it. */
    if (t->lost > 0) {
        return lm_transport_drop_write(t);
    }
    if (!t->is_joined && lm_outbuf_is_empty(&t->out) && begin(self) < 0) {
        return -1;
    }
    return 1;
}

int
lm_join_queued(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (!t->is_joined) {
        return lm_flow_maybe_pause(self);
    }
    return t->out.size > most_joined(t) ? t->kind->settle(self) : 0;
}

int
lm_join_write(PyObject *self, PyObject *owner, const char *bytes, size_t length)
{
    int wanted = lm_join_begin(self);
    if (wanted <= 0) {
        return wanted;
    }
    return lm_outbuf_add(&lm_transport(self)->out, owner, bytes, length) < 0
               ? -1
               : lm_join_queued(self);
}

int
lm_join_send(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    t->is_joined = 0;
    return t->lost > 0 || lm_outbuf_is_empty(&t->out) ? 0 : lm_stream_send_fresh(self);
}

int
lm_join_expose(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    t->is_exposed = 1;
    if (t->kind->expose != NULL && t->kind->expose(self) < 0) {
        return -1;
    }
    return lm_transport_settle(self);
}
