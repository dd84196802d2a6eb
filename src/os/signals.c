/* The signal wakeup pipe: see signals.h. Relies on signal.set_wakeup_fd; runs Python. */
#include "os/signals.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "core/fault.h"
#include "core/ready.h"

#include <stdlib.h>

struct LmSignals {
    LmLoop *loop; /* borrowed: the loop owns this */
    LmWatch watch;
    int write_fd;
    long previous_fd; /* somebody else's wakeup descriptor while ours is set, or -1 */
    unsigned fork_count; /* lm_poll_fork_count when it was made */
    uint8_t is_set;
    uint8_t is_again;   /* the next of the bytes was tried once */
    uint8_t begin, end; /* the bytes that were read and not handled yet */
    unsigned char bytes[128];
};

/* signal.set_wakeup_fd(fd): the descriptor it replaced, or -2 with an exception set. */
static long
set_wakeup_fd(long fd)
{
    PyObject *function = lm_state_import("signal", "set_wakeup_fd");
    PyObject *args = function != NULL ? Py_BuildValue("(l)", fd) : NULL;
    PyObject *kwargs =
        args != NULL ? Py_BuildValue("{sO}", "warn_on_full_buffer", Py_False) : NULL;
    PyObject *old = kwargs != NULL ? PyObject_Call(function, args, kwargs) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (old == NULL) {
        return -2;
    }
    long old_fd = PyLong_AsLong(old);
    Py_DECREF(old);
    return old_fd == -1 && PyErr_Occurred() ? -2 : old_fd;
}

static void
forward_signals(struct LmSignals *signals)
{
    if (signals->previous_fd >= 0) {
        lm_sys_wake((int)signals->previous_fd, signals->bytes, signals->end);
    }
}

/* Whether there is a pipe that is no parent's, who is to read what is in it. */
static int
has_pipe(const LmLoop *loop)
{
    return loop->signals != NULL && loop->signals->fork_count == lm_poll_fork_count();
}

/* Whether there is a byte to handle: one that was read before, or is read now. */
static int
has_signal(LmLoop *loop)
{
    struct LmSignals *signals = loop->signals;
    if (!has_pipe(loop)) {
        return 0;
    }
    if (signals->begin == signals->end) {
        ssize_t count = read(signals->watch.fd, signals->bytes, sizeof(signals->bytes));
        signals->begin = 0;
        signals->end = count > 0 ? (uint8_t)count : 0;
        if (count > 0) {
            forward_signals(signals);
        }
    }
    return signals->begin < signals->end;
}

/* Queues the handle of the next signal; one that was cancelled is forgotten. Where a signal
   handler raised before the handle was queued, the signal is the next one still, once. */
static int
handle_signal(LmLoop *loop)
{
    struct LmSignals *signals = loop->signals;
    size_t queued = loop->ready.tail;
    int signum = signals->bytes[signals->begin++];
    int was_again = signals->is_again;
    signals->is_again = 0;
    if (signum == 0) {
        return 0; /* no signal; somebody woke the loop by hand */
    }
    int failed =
        lm_done(PyObject_CallMethod((PyObject *)loop, "_handle_signal", "i", signum));
    if (failed < 0 && !was_again && loop->ready.tail == queued &&
        loop->signals == signals && signals->begin > 0) {
        signals->begin--;
        signals->is_again = 1;
    }
    return failed;
}

static int read_signals(LmLoop *loop, PyObject *self);

/* After a failure: what was read already is not in the pipe any more. */
static int
read_rest_soon(LmLoop *loop)
{
    return has_pipe(loop) && loop->signals->begin < loop->signals->end
               ? lm_ready_push(loop, read_signals, Py_NewRef(loop))
               : 0;
}

static int
report_unread(LmLoop *loop)
{
    return lm_fault_report((PyObject *)loop, loop->st,
                           "Exception while reading signals", NULL);
}

static int watch_later(LmLoop *loop);

/* By a timer. The pipe keeps what came meanwhile. */
static PyObject *
watch_again(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (has_pipe(loop) && !loop->signals->watch.is_active &&
        lm_poll_watch_now(&loop->poll, &loop->signals->watch) < 0 &&
        (!lm_fault_is_shortage() || watch_later(loop) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define loop_itself(self) ((LmLoop *)(self))
LM_OWNED_METHOD(watch_again, loop_itself)

static PyMethodDef watch_again_def = {"_watch_signals", LM_OWNED(watch_again),
                                      METH_NOARGS, NULL};

/* The kernel does not watch the pipe, says the exception that is set: it is told, and the
   kernel asked again later. */
static int
watch_later(LmLoop *loop)
{
    if (report_unread(loop) < 0) {
        return -1;
    }
    PyObject *again = PyCFunction_New(&watch_again_def, (PyObject *)loop);
    int failed =
        again != NULL && !loop->is_closed ? lm_fault_retry_later(loop, again) : 0;
    failed = again == NULL || failed < 0 ? report_unread(loop) : 0;
    Py_XDECREF(again);
    return failed;
}

static int
read_signals(LmLoop *loop, PyObject *self)
{
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_UNLIKELY(has_pipe(loop) && loop->signals->watch.error != 0)) {
        lm_watch_set_error(&loop->signals->watch);
        failed = watch_later(loop);
        Py_DECREF(self);
        return failed;
    }
    while (failed == 0 && has_signal(loop)) {
        failed = handle_signal(loop);
    }
    if (failed < 0) {
        PyObject *exc = lm_exc_hold();
        if (read_rest_soon(loop) < 0) {
            PyErr_Clear();
        }
        lm_exc_restore(exc);
        failed = report_unread(loop);
    }
    Py_DECREF(self);
    return failed;
}

static void
on_signal(LmWatch *watch)
{
    struct LmSignals *signals = LM_CONTAINER_OF(watch, struct LmSignals, watch);
    LmLoop *loop = signals->loop;
    if (!has_pipe(loop)) {
        lm_watch_stop(&loop->poll, watch);
        return;
    }
    if (lm_ready_push(loop, read_signals, Py_NewRef(loop)) < 0) {
        PyErr_Clear(); /* the pipe stays readable: the next poll tries again */
    }
}

static struct LmSignals *
open_pipe(LmLoop *loop)
{
    if (has_pipe(loop)) {
        return loop->signals;
    }
    LmPoll *poll = lm_loop_poll(loop);
    int fds[2];
    if (poll == NULL || lm_poll_check_numbers(poll) < 0) {
        return NULL;
    }
    lm_signals_close(loop); /* in a child: the pipe is the parent's */
    if (lm_sys_pipe(fds) < 0) {
        lm_oserr_set(errno);
        return NULL;
    }
    struct LmSignals *signals = calloc(1, sizeof(*signals));
    if (signals == NULL) {
        close(fds[0]);
        close(fds[1]);
        PyErr_NoMemory();
        return NULL;
    }
    signals->loop = loop;
    signals->write_fd = fds[1];
    signals->previous_fd = -1;
    lm_watch_init(&signals->watch, fds[0], LM_WATCH_READ, on_signal);
    if (lm_poll_watch_now(poll, &signals->watch) < 0) {
        close(fds[0]);
        close(fds[1]);
        free(signals);
        return NULL;
    }
    signals->fork_count = lm_poll_fork_count();
    loop->signals = signals;
    return signals;
}

/* signal.set_wakeup_fd may be a patch, which closes the loop. */
static int
take_wakeup_fd(LmLoop *loop, struct LmSignals *signals)
{
    if (signals->is_set) {
        return 0;
    }
    long old = set_wakeup_fd(signals->write_fd);
    if (old == -2) {
        return -1;
    }
    if (loop->signals != signals) {
        return lm_loop_refuse_closed();
    }
    signals->previous_fd = old;
    signals->is_set = 1;
    return 0;
}

/* Puts the other's descriptor back, unless somebody has replaced ours meanwhile. Keeps
   a set exception. */
static void
give_wakeup_fd_back(struct LmSignals *signals)
{
    if (!signals->is_set) {
        return;
    }
    PyObject *exc = lm_exc_hold();
    signals->is_set = 0;
    long previous = signals->previous_fd, mine = signals->write_fd;
    signals->previous_fd = -1; /* from here on `signals` may be gone */
    long found = set_wakeup_fd(previous);
    if (found >= -1 && found != mine) {
        found = set_wakeup_fd(found);
    }
    if (found == -2) {
        PyErr_Clear(); /* the other's descriptor is closed, or this is not the main
                          thread any more */
    }
    lm_exc_restore(exc);
}

int
lm_signals_prepare(LmLoop *loop)
{
    if (loop->signals != NULL || !lm_sys_is_main_thread()) {
        return 0;
    }
    if (lm_loop_poll(loop) == NULL) {
        return -1;
    }
    if (open_pipe(loop) == NULL) {
        PyErr_Clear(); /* whoever adds the first handler tries again, and is told */
    }
    return 0;
}

int
lm_signals_take(LmLoop *loop)
{
    struct LmSignals *signals = open_pipe(loop);
    return signals == NULL ? -1 : take_wakeup_fd(loop, signals);
}

void
lm_signals_give_back(LmLoop *loop)
{
    if (loop->signals != NULL) {
        give_wakeup_fd_back(loop->signals);
    }
}

void
lm_signals_close(LmLoop *loop)
{
    struct LmSignals *signals = loop->signals;
    if (signals == NULL) {
        return;
    }
    loop->signals = NULL;
    lm_watch_stop(&loop->poll, &signals->watch);
    give_wakeup_fd_back(signals);
    close(signals->watch.fd);
    close(signals->write_fd);
    free(signals);
}
