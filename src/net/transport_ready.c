/* What runs when a watch of a transport fired, of any kind: see transport.h. libev's side
   only pushes; the work is an item of the ready queue, in the context that was kept when the
   watch was started. */
#include "net/transport.h"

#include "core/context.h"
#include "core/handle.h"
#include "core/ready.h"

/* In the context that is kept at the place, where it stays unless it is an empty one. */
static int
run_in_context(LmLoop *loop, PyObject *self, PyObject **place,
               int (*work)(PyObject *self))
{
    if (*place == Py_None && lm_context_fill(loop, place) < 0) {
        return -1;
    }
    PyObject *context = lm_context_enter(loop, *place);
    int failed = context != NULL ? lm_context_exit(context, work(self)) : -1;
    if (LM_LIKELY(failed == 0)) {
        lm_context_empty(loop, place);
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
run_fired(LmLoop *loop, PyObject *self, LmWatch *watch, PyObject **place,
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
    return run_fired(loop, self, &t->reader, &t->read_context, t->kind->read,
                     t->kind->read_method);
}

static int
left_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_fired(loop, self, &t->reader, &t->read_context, t->kind->read_left,
                     t->kind->read_method);
}

int
lm_transport_read_left_soon(PyObject *self)
{
    return lm_ready_push(lm_transport(self)->loop, left_ready, Py_NewRef(self));
}

static int
write_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_fired(loop, self, &t->writer->watch, &t->writer->context, t->kind->flush,
                     t->kind->flush_method);
}

static void
push_work(LmTransport *t, LmReadyFn function)
{
    if (lm_ready_push(t->loop, function, Py_NewRef(lm_transport_object(t))) < 0) {
        PyErr_Clear(); /* level-triggered: the next poll reports it again */
    }
}

static void
writer_fired(LmWatch *watch)
{
    LmTransport *t = LM_CONTAINER_OF(watch, LmWriter, watch)->owner;
    /* One descriptor, both directions: the reader comes first, whichever libev named
       first. */
    if (!lm_list_is_empty(&t->reader.fired)) {
        lm_list_remove(&t->reader.fired);
        push_work(t, read_ready);
    }
    push_work(t, write_ready);
}

void
lm_transport_on_ready(LmWatch *watch)
{
    if (LM_LIKELY(watch->direction == LM_WATCH_READ)) {
        push_work(LM_CONTAINER_OF(watch, LmTransport, reader), read_ready);
    }
    else {
        writer_fired(watch);
    }
}
