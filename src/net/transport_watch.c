/* The watches of a transport: starting, stopping, and what runs when one fires. See
   transport.h. */
#include "net/transport.h"

#include "core/context.h"
#include "core/handle.h"
#include "core/ready.h"

static void on_writable(LmWatch *watch);

/* The number is not ours any more. Not open, it cannot be watched, as asyncio says; with
   another owner there is nothing to wait for: the call itself says what is wrong. */
static int
run_unwatched(PyObject *self, PyMethodDef *method)
{
    LmTransport *t = lm_transport(self);
    if (lm_watch_check_fd(&t->loop->poll, t->fd) < 0) {
        return -1;
    }
    PyObject *bound = PyCFunction_New(method, self);
    int failed =
        bound == NULL ? -1 : lm_handle_call_soon(t->loop, bound, NULL, 0, t->context);
    Py_XDECREF(bound);
    return failed;
}

static int
start(PyObject *self, LmWatch *watch, PyObject **place)
{
    LmTransport *t = lm_transport(self);
    if (lm_transport_is_stale(t)) {
        return run_unwatched(self, watch == &t->reader ? t->kind->read_method
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
stop(PyObject *self, LmWatch *watch)
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

int
lm_transport_start_reading(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->is_paused || t->reader.is_active || t->fd < 0) {
        return 0;
    }
    return start(self, &t->reader, &t->read_context);
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
    lm_watch_init(&t->writer->watch, t->reader.fd, LM_WATCH_WRITE, on_writable);
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
    return start(self, &t->writer->watch, &t->writer->context);
}

void
lm_transport_stop_reading(PyObject *self)
{
    stop(self, &lm_transport(self)->reader);
}

void
lm_transport_stop_writing(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->writer != NULL) {
        stop(self, &t->writer->watch);
    }
}

/* In the context that is kept at the place, where it stays unless it is an empty one. */
static int
run_in_context(LmLoop *loop, PyObject *self, PyObject **place,
               int (*work)(PyObject *self))
{
    if (*place == Py_None && lm_context_fill(loop->st, place) < 0) {
        return -1;
    }
    PyObject *context = lm_context_enter(loop, *place);
    int failed = context != NULL ? lm_context_exit(context, work(self)) : -1;
    if (LM_LIKELY(failed == 0)) {
        lm_context_empty(loop->st, place);
    }
    return failed;
}

/* The kernel does not watch the descriptor. asyncio raises where it registers, which the
   exception handler is told of, and is deaf from then on; here the connection ends. */
static int
end_unwatched(LmLoop *loop, PyObject *self, LmWatch *watch, PyMethodDef *method)
{
    lm_watch_set_error(watch);
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(exc));
    lm_loop_leave_task(loop);
    int failed = lm_handle_report_fault(loop, method, self);
    if (failed == 0 && lm_transport(self)->loop != NULL) {
        failed = lm_transport_force_close(self, exc);
    }
    Py_DECREF(exc);
    return failed;
}

/* What ran before it in the turn may have closed or paused the transport. Steals
   `self`. */
static int
run_ready(LmLoop *loop, PyObject *self, LmWatch *watch, PyObject **place,
          int (*work)(PyObject *self), PyMethodDef *method)
{
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_LIKELY(watch->is_active && lm_transport(self)->lost == 0)) {
        failed = run_in_context(loop, self, place, work);
        if (LM_UNLIKELY(failed < 0)) {
            failed = lm_handle_report_fault(loop, method, self);
        }
    }
    else if (LM_UNLIKELY(watch->error != 0) && lm_transport(self)->lost == 0) {
        failed = end_unwatched(loop, self, watch, method);
    }
    Py_DECREF(self);
    return failed;
}

static int
read_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_ready(loop, self, &t->reader, &t->read_context, t->kind->read,
                     t->kind->read_method);
}

static int
write_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_ready(loop, self, &t->writer->watch, &t->writer->context, t->kind->flush,
                     t->kind->flush_method);
}

static void
push(LmTransport *t, LmReadyFn function)
{
    if (lm_ready_push(t->loop, function, Py_NewRef(lm_transport_object(t))) < 0) {
        PyErr_Clear(); /* level-triggered: the next poll reports it again */
    }
}

void
lm_transport_on_readable(LmWatch *watch)
{
    push(LM_CONTAINER_OF(watch, LmTransport, reader), read_ready);
}

static void
on_writable(LmWatch *watch)
{
    LmTransport *t = LM_CONTAINER_OF(watch, LmWriter, watch)->owner;
    /* One descriptor, both directions: the reader comes first, whichever libev named
       first. */
    if (!lm_list_is_empty(&t->reader.fired)) {
        lm_list_remove(&t->reader.fired);
        push(t, read_ready);
    }
    push(t, write_ready);
}
