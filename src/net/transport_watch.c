/* The watches of a transport: starting, stopping, and what runs when one fires. See
   transport.h. */
#include "net/transport.h"

#include "core/context.h"
#include "core/handle.h"
#include "core/ready.h"

static int
start(PyObject *self, LmWatch *watch, PyObject **slot)
{
    LmTransport *t = lm_transport(self);
    LmPoll *poll = lm_loop_poll(t->loop);
    PyObject *context = poll != NULL ? lm_transport_new_context(t) : NULL;
    if (context == NULL) {
        return -1;
    }
    Py_XSETREF(*slot, context);
    lm_watch_start(poll, watch);
    lm_kept_add(t->loop, &t->kept);
    return 0;
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
    if (!watch->sibling->is_active) {
        lm_kept_remove(&t->kept);
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

int
lm_transport_start_writing(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return start(self, &t->writer, &t->write_context);
}

void
lm_transport_stop_reading(PyObject *self)
{
    stop(self, &lm_transport(self)->reader);
}

void
lm_transport_stop_writing(PyObject *self)
{
    stop(self, &lm_transport(self)->writer);
}

/* What ran before it in the turn may have closed or paused the transport. Steals
   `self`. */
static int
run_ready(LmLoop *loop, PyObject *self, const LmWatch *watch, PyObject *home,
          int (*work)(PyObject *self), PyMethodDef *method)
{
    int failed = 0;
    if (LM_LIKELY(watch->is_active && lm_transport(self)->lost == 0)) {
        lm_loop_leave_task(loop);
        PyObject *context = lm_context_enter(loop, home);
        failed = context != NULL ? lm_context_exit(context, work(self)) : -1;
        if (LM_UNLIKELY(failed < 0)) {
            failed = lm_handle_report_fault(loop, method, self);
        }
    }
    Py_DECREF(self);
    return failed;
}

static int
read_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_ready(loop, self, &t->reader, t->read_context, t->kind->read,
                     t->kind->read_method);
}

static int
write_ready(LmLoop *loop, PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return run_ready(loop, self, &t->writer, t->write_context, t->kind->flush,
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

void
lm_transport_on_writable(LmWatch *watch)
{
    LmTransport *t = LM_CONTAINER_OF(watch, LmTransport, writer);
    /* One descriptor, both directions: the reader comes first, whichever libev named
       first. */
    if (!lm_list_is_empty(&t->reader.fired)) {
        lm_list_remove(&t->reader.fired);
        push(t, read_ready);
    }
    push(t, write_ready);
}
