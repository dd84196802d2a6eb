/* The end of a transport, and what changes hands before it (its protocol, its Python
   socket), of any kind: see transport.h. */
#include "net/transport.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/fault.h"
#include "core/handle.h"
#include "core/owner.h"
#include "net/flow.h"
#include "net/readers.h"
#include "net/server.h"
#include "task/future.h"

#include <unistd.h>

int
lm_transport_log_debug(PyObject *self, const char *text)
{
    return lm_done(
        lm_state_support(lm_transport(self)->st, "log_debug", "Os", self, text));
}

int
lm_transport_drop_write(LmTransport *t)
{
    if (t->lost >= LM_DROPPED_WRITES_BEFORE_LOG &&
        lm_done(lm_state_support(t->st, "log_dropped_write", "")) < 0) {
        return -1;
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
    Py_XDECREF(
        lm_shared_swap(lm_transport_object(t), &t->protocol, Py_NewRef(protocol)));
    return 0;
}

static PyObject *
call_connection_lost(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_transport_finish(self, exc));
}

LM_OWNED_METHOD(call_connection_lost, lm_transport_owner)

static PyMethodDef lost_def = {"_call_connection_lost", LM_OWNED(call_connection_lost),
                               METH_O, NULL};

void
lm_transport_set_socket(LmTransport *t, PyObject *sock)
{
    PyObject *old = t->sock;
    t->own_fd = sock != NULL        ? lm_sock_fd_place(t->st, sock, t->fd)
                : t->kind->is_files ? &lm_sock_fd_by_method
                                    : &t->fd;
    lm_transport_note_owner(t);
    t->sock = Py_XNewRef(sock);
    Py_XDECREF(old);
}

int
lm_transport_leave_server(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *server = lm_shared_swap(self, &t->server, NULL);
    if (server == NULL) {
        return 0;
    }
    int failed = lm_server_detach(t->st, server, self, &t->server_link);
    Py_DECREF(server);
    return failed;
}

static int
schedule_connection_lost(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    t->lost++;
    return lm_handle_call_soon_method(t->loop, &lost_def, self, exc, t->context);
}

int
lm_transport_close(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->loop == NULL) {
        return 0;
    }
    if (lm_transport_settle(self) < 0) {
        return -1;
    }
    if (t->is_closing) {
        return 0;
    }
    LM_STORE(t->is_closing, 1);
    int is_sent = lm_outbuf_is_empty(&t->out);
    if (is_sent || !t->kind->reads_while_closing) {
        lm_transport_stop_reading(self);
    }
    if (!is_sent) {
        return 0;
    }
    lm_transport_stop_writing(self);
    return schedule_connection_lost(self, Py_None);
}

int
lm_transport_force_close(PyObject *self, PyObject *exc)
{
    LmTransport *t = lm_transport(self);
    if (lm_transport_settle(self) < 0) {
        return -1;
    }
    if (t->lost > 0 || t->loop == NULL) {
        return 0;
    }
    Py_INCREF(self); /* stopping may let go of the last reference */
    LM_STORE(t->is_closing, 1);
    lm_transport_stop_writing(self);
    lm_transport_stop_reading(self);
    int failed = schedule_connection_lost(self, exc);
    /* Last: a datagram's address may be any object, and its end do anything. */
    PyObject *raised = lm_exc_hold();
    lm_outbuf_clear(&t->out);
    lm_exc_put_back(raised);
    Py_DECREF(self);
    return failed;
}

static int
is_expected(const LmTransport *t, PyObject *exc)
{
    return PyErr_GivenExceptionMatches(exc, PyExc_OSError) &&
           (t->kind->expects == NULL || t->kind->expects(exc));
}

static int
tell_of_error(PyObject *self, PyObject *exc, const char *message)
{
    LmTransport *t = lm_transport(self);
    if (!is_expected(t, exc)) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        return lm_fault_report((PyObject *)t->loop, t->st, message, "transport", self,
                               "protocol", t->protocol, NULL);
    }
    if (!LM_LOAD(t->loop->is_debug)) {
        return 0;
    }
    return lm_done(
        lm_state_support(t->st, "log_transport_error", "OsO", self, message, exc));
}

int
lm_transport_fatal(PyObject *self, const char *message)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = 0;
    if (lm_transport(self)->loop != NULL) {
        failed = tell_of_error(self, exc, message);
        failed = failed == 0 ? lm_transport_force_close(self, exc) : -1;
    }
    Py_DECREF(exc);
    return failed;
}

static int
close_socket(LmTransport *t)
{
    int fd = t->fd;
    PyObject *sock = t->sock;
    if (!t->is_made) {
        return 0; /* ended by a run nested in its making, which fails */
    }
    t->fd = -1;
    t->own_fd = &t->fd;
    lm_transport_note_owner(t);
    t->sock = NULL;
    if (sock == NULL) {
        if (fd >= 0 && !t->kind->is_files && close(fd) < 0 && errno != ECONNRESET) {
            lm_oserr_set(errno); /* as socket.close() says */
            return -1;
        }
        return 0;
    }
    int failed = lm_done(PyObject_CallMethodNoArgs(sock, t->st->str.close));
    Py_DECREF(sock);
    return failed;
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
    int failed = exc != NULL
                     ? lm_done(PyObject_CallMethod(waiter, "set_exception", "O", exc))
                     : -1;
    Py_XDECREF(exc);
    Py_DECREF(waiter);
    return failed;
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
    int failed =
        lm_done(lm_held_call_one(t->protocol, t->st->str.connection_lost, exc));
    lm_exc_keep_first(&first, failed);

    int fd = t->fd;
    LmLoop *loop = t->loop;
    lm_transport_stop_both(t);
    lm_kept_remove(&t->kept);
    int was_ours = lm_readers_drop_owner(loop, fd, self) && !lm_transport_is_stale(t);
    loop->has_done_io = 1;
    LM_STORE(t->loop, NULL); /* from here on it is CLOSED for whatever runs */
    lm_exc_keep_first(&first, close_socket(t));
    /* close() may ask for it */
    Py_XDECREF(lm_shared_swap(self, &t->protocol, NULL));
    lm_exc_keep_first(&first, lm_transport_leave_server(self));
    lm_exc_keep_first(&first, end_sendfile(t, loop, was_ours ? fd : -1));
    Py_DECREF(loop);
    lm_exc_restore(first);
    return first != NULL ? -1 : 0;
}
