/* The life of a socket operation: see sockops.h. Spare instances are kept for reuse. The
   calls themselves are sock_calls.c's. */
#include "net/sockops.h"

#include "base/args.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/context.h"
#include "core/handle.h"
#include "core/owner.h"
#include "net/readers.h"
#include "net/sock_calls.h"
#include "task/future.h"
#include "task/future_iter.h"

static int
direction_of(const LmSockOp *op)
{
    return op->kind >= LM_SOCK_SENDALL ? LM_WATCH_WRITE : LM_WATCH_READ;
}

static PyObject *
new_op(LmLoop *loop, LmSockKind kind, PyObject *sock, PyObject *first, PyObject *second)
{
    PyTypeObject *type = lm_type(loop->st->SockOpType);
    LmSockOp *op = (LmSockOp *)lm_freelist_alloc(LM_SPARE(loop, sock_ops), type);
    if (op == NULL) {
        return NULL;
    }
    op->st = loop->st;
    op->loop = (LmLoop *)Py_NewRef((PyObject *)loop);
    op->sock = Py_NewRef(sock);
    op->args[0] = Py_XNewRef(first);
    op->args[1] = Py_XNewRef(second);
    op->kind = (uint8_t)kind;
    op->is_ours = Py_IS_TYPE(sock, lm_type(op->st->socket_class));
    PyObject_GC_Track(op);
    return (PyObject *)op;
}

/* asyncio's checks before the call. */
static int
check_socket(LmSockOp *op)
{
    if (!op->is_ours) {
        PyObject *checked = PyObject_CallOneArg(op->st->check_ssl_socket, op->sock);
        if (checked == NULL) {
            return -1;
        }
        Py_DECREF(checked);
    }
    if (LM_LIKELY(!LM_LOAD(op->loop->is_debug))) {
        return 0;
    }
    PyObject *timeout = PyObject_CallMethodNoArgs(op->sock, op->st->str.gettimeout);
    PyObject *zero = timeout != NULL ? PyLong_FromLong(0) : NULL;
    int differs = zero != NULL ? PyObject_RichCompareBool(timeout, zero, Py_NE) : -1;
    Py_XDECREF(timeout);
    Py_XDECREF(zero);
    if (differs > 0) {
        PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
    }
    return differs ? -1 : 0;
}

/* recvfrom_into(buf, 0) means as much as there is room for. */
static int
complete_args(LmSockOp *op)
{
    if (op->kind != LM_SOCK_RECVFROM_INTO) {
        return 0;
    }
    int is_given = PyObject_IsTrue(op->args[1]);
    if (is_given == 0) {
        Py_ssize_t length = PyObject_Size(op->args[0]);
        Py_XSETREF(op->args[1], length >= 0 ? PyLong_FromSsize_t(length) : NULL);
    }
    return is_given < 0 || op->args[1] == NULL ? -1 : 0;
}

/* The socket's descriptor, kept in the operation; -1 with an exception set. */
static int
find_fd(LmSockOp *op)
{
    PyObject *number = PyObject_CallMethodNoArgs(op->sock, op->st->str.fileno);
    op->fd = number != NULL ? lm_args_fd(number) : -1;
    Py_XDECREF(number);
    return op->fd;
}

/* Transports of ours stand in C, those of asyncio's own classes in a dict that most loops
   never make. */
static int
check_no_transport(LmSockOp *op)
{
    PyObject *loop = (PyObject *)op->loop;
    PyObject *owner = lm_readers_owner(op->loop, op->fd);
    PyObject *names = owner == NULL ? PyObject_GenericGetDict(loop, NULL) : NULL;
    if (owner == NULL && names == NULL) {
        return -1;
    }
    int has_others =
        owner != NULL ? 1 : PyDict_Contains(names, op->st->str._transports);
    Py_XDECREF(names);
    if (LM_LIKELY(has_others <= 0)) {
        return has_others;
    }
    PyObject *number = PyLong_FromLong(op->fd);
    PyObject *checked = number != NULL
                            ? PyObject_CallMethodOneArg(
                                  loop, op->st->str._ensure_fd_no_transport, number)
                            : NULL;
    Py_XDECREF(number);
    Py_XDECREF(checked);
    return checked != NULL ? 0 : -1;
}

/* It waits no more, however it ended: nothing is kept in the kernel's eye that has not
   fired. */
static void
end_wait(LmSockOp *op)
{
    if (op->state == LM_SOCKOP_WAITING) {
        op->state = LM_SOCKOP_OVER;
        lm_readers_end_wait(op->loop, op->fd, direction_of(op), (PyObject *)op,
                            op->kind == LM_SOCK_CONNECT);
    }
}

static int run_op(LmLoop *loop, PyObject *self);

static int
begin_wait(LmSockOp *op)
{
    op->is_retry = 1;
    if (find_fd(op) < 0 || check_no_transport(op) < 0) {
        return -1;
    }
    if (!op->is_ours) {
        op->context = PyContext_CopyCurrent();
        if (op->context == NULL) {
            return -1;
        }
    }
    PyObject *future = lm_future_new(op->loop);
    if (future == NULL) {
        return -1;
    }
    Py_XSETREF(op->outcome, future);
    /* Before the end of what stood in its place, which may run us. */
    op->state = LM_SOCKOP_WAITING;
    if (lm_readers_wait(op->loop, op->fd, direction_of(op), run_op, (PyObject *)op) <
        0) {
        PyObject *exc = lm_exc_hold();
        end_wait(op);
        lm_exc_put_back(exc);
        return -1;
    }
    op->loop->has_done_io = 1; /* as after a watch was started */
    return 0;
}

PyObject *
lm_sockop_start(LmLoop *loop, LmSockKind kind, PyObject *sock, PyObject *first,
                PyObject *second)
{
    LmSockOp *op = (LmSockOp *)new_op(loop, kind, sock, first, second);
    if (op == NULL) {
        return NULL;
    }
    int outcome = -1;
    if (check_socket(op) == 0 && complete_args(op) == 0) {
        outcome = lm_sock_try(op, &op->outcome);
    }
    if (outcome > 0) {
        op->state = LM_SOCKOP_DONE;
    }
    else if (outcome < 0 || begin_wait(op) < 0) {
        Py_CLEAR(op);
    }
    return (PyObject *)op;
}

/* Hands on what the call gave; the future is pending. */
static int
conclude(LmSockOp *op, PyObject *future, PyObject *result)
{
    if (result != NULL) {
        int failed = lm_future_set_result(future, result);
        Py_DECREF(result);
        return failed;
    }
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_future_set_exception(future, exc);
    Py_DECREF(exc);
    return failed;
}

/* The number may be another's by now, where the call was a method of somebody's. */
static int
wait_on(LmSockOp *op)
{
    int fd = PyObject_AsFileDescriptor(op->sock);
    if (fd != op->fd) {
        if (PyErr_Occurred() && lm_exc_is_no_answer()) {
            return -1;
        }
        PyErr_Clear();
        lm_oserr_set(EBADF);
        return -1;
    }
    return lm_readers_wait(op->loop, fd, direction_of(op), run_op, (PyObject *)op);
}

static int
try_again(LmSockOp *op)
{
    PyObject *result;
    PyObject *future = Py_NewRef(op->outcome);
    int outcome = lm_sock_try(op, &result);
    int failed = 0;
    if (op->state != LM_SOCKOP_WAITING || lm_future(future)->state != LM_PENDING) {
        /* Python code of the socket's ended it meanwhile. */
        Py_XDECREF(result);
        failed = outcome < 0 ? -1 : 0;
    }
    else if (outcome == 0) {
        failed = wait_on(op);
        if (failed) {
            failed = conclude(op, future, NULL);
        }
    }
    else {
        failed = conclude(op, future, result);
    }
    Py_DECREF(future);
    return failed;
}

static PyObject *
method_retry(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmSockOp *op = (LmSockOp *)self;
    return op->state == LM_SOCKOP_WAITING && try_again(op) < 0 ? NULL
                                                               : Py_NewRef(Py_None);
}

#define op_owner(self) ((LmSockOp *)(self))->loop
LM_OWNED_METHOD(method_retry, op_owner)

static PyMethodDef retry_def = {"_sock_ready", LM_OWNED(method_retry), METH_NOARGS,
                                NULL};

/* Ready-queue function: the descriptor is ready. What ran before it in the turn may have
   ended the operation or taken its place. */
static int
run_op(LmLoop *loop, PyObject *self)
{
    LmSockOp *op = (LmSockOp *)self;
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_LIKELY(op->state == LM_SOCKOP_WAITING &&
                  lm_readers_handle(loop, op->fd, direction_of(op)) == self &&
                  lm_future(op->outcome)->state == LM_PENDING)) {
        if (op->context == NULL) {
            failed = try_again(op);
        }
        else {
            PyObject *context = lm_context_enter(loop, op->context);
            failed = context != NULL ? lm_context_exit(context, try_again(op)) : -1;
        }
        if (LM_UNLIKELY(failed < 0)) {
            failed = lm_handle_report_fault(loop, &retry_def, self);
        }
    }
    Py_DECREF(self);
    return failed;
}

static PySendResult
send_owned(PyObject *self, PyObject *arg LM_UNUSED, PyObject **result)
{
    LmSockOp *op = (LmSockOp *)self;
    PyObject *outcome = op->outcome;
    if (op->state == LM_SOCKOP_WAITING) {
        LmFuture *future = lm_future(outcome);
        if (future->state != LM_PENDING) {
            op->outcome = NULL;
            end_wait(op);
            *result = lm_future_result(future);
            Py_DECREF(outcome);
            return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
        }
        if (!future->is_blocking) {
            LM_STORE(future->is_blocking, 1);
            *result = Py_NewRef(outcome);
            return PYGEN_NEXT;
        }
        *result = NULL;
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    int has_result = op->state == LM_SOCKOP_DONE && outcome != NULL;
    op->outcome = NULL;
    op->state = LM_SOCKOP_OVER;
    *result = has_result ? outcome : Py_NewRef(Py_None);
    if (!has_result) {
        Py_XDECREF(outcome);
    }
    return PYGEN_RETURN;
}

static PySendResult
op_send(PyObject *self, PyObject *arg, PyObject **result)
{
#if LM_FREE_THREADED
    LmOwner owner;
    *result = NULL;
    if (lm_owner_enter(&owner, op_owner(self), self) < 0) {
        return PYGEN_ERROR;
    }
    PySendResult how = send_owned(self, arg, result);
    lm_owner_leave(&owner);
    return how;
#else
    return send_owned(self, arg, result);
#endif
}

static PyObject *
op_next(PyObject *self)
{
    PyObject *result;
    PySendResult how = op_send(self, Py_None, &result);
    if (how != PYGEN_RETURN) {
        return how == PYGEN_NEXT ? result : NULL;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
op_send_method(PyObject *self, PyObject *arg LM_UNUSED)
{
    return op_next(self);
}

static PyObject *
op_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = lm_future_iter_thrown(args, nargs);
    if (exc == NULL) {
        return NULL;
    }
    end_wait((LmSockOp *)self);
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return NULL;
}

static PyObject *
op_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    end_wait((LmSockOp *)self);
    Py_RETURN_NONE;
}

static int
op_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmSockOp *op = (LmSockOp *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(op->loop);
    Py_VISIT(op->sock);
    Py_VISIT(op->args[0]);
    Py_VISIT(op->args[1]);
    Py_VISIT(op->outcome);
    Py_VISIT(op->context);
    Py_VISIT(op->data.obj);
    return 0;
}

static int
op_clear(PyObject *self)
{
    LmSockOp *op = (LmSockOp *)self;
    Py_buffer data = op->data;
    op->state = LM_SOCKOP_OVER;
    op->data.obj = NULL;
    PyBuffer_Release(&data);
    Py_CLEAR(op->sock);
    Py_CLEAR(op->args[0]);
    Py_CLEAR(op->args[1]);
    Py_CLEAR(op->outcome);
    Py_CLEAR(op->context);
    return 0;
}

static void
op_dealloc(PyObject *self)
{
    LmLoop *loop = ((LmSockOp *)self)->loop; /* there until now */
    PyObject_GC_UnTrack(self);
    op_clear(self);
    if (!lm_freelist_give(LM_SPARE(loop, sock_ops), self, LM_FREELIST_SIZE)) {
        lm_free_instance(self);
    }
    Py_DECREF(loop);
}

LM_OWNED_METHOD(op_close, op_owner)
LM_OWNED_POSITIONAL(op_throw, op_owner)

static PyMethodDef op_methods[] = {
    {"send", op_send_method, METH_O,
     "send($self, value, /)\n--\n\nResume; the value is ignored."},
    {"throw", LM_POSITIONAL(LM_OWNED(op_throw)),
     "throw($self, exception, /)\n--\n\nEnd the wait and raise the exception."},
    {"close", LM_OWNED(op_close), METH_NOARGS, "close($self)\n--\n\nEnd the wait."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot op_slots[] = {
    {Py_tp_doc, "An operation on a socket, to be awaited."},
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_traverse, op_traverse},
    {Py_tp_clear, op_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, op_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, op_send},
    {Py_tp_methods, op_methods},
    {0, NULL}};

static PyType_Spec op_spec = {
    .name = "loopmod.SockOp",
    .basicsize = sizeof(LmSockOp),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

int
lm_sockop_init(PyObject *module, LmState *st)
{
    st->SockOpType = PyType_FromModuleAndSpec(module, &op_spec, NULL);
    return st->SockOpType != NULL ? lm_sock_calls_init(st) : -1;
}
