/* Making, watching and losing of pipe transports: see pipe.h. The Python types stand in
   pipe_type.c, reading and writing in pipe_read.c and pipe_write.c. */
#include "net/pipe.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/context.h"
#include "core/fault.h"
#include "core/handle.h"
#include "core/ready.h"
#include "net/readers.h"

#include <fcntl.h>
#include <sys/stat.h>

static PyObject **
context_of(LmPipe *p, const LmWatch *watch)
{
    return watch == &p->reader ? &p->read_context : &p->write_context;
}

/* 1 where it said the number; -1 with an exception that has to leave the loop. */
static int
ask_file(LmPipe *p)
{
    PyObject *pipe = Py_NewRef(p->pipe);
    PyObject *number = PyObject_CallMethodNoArgs(pipe, p->st->str.fileno);
    Py_DECREF(pipe);
    long fd = number != NULL ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (PyErr_Occurred()) {
        if (lm_exc_leaves_loop()) {
            return -1;
        }
        PyErr_Clear(); /* a closed file has no number */
    }
    return fd == p->fd;
}

int
lm_pipe_has_fd(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->own_fd != &lm_sock_fd_by_method && p->pipe != NULL) {
        return *p->own_fd == p->fd;
    }
    /* Somebody may have taken the file object, and goes on with the transport. */
    int has = p->pipe != NULL ? ask_file(p) : p->loop != NULL;
    return has > 0 && p->loop != NULL;
}

int
lm_pipe_refuse(void)
{
    lm_oserr_set(EBADF);
    return -1;
}

static PyObject *
find_out(PyObject *self, PyObject *name)
{
    LmPipe *p = lm_pipe(self);
    int is_reader = PyUnicode_CompareWithASCIIString(name, "reader") == 0;
    int failed = 0;
    if (!p->is_lost) {
        failed = is_reader ? p->kind->on_readable(self) : p->kind->on_writable(self);
    }
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef find_out_def = {"_find_out", find_out, METH_O, NULL};

static int call_soon_bound(LmLoop *loop, PyMethodDef *def, PyObject *self,
                           PyObject *arg);

/* The number is not ours any more. Not open, it cannot be watched, as asyncio says; with
   another owner there is nothing to wait for. */
static int
run_unwatched(PyObject *self, LmWatch *watch)
{
    LmPipe *p = lm_pipe(self);
    if (lm_watch_check_fd(&p->loop->poll, p->fd) < 0) {
        return -1;
    }
    PyObject *which = PyUnicode_FromString(watch == &p->reader ? "reader" : "writer");
    int failed =
        which != NULL ? call_soon_bound(p->loop, &find_out_def, self, which) : -1;
    Py_XDECREF(which);
    return failed;
}

int
lm_pipe_start(PyObject *self, LmWatch *watch)
{
    LmPipe *p = lm_pipe(self);
    if (p->loop == NULL || watch->is_active) {
        return 0;
    }
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd <= 0 || watch->is_active) {
        return has_fd < 0         ? -1
               : p->loop == NULL  ? 0
               : watch->is_active ? 0
                                  : run_unwatched(self, watch);
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL) {
        return -1;
    }
    /* To make one may run the collector, and so anything. */
    LmPoll *poll = p->loop != NULL ? lm_loop_poll(p->loop) : NULL;
    if (poll == NULL) {
        Py_DECREF(context);
        return p->loop != NULL ? -1 : 0;
    }
    PyObject **place = context_of(p, watch);
    PyObject *old = *place;
    *place = context;
    int failed = lm_watch_start(poll, watch);
    if (failed == 0) {
        lm_kept_add(p->loop, &p->kept);
    }
    /* Last: what was kept in it may close the transport, or the loop. */
    Py_XDECREF(old);
    return failed;
}

void
lm_pipe_stop(PyObject *self, LmWatch *watch)
{
    LmPipe *p = lm_pipe(self);
    if (p->loop == NULL) {
        return;
    }
    lm_watch_stop(&p->loop->poll, watch);
    if (!p->reader.is_active && !p->writer.is_active) {
        lm_kept_remove(&p->kept);
    }
}

static void
let_go(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    lm_watch_stop(&p->loop->poll, &p->reader);
    lm_watch_stop(&p->loop->poll, &p->writer);
}

/* The kernel does not watch the descriptor: see transport_watch.c. */
static int
end_unwatched(LmLoop *loop, PyObject *self, LmWatch *watch, PyMethodDef *method)
{
    lm_watch_set_error(watch);
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(exc));
    lm_loop_leave_task(loop);
    int failed = lm_handle_report_fault(loop, method, self);
    if (failed == 0) {
        failed = lm_pipe_lose(self, exc);
    }
    Py_DECREF(exc);
    return failed;
}

/* Work of a watch that fired. What ran before it in the turn may have stopped the watch.
   Steals `self`. */
static int
run_work(LmLoop *loop, PyObject *self, LmWatch *watch, int (*work)(PyObject *self),
         PyMethodDef *method)
{
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_LIKELY(watch->is_active)) {
        PyObject *context = lm_context_enter(loop, *context_of(lm_pipe(self), watch));
        failed = context != NULL ? lm_context_exit(context, work(self)) : -1;
        if (LM_UNLIKELY(failed < 0)) {
            failed = lm_handle_report_fault(loop, method, self);
        }
    }
    else if (LM_UNLIKELY(watch->error != 0)) {
        failed = end_unwatched(loop, self, watch, method);
    }
    Py_DECREF(self);
    return failed;
}

static int
run_readable(LmLoop *loop, PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    return run_work(loop, self, &p->reader, p->kind->on_readable, p->kind->read_method);
}

static int
run_writable(LmLoop *loop, PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    return run_work(loop, self, &p->writer, p->kind->on_writable,
                    p->kind->write_method);
}

static void
push(LmPipe *p, LmReadyFn function)
{
    if (lm_ready_push(p->loop, function, Py_NewRef(lm_pipe_object(p))) < 0) {
        PyErr_Clear(); /* level-triggered: the next poll reports it again */
    }
}

static void
on_readable(LmWatch *watch)
{
    push(LM_CONTAINER_OF(watch, LmPipe, reader), run_readable);
}

/* On one descriptor the reader comes first, whichever watch libev named first. */
static void
on_writable(LmWatch *watch)
{
    LmPipe *p = LM_CONTAINER_OF(watch, LmPipe, writer);
    if (!lm_list_is_empty(&p->reader.fired)) {
        lm_list_remove(&p->reader.fired);
        push(p, run_readable);
    }
    push(p, run_writable);
}

static int
start_input(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->loop == NULL || p->is_closing || p->is_paused || !p->watches_input) {
        return 0;
    }
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || p->loop == NULL || p->is_lost) {
        return has_fd;
    }
    /* Some devices cannot be watched. */
    if (lm_watch_check_fd(&p->loop->poll, p->fd) < 0 ||
        (has_fd && lm_readers_remove(p->loop, p->fd, LM_WATCH_READ) < 0)) {
        return -1;
    }
    return lm_pipe_start(self, &p->reader);
}

static PyObject *
begin(PyObject *self, PyObject *waiter)
{
    LmPipe *p = lm_pipe(self);
    PyObject *exc = start_input(self) < 0 ? PyErr_GetRaisedException() : NULL;
    if (waiter != Py_None) {
        PyObject *done = lm_state_support(p->st, "wake_waiter", "OO", waiter, Py_None);
        if (done == NULL && exc != NULL) {
            PyErr_Clear();
        }
        else if (done == NULL) {
            return NULL;
        }
        Py_XDECREF(done);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
call_connection_lost(PyObject *self, PyObject *exc)
{
    if (lm_pipe_finish(self, exc) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef begin_def = {"_add_reader", begin, METH_O, NULL};
static PyMethodDef lost_def = {"_call_connection_lost", call_connection_lost, METH_O,
                               NULL};

static int
call_soon_bound(LmLoop *loop, PyMethodDef *def, PyObject *self, PyObject *arg)
{
    PyObject *bound = PyCFunction_New(def, self);
    int failed = bound == NULL ? -1 : lm_handle_call_soon(loop, bound, &arg, 1, NULL);
    Py_XDECREF(bound);
    return failed;
}

/* connection_made first: only then does watching start and the waiter wake. */
static int
schedule_start(LmLoop *loop, PyObject *self, PyObject *waiter)
{
    LmPipe *p = lm_pipe(self);
    if (p->protocol == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Transport was closed while it was made");
        return -1;
    }
    PyObject *made = lm_held_attr(p->protocol, p->st->str.connection_made);
    int failed = made == NULL ? -1 : lm_handle_call_soon(loop, made, &self, 1, NULL);
    Py_XDECREF(made);
    return failed < 0 ? -1
                      : call_soon_bound(loop, &begin_def, self,
                                        waiter != NULL ? waiter : Py_None);
}

static int
take_descriptor(LmPipe *p, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    int is_device = S_ISCHR(st.st_mode);
    if (!is_device && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)) {
        PyErr_SetString(PyExc_ValueError, p->kind->refusal);
        return -1;
    }
    /* A pipe or socket that nobody reads from any more looks readable to its writer. A
       device may just have input. */
    p->watches_input = !(p->kind->is_writer && is_device);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 ||
        (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)) {
        lm_oserr_set(errno);
        return -1;
    }
    p->fd = fd;
    lm_watch_init(&p->reader, fd, LM_WATCH_READ, on_readable);
    lm_watch_init(&p->writer, fd, LM_WATCH_WRITE, on_writable);
    lm_watch_pair(&p->reader, &p->writer);
    /* Copies of it may be open elsewhere, say in a child process. */
    p->reader.is_users = p->writer.is_users = 1;
    return 0;
}

static int
fill(PyObject *self, LmLoop *loop, const LmPipeKind *kind, PyObject *protocol,
     PyObject *extra)
{
    LmPipe *p = lm_pipe(self);
    p->st = lm_state_hold(loop->st);
    p->kind = kind;
    p->loop = (LmLoop *)Py_NewRef(loop);
    p->fd = -1;
    p->own_fd = &lm_sock_fd_by_method;
    p->protocol = Py_NewRef(protocol);
    lm_kept_init(&p->kept, self, let_go);
    /* Before anything can fail: the deallocator stops the watches. */
    lm_watch_init(&p->reader, -1, LM_WATCH_READ, on_readable);
    lm_watch_init(&p->writer, -1, LM_WATCH_WRITE, on_writable);
    lm_flow_init(&p->flow);
    p->extra = extra != NULL ? Py_NewRef(extra) : PyDict_New();
    return p->extra == NULL ? -1 : 0;
}

/* -1 with an exception set: the file object's own, or of what it gave. */
static int
fd_of(PyObject *pipe)
{
    PyObject *number = PyObject_CallMethod(pipe, "fileno", NULL);
    long fd = number != NULL ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (!PyErr_Occurred() && (fd < 0 || fd > INT_MAX)) {
        lm_oserr_set(EBADF);
    }
    return PyErr_Occurred() ? -1 : (int)fd;
}

static int
note_pipe(LmPipe *p, PyObject *pipe)
{
    PyObject *extra = Py_NewRef(p->extra);
    PyObject *name = PyUnicode_FromString("pipe");
    int failed = name == NULL ? -1 : PyObject_SetItem(extra, name, pipe);
    Py_XDECREF(name);
    Py_DECREF(extra);
    return failed;
}

static int
set_up(PyObject *self, LmLoop *loop, PyObject *pipe, PyObject *waiter)
{
    LmPipe *p = lm_pipe(self);
    int fd = note_pipe(p, pipe) == 0 ? fd_of(pipe) : -1;
    if (fd < 0 || take_descriptor(p, fd) < 0 ||
        schedule_start(loop, self, waiter) < 0) {
        return -1;
    }
    p->pipe = Py_NewRef(pipe);
    p->own_fd = lm_sock_fd_place(p->st, pipe, fd);
    return 0;
}

PyObject *
lm_pipe_new(LmLoop *loop, const LmPipeKind *kind, PyObject *pipe, PyObject *protocol,
            PyObject *waiter, PyObject *extra)
{
    PyTypeObject *type =
        lm_type(kind->is_writer ? loop->st->WritePipeType : loop->st->ReadPipeType);
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    PyObject_GC_UnTrack(self); /* nobody finds it before it is whole */
    int failed = fill(self, loop, kind, protocol, extra);
    if (failed == 0) {
        failed = set_up(self, loop, pipe, waiter);
    }
    PyObject_GC_Track(self);
    if (failed < 0) {
        Py_CLEAR(self);
    }
    return self;
}

int
lm_pipe_lose(PyObject *self, PyObject *exc)
{
    LmPipe *p = lm_pipe(self);
    if (p->is_lost || p->loop == NULL) {
        return 0;
    }
    Py_INCREF(self); /* stopping may let go of the last reference */
    p->is_closing = 1;
    p->is_lost = 1;
    lm_outbuf_clear(&p->out);
    lm_pipe_stop(self, &p->writer);
    lm_pipe_stop(self, &p->reader);
    int failed = call_soon_bound(p->loop, &lost_def, self, exc);
    Py_DECREF(self);
    return failed;
}

int
lm_pipe_finish(PyObject *self, PyObject *exc)
{
    LmPipe *p = lm_pipe(self);
    if (p->loop == NULL) {
        return 0;
    }
    p->is_closing = p->is_lost = 1;
    lm_pipe_stop(self, &p->writer);
    lm_pipe_stop(self, &p->reader);
    LmLoop *loop = p->loop;
    p->loop = NULL; /* never again; nothing below needs it */
    loop->has_done_io = 1;
    PyObject *protocol = Py_NewRef(p->protocol);
    PyObject *done =
        PyObject_CallMethodOneArg(protocol, p->st->str.connection_lost, exc);
    PyObject *first = done == NULL ? PyErr_GetRaisedException() : NULL;
    Py_XDECREF(done);
    Py_DECREF(protocol);

    PyObject *pipe = p->pipe;
    p->own_fd = &lm_sock_fd_by_method;
    p->pipe = NULL; /* from here on nobody else closes it */
    done = pipe != NULL ? PyObject_CallMethodNoArgs(pipe, p->st->str.close)
                        : Py_NewRef(Py_None);
    Py_XDECREF(pipe);
    if (done == NULL && first != NULL) {
        PyErr_Clear();
    }
    else if (done == NULL) {
        first = PyErr_GetRaisedException();
    }
    Py_XDECREF(done);
    Py_CLEAR(p->protocol);
    Py_DECREF(loop);
    if (first != NULL) {
        PyErr_SetRaisedException(first);
        return -1;
    }
    return 0;
}

/* Of a reader only the end of a terminal is a part of life. */
static int
is_expected(LmPipe *p, PyObject *exc)
{
    if (!PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        return 0;
    }
    if (p->kind->is_writer) {
        return 1;
    }
    PyObject *number = PyObject_GetAttrString(exc, "errno");
    long err = number != NULL && PyLong_Check(number) ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    PyErr_Clear();
    return err == EIO;
}

int
lm_pipe_fatal(PyObject *self, const char *message)
{
    LmPipe *p = lm_pipe(self);
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = 0;
    if (p->loop == NULL) {
        Py_DECREF(exc);
        return 0;
    }
    if (!is_expected(p, exc)) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        failed = lm_fault_report((PyObject *)p->loop, p->st, message, "transport", self,
                                 "protocol", p->protocol, NULL);
    }
    else if (p->loop != NULL && p->loop->is_debug) {
        PyObject *done =
            lm_state_support(p->st, "log_transport_error", "OsO", self, message, exc);
        failed = done != NULL ? 0 : -1;
        Py_XDECREF(done);
    }
    if (failed == 0) {
        failed = lm_pipe_lose(self, exc);
    }
    Py_DECREF(exc);
    return failed;
}
