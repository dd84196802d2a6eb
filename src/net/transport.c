/* Making, closing and the inner life of a transport: see transport.h. The Python type
   stands in transport_type.c, its watches in transport_watch.c. */
#include "net/transport.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "core/handle.h"
#include "net/flow.h"
#include "net/join.h"
#include "net/readers.h"
#include "net/server.h"
#include "net/transport_extra.h"
#include "task/future.h"

#include <unistd.h>

#define DROPPED_WRITES_BEFORE_LOG 5

int
lm_transport_log_debug(PyObject *self, const char *text)
{
    PyObject *done =
        lm_state_support(lm_transport(self)->st, "log_debug", "Os", self, text);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int
lm_transport_drop_write(LmTransport *t)
{
    if (t->lost >= DROPPED_WRITES_BEFORE_LOG) {
        PyObject *done = lm_state_support(t->st, "log_dropped_write", "");
        Py_XDECREF(done);
        if (done == NULL) {
            return -1;
        }
    }
    t->lost++;
    return 0;
}

static int
has_method(PyObject *obj, PyObject *name)
{
    PyObject *found;
    int has = PyObject_GetOptionalAttr(obj, name, &found);
    Py_XDECREF(found);
    return has;
}

/* A BufferedProtocol by its class, or by its methods where it has no data_received. */
static int
is_buffered_protocol(LmState *st, PyObject *protocol)
{
    int is_buffered = PyObject_IsInstance(protocol, st->asyncio_BufferedProtocol);
    if (is_buffered != 0) {
        return is_buffered;
    }
    int has = has_method(protocol, st->str.data_received);
    if (has != 0) {
        return has < 0 ? -1 : 0;
    }
    has = has_method(protocol, st->str.get_buffer);
    return has <= 0 ? has : has_method(protocol, st->str.buffer_updated);
}

int
lm_transport_set_protocol(LmTransport *t, PyObject *protocol)
{
    int is_buffered = t->kind->is_stream ? is_buffered_protocol(t->st, protocol) : 0;
    if (is_buffered < 0) {
        return -1;
    }
    t->is_buffered = (uint8_t)is_buffered;
    t->is_native = (PyObject *)Py_TYPE(protocol) == t->st->SSLProtocolType;
    Py_XSETREF(t->protocol, Py_NewRef(protocol));
    return 0;
}

static void
let_go(PyObject *self)
{
    lm_transport_stop_both(lm_transport(self));
}

static PyObject *
wake(PyObject *waiter)
{
    PyObject *cancelled = PyObject_CallMethod(waiter, "cancelled", NULL);
    int is_cancelled = cancelled != NULL ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (is_cancelled < 0) {
        return NULL;
    }
    return is_cancelled ? Py_NewRef(Py_None)
                        : PyObject_CallMethod(waiter, "set_result", "O", Py_None);
}

/* Runs right after connection_made: only then does reading start and the waiter wake. */
static PyObject *
begin(PyObject *self, PyObject *waiter)
{
    LmTransport *t = lm_transport(self);
    int failed = t->loop != NULL ? lm_transport_start_reading(self) : 0;
    PyObject *exc = failed < 0 ? PyErr_GetRaisedException() : NULL;
    PyObject *done = waiter != Py_None ? wake(waiter) : Py_NewRef(Py_None);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc); /* as asyncio's add_reader, by itself */
        Py_CLEAR(done);
    }
    return done;
}

static PyObject *
call_connection_lost(PyObject *self, PyObject *exc)
{
    if (lm_transport_finish(self, exc) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef begin_def = {"_begin", begin, METH_O, NULL};
static PyMethodDef lost_def = {"_call_connection_lost", call_connection_lost, METH_O,
                               NULL};

static int
call_soon_bound(LmLoop *loop, PyMethodDef *def, PyObject *self, PyObject *arg)
{
    PyObject *bound = PyCFunction_New(def, self);
    int failed = bound == NULL ? -1
                               : lm_handle_call_soon(loop, bound, &arg, 1,
                                                     lm_transport(self)->context);
    Py_XDECREF(bound);
    return failed;
}

static int
schedule_start(LmLoop *loop, PyObject *self, PyObject *waiter)
{
    LmTransport *t = lm_transport(self);
    if (t->protocol == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Transport was closed while it was made");
        return -1;
    }
    PyObject *made = lm_held_attr(t->protocol, t->st->str.connection_made);
    int failed =
        made == NULL ? -1 : lm_handle_call_soon(loop, made, &self, 1, t->context);
    Py_XDECREF(made);
    return failed < 0 ? -1
                      : call_soon_bound(loop, &begin_def, self,
                                        waiter != NULL ? waiter : Py_None);
}

void
lm_transport_set_socket(LmTransport *t, PyObject *sock)
{
    PyObject *old = t->sock;
    t->own_fd = sock != NULL ? lm_sock_fd_place(t->st, sock, t->fd) : &t->fd;
    lm_transport_note_owner(t);
    t->sock = Py_XNewRef(sock);
    Py_XDECREF(old);
}

/* Of an object with methods of its own they are what its methods say. */
static int
ask_addresses(LmTransport *t, const LmAddr *known_peer)
{
    LmAddr local, peer;
    local.length = peer.length = LM_ADDR_ROOM;
    if (!lm_transport_owns_fd(t)) {
        local.any.sa_family = peer.any.sa_family = AF_UNSPEC;
        t->ends = lm_ends_new(&local, &peer);
        return t->ends != NULL ? 0 : -1;
    }
    if (getsockname(t->fd, &local.any, &local.length) < 0) {
        local.any.sa_family = AF_UNSPEC;
    }
    if (known_peer == NULL && getpeername(t->fd, &peer.any, &peer.length) < 0) {
        peer.any.sa_family = AF_UNSPEC;
    }
    t->ends = lm_ends_new(&local, known_peer != NULL ? known_peer : &peer);
    return t->ends != NULL ? 0 : -1;
}

static int
fill(PyObject *self, LmLoop *loop, const LmTransportKind *kind,
     const LmTransportParts *parts)
{
    LmTransport *t = lm_transport(self);
    t->st = lm_state_hold(loop->st);
    t->kind = kind;
    t->loop = (LmLoop *)Py_NewRef(loop);
    t->fd = t->number = -1;
    t->own_fd = &t->fd;
    lm_list_init(&t->server_link);
    lm_kept_init(&t->kept, self, let_go);
    lm_watch_init(&t->reader, parts->fd, LM_WATCH_READ, lm_transport_on_readable);
    lm_flow_init(&t->flow);
    if (lm_transport_set_protocol(t, parts->protocol) < 0) {
        return -1;
    }
    t->sock = Py_XNewRef(parts->sock); /* owns nothing as long as `fd` is not set */
    t->extra = Py_XNewRef(parts->extra);
    t->context = Py_XNewRef(parts->context);
    if (parts->server != NULL) {
        if (lm_server_attach(t->st, parts->server, self, &t->server_link) < 0) {
            return -1;
        }
        t->server = Py_NewRef(parts->server);
    }
    return lm_readers_forget(loop, parts->fd) < 0
               ? -1
               : lm_readers_set_owner(loop, parts->fd, self);
}

int
lm_transport_leave_server(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *server = t->server;
    if (server == NULL) {
        return 0;
    }
    t->server = NULL;
    int failed = lm_server_detach(t->st, server, self, &t->server_link);
    Py_DECREF(server);
    return failed;
}

/* What was noted of a transport that could not be made is taken back; the descriptor is
   still the caller's. The exception that is set stays. */
static void
undo(PyObject *self, int fd)
{
    LmTransport *t = lm_transport(self);
    PyObject *exc = PyErr_GetRaisedException();
    t->fd = -1;
    lm_transport_set_socket(t, NULL);
    lm_readers_drop_owner(t->loop, fd, self);
    if (lm_transport_leave_server(self) < 0) {
        PyErr_Clear(); /* the first one says what went wrong */
    }
    PyObject_GC_Track(self); /* a foreign server may keep it */
    Py_DECREF(self);
    PyErr_SetRaisedException(exc);
}

/* Asked for at once, as asyncio does, where somebody's own methods are called. */
static int
show_all(PyObject *self)
{
    PyObject *extra = lm_transport_get_extra(self, NULL);
    Py_XDECREF(extra);
    return extra != NULL ? 0 : -1;
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
    if (fill(self, loop, kind, parts) < 0) {
        undo(self, parts->fd);
        return NULL;
    }
    t->fd = t->number = parts->fd;
    lm_transport_set_socket(t, parts->sock);
    if (ask_addresses(t, parts->peer) < 0 ||
        (!lm_transport_owns_fd(t) && show_all(self) < 0) ||
        (kind->prepare != NULL && kind->prepare(self, parts) < 0) ||
        schedule_start(loop, self, parts->waiter) < 0) {
        undo(self, parts->fd);
        return NULL;
    }
    PyObject_GC_Track(self);
    return self;
}

static int
schedule_connection_lost(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    t->lost++;
    return call_soon_bound(t->loop, &lost_def, self, exc);
}

int
lm_transport_close(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->loop == NULL) {
        return 0;
    }
    if (lm_join_settle(self) < 0) {
        return -1;
    }
    if (t->is_closing) {
        return 0;
    }
    t->is_closing = 1;
    lm_transport_stop_reading(self);
    if (!lm_outbuf_is_empty(&t->out)) {
        return 0;
    }
    lm_transport_stop_writing(self);
    return schedule_connection_lost(self, Py_None);
}

int
lm_transport_force_close(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    if (lm_join_settle(self) < 0) {
        return -1;
    }
    if (t->lost > 0 || t->loop == NULL) {
        return 0;
    }
    Py_INCREF(self); /* stopping may let go of the last reference */
    t->is_closing = 1;
    lm_transport_stop_writing(self);
    lm_transport_stop_reading(self);
    int failed = schedule_connection_lost(self, exc);
    /* Last: a datagram's address may be any object, and its end do anything. */
    PyObject *raised = PyErr_GetRaisedException();
    lm_outbuf_clear(&t->out);
    lm_exc_put_back(raised);
    Py_DECREF(self);
    return failed;
}

int
lm_transport_fatal(PyObject *self, const char *message)
{
    LmTransport *t = lm_transport(self);
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = 0;
    if (t->loop == NULL) {
        Py_DECREF(exc);
        return 0;
    }
    if (!PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        failed = lm_fault_report((PyObject *)t->loop, t->st, message, "transport", self,
                                 "protocol", t->protocol, NULL);
    }
    else if (t->loop->is_debug) {
        PyObject *done =
            lm_state_support(t->st, "log_transport_error", "OsO", self, message, exc);
        failed = done != NULL ? 0 : -1;
        Py_XDECREF(done);
    }
    if (failed == 0) {
        failed = lm_transport_force_close(self, exc);
    }
    Py_DECREF(exc);
    return failed;
}

static int
close_socket(LmTransport *t)
{
    int fd = t->fd;
    PyObject *sock = t->sock;
    t->fd = -1;
    t->own_fd = &t->fd;
    lm_transport_note_owner(t);
    t->sock = NULL;
    if (sock == NULL) {
        if (fd >= 0 && close(fd) < 0 && errno != ECONNRESET) {
            lm_oserr_set(errno); /* as socket.close() says */
            return -1;
        }
        return 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs(sock, t->st->str.close);
    Py_DECREF(sock);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* Keeps the first of the exceptions that the parts of a release raise. */
static void
keep_first(PyObject **first, int failed)
{
    if (failed < 0) {
        if (*first == NULL) {
            *first = PyErr_GetRaisedException();
        }
        else {
            PyErr_Clear();
        }
    }
}

/* sendfile waits for the queue to become empty, or for the descriptor it was lent (-1
   where the number is not ours to look for it by): it is told by an exception, or by the
   call that it makes when it is woken. */
static int
end_sendfile(LmTransport *t, LmLoop *loop, int fd)
{
    PyObject *waiter = Py_XNewRef(t->empty_waiter);
    if (waiter == NULL) {
        return 0;
    }
    int is_done = lm_future_is_done(waiter);
    if (is_done != 0) {
        Py_DECREF(waiter);
        return is_done < 0 ? -1 : lm_readers_rouse(loop, fd, LM_WATCH_WRITE);
    }
    PyObject *exc = PyObject_CallFunction(PyExc_ConnectionError, "s",
                                          "Connection is closed by peer");
    PyObject *done =
        exc != NULL ? PyObject_CallMethod(waiter, "set_exception", "O", exc) : NULL;
    Py_XDECREF(exc);
    Py_XDECREF(done);
    Py_DECREF(waiter);
    return done != NULL ? 0 : -1;
}

static PyObject *
tell_of_loss(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    return lm_held_call_one(t->protocol, t->st->str.connection_lost, exc);
}

int
lm_transport_finish(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    PyObject *first = NULL;
    if (t->loop == NULL || t->is_finished) {
        return 0;
    }
    t->is_finished = 1; /* once, though a run within connection_lost may come here */
    t->lost += t->lost == 0;
    PyObject *done = tell_of_loss(self, exc);
    keep_first(&first, done != NULL ? 0 : -1);
    Py_XDECREF(done);

    int fd = t->fd;
    LmLoop *loop = t->loop;
    lm_transport_stop_both(t);
    lm_kept_remove(&t->kept);
    int was_ours = lm_readers_drop_owner(loop, fd, self) && !lm_transport_is_stale(t);
    loop->has_done_io = 1;
    PyObject *protocol = t->protocol;
    t->protocol = NULL;
    t->loop = NULL; /* from here on it is CLOSED for whatever runs */
    keep_first(&first, close_socket(t));
    Py_DECREF(protocol);
    keep_first(&first, lm_transport_leave_server(self));
    keep_first(&first, end_sendfile(t, loop, was_ours ? fd : -1));
    Py_DECREF(loop);
    if (first != NULL) {
        PyErr_SetRaisedException(first);
        return -1;
    }
    return 0;
}
