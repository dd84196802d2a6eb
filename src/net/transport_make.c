/* Making a transport of any kind: see transport_make.h. */
#include "net/transport_make.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/handle.h"
#include "core/owner.h"
#include "net/readers.h"
#include "task/future.h"

static void
let_go_of_watches(PyObject *self)
{
    lm_transport_stop_both(lm_transport(self));
}

/* Runs right after connection_made: only then does reading start and the waiter wake. */
static PyObject *
begin_life(PyObject *self, PyObject *waiter)
{
    PyObject *first = NULL; /* as asyncio's add_reader, which is a call by itself */
    if (lm_transport(self)->loop != NULL) {
        lm_exc_keep_first(&first, lm_transport_start_reading(self));
    }
    if (waiter != Py_None) {
        lm_exc_keep_first(&first, lm_future_wake(waiter, NULL));
    }
    lm_exc_restore(first);
    return lm_none_if(first != NULL ? -1 : 0);
}

LM_OWNED_METHOD(begin_life, lm_transport_owner)

static PyMethodDef begin_def = {"_begin", LM_OWNED(begin_life), METH_O, NULL};

int
lm_transport_check_lives(const LmTransport *t)
{
    if (t->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Transport was closed while it was made");
        return -1;
    }
    return 0;
}

static int
schedule_start(LmLoop *loop, PyObject *self, PyObject *waiter)
{
    LmTransport *t = lm_transport(self);
    PyObject *made = lm_held_attr(t->protocol, t->st->str.connection_made);
    int failed = made == NULL || lm_transport_check_lives(t) < 0
                     ? -1
                     : lm_handle_call_soon(loop, made, &self, 1, t->context);
    Py_XDECREF(made);
    return failed < 0 ? -1
                      : lm_handle_call_soon_method(loop, &begin_def, self,
                                                   waiter != NULL ? waiter : Py_None,
                                                   t->context);
}

/* Before anything can fail what is needed to drop it. */
static int
fill_transport(PyObject *self, LmLoop *loop, const LmTransportKind *kind,
               const LmTransportParts *parts)
{
    LmTransport *t = lm_transport(self);
    t->st = lm_state_hold(loop->st);
    t->kind = kind;
    t->loop = (LmLoop *)Py_NewRef(loop);
#if LM_FREE_THREADED
    t->home = (LmLoop *)Py_NewRef(loop);
#endif
    t->fd = t->number = -1;
    t->own_fd = &t->fd;
    lm_list_init(&t->server_link);
    lm_kept_init(&t->kept, self, let_go_of_watches);
    lm_watch_init(&t->reader, parts->fd, LM_WATCH_READ, lm_transport_on_ready);
    /* Copies of a file may be open elsewhere, say in a child process. */
    t->reader.is_users = kind->is_files;
    lm_flow_init(&t->flow);
    t->extra = Py_XNewRef(parts->extra);
    t->context = Py_XNewRef(parts->context);
    return lm_transport_set_protocol(t, parts->protocol);
}

/* The descriptor goes back to the caller: a Python socket that was made over it meanwhile,
   for who asked the transport, lets go of it. */
static void
give_back(LmTransport *t, const LmTransportParts *parts)
{
    PyObject *made = t->sock != parts->sock ? Py_XNewRef(t->sock) : NULL;
    t->fd = -1;
    lm_transport_set_socket(t, NULL);
    if (made != NULL &&
        lm_done(PyObject_CallMethodNoArgs(made, t->st->str.detach)) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(made);
}

/* What was noted of a transport that could not be made is taken back. The exception that is
   set stays. */
static void
undo_make(PyObject *self, const LmTransportParts *parts)
{
    LmTransport *t = lm_transport(self);
    PyObject *exc = lm_exc_hold();
    if (t->loop != NULL) {
        /* Who was shown it may have used it. */
        lm_transport_stop_both(t);
        lm_kept_remove(&t->kept);
        lm_readers_drop_owner(t->loop, parts->fd, self);
    }
    give_back(t, parts);
    if (lm_transport_leave_server(self) < 0) {
        PyErr_Clear(); /* the first one says what went wrong */
    }
    PyObject_GC_Track(self); /* a foreign server may keep it */
    Py_DECREF(self);
    lm_exc_restore(exc);
}

PyObject *
lm_transport_new(LmLoop *loop, PyObject *type, const LmTransportKind *kind,
                 const LmTransportParts *parts)
{
    PyObject *self = lm_type(type)->tp_alloc(lm_type(type), 0);
    if (self == NULL) {
        return NULL;
    }
    PyObject_GC_UnTrack(self); /* nobody finds it before it is whole */
    LmTransport *t = lm_transport(self);
    int failed = fill_transport(self, loop, kind, parts);
    if (failed == 0) {
        t->fd = t->number = parts->fd;
        lm_transport_set_socket(t, parts->sock);
    }
    if (failed < 0 || (kind->prepare != NULL && kind->prepare(self, parts) < 0) ||
        schedule_start(loop, self, parts->waiter) < 0) {
        undo_make(self, parts);
        return NULL;
    }
    t->is_made = 1;
    PyObject_GC_Track(self);
    return self;
}
