/* The watches of a transport, started and stopped: see transport.h. */
#include "net/transport.h"

#include "core/context.h"
#include "core/handle.h"

/* The number is not ours any more. Not open, it cannot be watched, as asyncio says; with
   another owner there is nothing to wait for: the call itself says what is wrong. */
static int
run_unwatched(PyObject *self, PyMethodDef *method)
{
    LmTransport *t = lm_transport(self);
    if (lm_watch_check_fd(&t->loop->poll, t->fd) < 0) {
        return -1;
    }
    return lm_handle_call_soon_method(t->loop, method, self, NULL, t->context);
}

static int
has_fd(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return t->kind->has_fd != NULL ? t->kind->has_fd(self) : !lm_transport_is_stale(t);
}

static int
start_watch(PyObject *self, LmWatch *watch, PyObject **place)
{
    LmTransport *t = lm_transport(self);
    int is_ours = has_fd(self);
    if (LM_UNLIKELY(is_ours <= 0)) {
        return is_ours < 0 || t->loop == NULL
                   ? is_ours
                   : run_unwatched(self, watch == &t->reader ? t->kind->read_method
                                                             : t->kind->flush_method);
    }
    PyObject *context =
        t->context != NULL ? Py_NewRef(t->context) : lm_context_snapshot();
    if (context == NULL) {
        return -1;
    }
    /* To make one may run the collector, and so anything. */
    LmPoll *poll = t->loop != NULL ? lm_loop_poll(t->loop) : NULL;
    if (poll == NULL) {
        Py_DECREF(context);
        return t->loop != NULL ? -1 : 0;
    }
    PyObject *old = *place;
    *place = context;
    int failed = lm_watch_start(poll, watch);
    if (failed == 0) {
        lm_kept_add(t->loop, &t->kept);
    }
    /* Last: what was kept in it may close the transport, or the loop. */
    Py_XDECREF(old);
    return failed;
}

static void
stop_watch(PyObject *self, LmWatch *watch)
{
    LmTransport *t = lm_transport(self);
    if (t->loop == NULL) {
        return;
    }
    /* The poll may have stopped it by itself, for a descriptor that was closed. */
    lm_watch_stop(&t->loop->poll, watch);
    if (watch->sibling == NULL || !watch->sibling->is_active) {
        lm_kept_remove(&t->kept);
    }
}

void
lm_transport_stop_both(LmTransport *t)
{
    lm_watch_stop(&t->loop->poll, &t->reader);
    if (t->writer != NULL) {
        lm_watch_stop(&t->loop->poll, &t->writer->watch);
    }
}

static int
wants_to_read(const LmTransport *t)
{
    return !t->is_closing && !t->is_paused && t->fd >= 0;
}

int
lm_transport_start_reading(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (!wants_to_read(t)) {
        return 0;
    }
    int may = t->kind->may_read != NULL ? t->kind->may_read(self) : 1;
    if (may <= 0 || !wants_to_read(t) || t->reader.is_active) {
        return may < 0 ? -1 : 0;
    }
    return start_watch(self, &t->reader, &t->read_context);
}

void
lm_transport_note_owner(LmTransport *t)
{
    t->reader.own_fd = lm_sock_fd_known(t->own_fd);
    if (t->writer != NULL) {
        t->writer->watch.own_fd = t->reader.own_fd;
    }
}

static int
make_writer(LmTransport *t)
{
    t->writer = PyMem_Calloc(1, sizeof(*t->writer));
    if (t->writer == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    t->writer->owner = t;
    lm_watch_init(&t->writer->watch, t->reader.fd, LM_WATCH_WRITE, t->reader.on_ready);
    t->writer->watch.is_users = t->reader.is_users;
    lm_watch_pair(&t->reader, &t->writer->watch);
    lm_transport_note_owner(t);
    return 0;
}

int
lm_transport_start_writing(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->writer == NULL && make_writer(t) < 0) {
        return -1;
    }
    return start_watch(self, &t->writer->watch, &t->writer->context);
}

void
lm_transport_stop_reading(PyObject *self)
{
    stop_watch(self, &lm_transport(self)->reader);
}

void
lm_transport_stop_writing(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->writer != NULL) {
        stop_watch(self, &t->writer->watch);
    }
}
