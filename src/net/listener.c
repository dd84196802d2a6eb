/* Listener: see listener.h. The protocol factory runs in a copy of the context that
   serving was started in; it, and what it calls, may close the listener. */
#include "net/listener.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "core/fault.h"
#include "core/handle.h"
#include "core/owner.h"
#include "core/ready.h"
#include "net/kept.h"
#include "net/readers.h"
#include "net/sock_fd.h"
#include "net/stream.h"

typedef struct {
    PyObject_HEAD
    LmLoop *loop;
    PyObject *factory;
    PyObject *sock;
    PyObject *server; /* or NULL */
    PyObject *context;
    LmWatch watch;
    const int *own_fd; /* where the socket keeps its number: sock_fd.h */
    LmKept kept;
    int backlog;
    uint8_t one_context; /* all calls of a connection run in one copy of `context` */
} Listener;

static void
stop(Listener *l)
{
    lm_watch_stop(&l->loop->poll, &l->watch);
    lm_kept_remove(&l->kept);
}

static void
let_go_of_listener(PyObject *self)
{
    Listener *l = (Listener *)self;
    lm_watch_stop(&l->loop->poll, &l->watch);
}

static int
start(Listener *l)
{
    LmPoll *poll = lm_loop_poll(l->loop);
    if (poll == NULL) {
        return -1;
    }
    if (lm_poll_watch_now(poll, &l->watch) < 0) {
        return -1;
    }
    l->loop->has_done_io = 1; /* who connected before finds the loop accepting */
    lm_kept_add(l->loop, &l->kept);
    return 0;
}

/* asyncio says nothing of a connection that could not be set up, but in debug mode. */
static int
report_failed_setup(Listener *l, PyObject *protocol)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    if (!LM_LOAD(l->loop->is_debug)) {
        PyErr_Clear();
        return 0;
    }
    return lm_fault_report((PyObject *)l->loop, l->loop->st,
                           "Error on transport creation for incoming connection",
                           "protocol", protocol, NULL);
}

/* A connection that was accepted. */
typedef struct {
    int fd;
    PyObject *sock;  /* which owns the descriptor where there is one, else NULL */
    PyObject *extra; /* what is known of it besides, or NULL */
    LmAddr peer;
} Accepted;

/* Of one that nobody serves. */
static void
drop_listener(const Accepted *accepted)
{
    if (accepted->sock == NULL) {
        close(accepted->fd);
        return;
    }
    PyObject *exc = lm_exc_hold();
    PyObject *done = PyObject_CallMethod(accepted->sock, "close", NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(accepted->sock);
    }
    Py_XDECREF(done);
    lm_exc_restore(exc);
}

static int
set_up(Listener *l, const Accepted *accepted, PyObject *context)
{
    PyObject *protocol = PyObject_CallNoArgs(l->factory);
    PyObject *transport = NULL;
    if (protocol != NULL) {
        LmTransportParts parts = {
            .fd = accepted->fd,
            .sock = accepted->sock,
            .extra = accepted->extra,
            .protocol = protocol,
            .server = l->server,
            .context = l->one_context ? context : NULL,
            .peer = lm_addr_is_known(&accepted->peer) ? &accepted->peer : NULL,
        };
        transport = lm_stream_new(l->loop, &parts);
    }
    int failed = 0;
    if (transport == NULL) {
        drop_listener(accepted);
        failed = report_failed_setup(l, protocol);
    }
    Py_XDECREF(protocol);
    Py_XDECREF(transport);
    return failed;
}

static int
set_up_in_context(Listener *l, const Accepted *accepted)
{
    PyObject *context = PyContext_Copy(l->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        drop_listener(accepted);
        return report_failed_setup(l, NULL);
    }
    int failed = set_up(l, accepted, context);
    if (PyContext_Exit(context) < 0) {
        failed = -1;
    }
    Py_DECREF(context);
    return failed;
}

static PyMethodDef accept_def;

/* Out of descriptors or memory: the kernel goes on reporting the socket (or does not report
   it any more), so the loop looks away for a while. */
static int
resume_later(Listener *l)
{
    PyObject *resume = PyObject_GetAttrString((PyObject *)l, "_resume");
    int failed = resume != NULL ? lm_fault_retry_later(l->loop, resume) : -1;
    Py_XDECREF(resume);
    return failed == 0 ? 0
                       : lm_handle_report_fault(l->loop, &accept_def, (PyObject *)l);
}

/* Tells of the exception that is set, and comes back later. */
static int
back_off(Listener *l)
{
    PyObject *exc = lm_exc_hold();
    PyObject *sock = PyObject_CallOneArg(l->loop->st->TransportSocket, l->sock);
    stop(l);
    lm_exc_restore(exc); /* what hindered the other is of less interest */
    int failed =
        lm_fault_report((PyObject *)l->loop, l->loop->st,
                        "socket.accept() out of system resource", "socket", sock, NULL);
    Py_XDECREF(sock);
    return failed < 0 ? -1 : resume_later(l);
}

static int
is_usual_accept_error(long err)
{
    return err == EAGAIN || err == EINTR || err == ECONNABORTED || err == EMFILE ||
           err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static int
on_accept_error(Listener *l, int err)
{
    switch (err) {
    case EAGAIN:
    case EINPROGRESS:
    case EALREADY:
    case EINTR:
    case ECONNABORTED:
        return 0;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        lm_oserr_set(err);
        return back_off(l);
    default:
        lm_oserr_set(err);
        return lm_handle_report_fault(l->loop, &accept_def, (PyObject *)l);
    }
}

/* The kernel watches it no more. */
static int
start_again(Listener *l)
{
    lm_watch_set_error(&l->watch);
    return back_off(l);
}

/* -1 with errno set where the exception that is set is an OSError that is a part of
   accepting, else -2. */
static int
take_oserror(void)
{
    PyObject *exc = PyErr_GetRaisedException();
    long err =
        PyErr_GivenExceptionMatches(exc, PyExc_OSError) ? lm_oserr_number(exc) : 0;
    if (PyErr_GivenExceptionMatches(exc, PyExc_BlockingIOError) ||
        PyErr_GivenExceptionMatches(exc, PyExc_InterruptedError) ||
        PyErr_GivenExceptionMatches(exc, PyExc_ConnectionAbortedError)) {
        err = EAGAIN; /* whatever its number is */
    }
    if (!is_usual_accept_error(err)) {
        PyErr_SetRaisedException(exc);
        return -2;
    }
    Py_DECREF(exc);
    errno = (int)err;
    return -1;
}

/* By the methods of a socket that has some of its own. -2 with an exception set. */
static int
accept_by_own_method(Listener *l, Accepted *accepted)
{
    PyObject *pair = PyObject_CallMethodNoArgs(l->sock, l->loop->st->str.accept);
    PyObject *sock, *address, *done = NULL;
    int fd = -2;
    if (pair != NULL && PyArg_ParseTuple(pair, "OO", &sock, &address)) {
        done = PyObject_CallMethodOneArg(sock, l->loop->st->str.setblocking, Py_False);
    }
    if (done != NULL) {
        fd = PyObject_AsFileDescriptor(sock);
        accepted->extra = Py_BuildValue("{sO}", "peername", address);
    }
    if (fd >= 0 && accepted->extra != NULL) {
        accepted->sock = Py_NewRef(sock);
    }
    else {
        Py_CLEAR(accepted->extra);
        fd = -2;
    }
    Py_XDECREF(done);
    Py_XDECREF(pair);
    return fd;
}

/* The number of what was accepted, or -1 with errno set, or -2 with an exception set. */
static int
accept_one(Listener *l, Accepted *accepted)
{
    accepted->peer.length = LM_ADDR_ROOM;
    accepted->peer.any.sa_family = AF_UNSPEC;
    accepted->sock = accepted->extra = NULL;
    if (LM_LIKELY(l->own_fd != &lm_sock_fd_by_method)) {
        accepted->fd =
            lm_sys_accept(l->watch.fd, &accepted->peer.any, &accepted->peer.length);
    }
    else {
        accepted->fd = accept_by_own_method(l, accepted);
        accepted->fd = accepted->fd == -2 ? take_oserror() : accepted->fd;
    }
    return accepted->fd;
}

/* The socket was closed, or its descriptor taken out of it, behind our back: the number may
   be somebody else's, who is not to be disturbed. */
static int
is_stale(const Listener *l)
{
    return l->own_fd != &lm_sock_fd_by_method && *l->own_fd != l->watch.fd;
}

/* Ready-queue function: takes what waits in the backlog. To ask whether there is another
   one costs a tenth of an accept that finds none, for which the kernel makes a socket
   first. */
static int
accept_ready(LmLoop *loop, PyObject *self)
{
    Listener *l = (Listener *)self;
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_UNLIKELY(is_stale(l))) {
        stop(l);
    }
    else if (LM_UNLIKELY(l->watch.error != 0)) {
        failed = start_again(l);
    }
    for (int i = 0; failed == 0 && i < l->backlog && l->watch.is_active; i++) {
        Accepted accepted;
        if (i > 0 && (is_stale(l) || !lm_sys_is_readable(l->watch.fd))) {
            break;
        }
        int fd = accept_one(l, &accepted);
        if (fd < 0) {
            failed = fd == -1 ? on_accept_error(l, errno)
                              : lm_handle_report_fault(l->loop, &accept_def, self);
            break;
        }
        failed = set_up_in_context(l, &accepted);
        Py_XDECREF(accepted.sock);
        Py_XDECREF(accepted.extra);
    }
    Py_DECREF(self);
    return failed;
}

static PyObject *
listener_accept(PyObject *self, PyObject *unused LM_UNUSED)
{
    Listener *l = (Listener *)self;
    return accept_ready(l->loop, Py_NewRef(self)) < 0 ? NULL : Py_NewRef(Py_None);
}

#define listener_owner(self) ((Listener *)(self))->loop
LM_OWNED_METHOD(listener_accept, listener_owner)

static PyMethodDef accept_def = {"_accept", LM_OWNED(listener_accept), METH_NOARGS,
                                 NULL};

static void
on_ready(LmWatch *watch)
{
    Listener *l = LM_CONTAINER_OF(watch, Listener, watch);
    if (lm_ready_push(l->loop, accept_ready, Py_NewRef(l)) < 0) {
        PyErr_Clear(); /* level-triggered: the next poll reports it again */
    }
}

PyObject *
lm_listener_new(LmLoop *loop, PyObject *factory, PyObject *sock, PyObject *server,
                int backlog, PyObject *context)
{
    int fd = PyObject_AsFileDescriptor(sock);
    PyTypeObject *type = lm_type(loop->st->ListenerType);
    Listener *l = fd >= 0 ? (Listener *)type->tp_alloc(type, 0) : NULL;
    if (l == NULL) {
        return NULL;
    }
    PyObject_GC_UnTrack(l); /* nobody finds it before it is whole */
    l->loop = (LmLoop *)Py_NewRef(loop);
    l->factory = Py_NewRef(factory);
    l->sock = Py_NewRef(sock);
    l->own_fd = lm_sock_fd_place(loop->st, sock, fd);
    l->server = Py_XNewRef(server);
    l->backlog = backlog > 0 ? backlog : 1;
    lm_watch_init(&l->watch, fd, LM_WATCH_READ, on_ready);
    l->watch.own_fd = lm_sock_fd_known(l->own_fd);
    lm_kept_init(&l->kept, (PyObject *)l, let_go_of_listener);
    l->one_context = context != NULL;
    l->context = context != NULL ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (l->context == NULL || lm_watch_check_fd(&loop->poll, fd) < 0 ||
        lm_readers_forget(loop, fd) < 0 || start(l) < 0) {
        Py_DECREF(l);
        return NULL;
    }
    PyObject_GC_Track(l);
    return (PyObject *)l;
}

static PyObject *
listener_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    stop((Listener *)self);
    Py_RETURN_NONE;
}

static PyObject *
listener_resume(PyObject *self, PyObject *unused LM_UNUSED)
{
    Listener *l = (Listener *)self;
    int fd = PyObject_AsFileDescriptor(l->sock);
    if (fd != l->watch.fd) {
        if (PyErr_Occurred() && lm_exc_is_no_answer()) {
            return NULL;
        }
        PyErr_Clear(); /* closed meanwhile */
        Py_RETURN_NONE;
    }
    if (start(l) < 0 && (!lm_fault_is_shortage() || back_off(l) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
listener_traverse(PyObject *self, visitproc visit, void *arg)
{
    Listener *l = (Listener *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(l->loop);
    Py_VISIT(l->factory);
    Py_VISIT(l->sock);
    Py_VISIT(l->server);
    Py_VISIT(l->context);
    return 0;
}

static int
listener_clear(PyObject *self)
{
    Listener *l = (Listener *)self;
    Py_CLEAR(l->server);
    return 0;
}

static void
listener_dealloc(PyObject *self)
{
    Listener *l = (Listener *)self;
    PyObject_GC_UnTrack(self);
    if (l->loop != NULL) {
        lm_watch_stop(&l->loop->poll, &l->watch);
    }
    listener_clear(self);
    Py_CLEAR(l->factory);
    Py_CLEAR(l->sock);
    Py_CLEAR(l->context);
    LmLoop *loop = l->loop;
    lm_free_instance(self);
    Py_XDECREF(loop);
}

LM_OWNED_METHOD(listener_close, listener_owner)
LM_OWNED_METHOD(listener_resume, listener_owner)

static PyMethodDef listener_methods[] = {
    {"close", LM_OWNED(listener_close), METH_NOARGS,
     "close($self)\n--\n\nAccept no more connections."},
    {"_resume", LM_OWNED(listener_resume), METH_NOARGS,
     "_resume($self)\n--\n\nAccept again after the system was out of resources."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot listener_slots[] = {
    {Py_tp_doc, "Accepts connections; made by the loop."},
    {Py_tp_dealloc, listener_dealloc},
    {Py_tp_traverse, listener_traverse},
    {Py_tp_clear, listener_clear},
    {Py_tp_methods, listener_methods},
    {0, NULL}};

static PyType_Spec listener_spec = {
    .name = "loopmod._loopmod.Listener",
    .basicsize = sizeof(Listener),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = listener_slots,
};

int
lm_listener_init(PyObject *module, LmState *st)
{
    st->ListenerType = PyType_FromModuleAndSpec(module, &listener_spec, NULL);
    if (st->ListenerType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Listener", st->ListenerType);
}
