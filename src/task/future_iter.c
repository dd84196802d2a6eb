/* The iterator behind `await future`: yields the future once while it is pending, then
   gives its result.

   It offers am_send, so that an await ends without a StopIteration object; spare
   instances are kept for reuse. Relies on future.h. */
#include "task/future_iter.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "task/future.h"

typedef struct {
    PyObject_HEAD
    LmLoop *loop; /* of ours, which keeps it for reuse, or NULL; until it is freed */
    PyObject *future; /* NULL once it has given its result or was closed */
} FutureIter;

PyObject *
lm_future_iter_new(PyObject *future)
{
    LmFuture *f = lm_future(future);
    if (lm_future_check_ready(f) < 0) {
        return NULL;
    }
    PyTypeObject *type = lm_type(f->st->FutureIterType);
    LmLoop *loop = f->is_native ? (LmLoop *)f->loop : NULL;
    FutureIter *it =
        loop != NULL
            ? (FutureIter *)lm_freelist_take(LM_SPARE(loop, future_iters), type)
            : NULL;
    if (LM_UNLIKELY(it == NULL)) {
        it = PyObject_GC_New(FutureIter, type);
        if (it == NULL) {
            return NULL;
        }
    }
    it->loop = (LmLoop *)Py_XNewRef(loop);
    it->future = Py_NewRef(future);
    PyObject_GC_Track(it);
    return (PyObject *)it;
}

/* One that was not asked yet is pending in any thread: where the future is another loop's,
   who awaits it says so. */
static PySendResult
send_pending(PyObject *future, PyObject **result)
{
    LmFuture *f = lm_future(future);
    if (!LM_LOAD(f->is_blocking)) {
        LM_STORE(f->is_blocking, 1);
        *result = Py_NewRef(future);
        return PYGEN_NEXT;
    }
    PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
    return PYGEN_ERROR;
}

#if LM_FREE_THREADED
static int
is_elsewhere(const FutureIter *it)
{
    return it->loop == NULL || !lm_owner_is_home(it->loop);
}

/* Where other threads may end it meanwhile. */
static PySendResult
send_elsewhere(PyObject *self, PyObject **result)
{
    PyObject *future = lm_shared_get(self, &((FutureIter *)self)->future);
    if (future == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    PySendResult outcome;
    if (LM_LOAD_ACQUIRE(lm_future(future)->state) == LM_PENDING) {
        outcome = send_pending(future, result);
    }
    else {
        *result = lm_future_result(lm_future(future));
        outcome = *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
    }
    Py_DECREF(future);
    return outcome;
}
#endif

static PySendResult
iter_send(PyObject *self, PyObject *arg LM_UNUSED, PyObject **result)
{
    FutureIter *it = (FutureIter *)self;
    *result = NULL;
#if LM_FREE_THREADED
    if (LM_UNLIKELY(is_elsewhere(it))) {
        return send_elsewhere(self, result);
    }
#endif
    if (it->future == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    LmFuture *f = lm_future(it->future);
    if (LM_LOAD_ACQUIRE(f->state) == LM_PENDING) {
        return send_pending(it->future, result);
    }
#if PY_VERSION_HEX >= 0x030E0000
    /* From 3.14 on an iterator gives the same outcome again when it is asked again. */
    PyObject *future = Py_NewRef(it->future); /* close() would let go of it */
    *result = lm_future_result(f);
    Py_DECREF(future);
#else
    PyObject *future = it->future;
    it->future = NULL;
    *result = lm_future_result(f);
    Py_DECREF(future);
#endif
    return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

/* Takes the result. asyncio's has a context up to 3.13. */
static void
set_stop(PyObject *result)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop == NULL) {
        return;
    }
#if PY_VERSION_HEX >= 0x030E0000
    PyErr_SetRaisedException(stop);
#else
    PyErr_SetObject(PyExc_StopIteration, stop);
    Py_DECREF(stop);
#endif
}

/* From 3.12 to 3.14 an await asks tp_iternext, not am_send. An end without an exception
   says None, for a tenth of what a StopIteration costs. (On 3.14 asyncio's StopIteration
   has the None among its args, this one has none; its value is the same.) */
static PyObject *
iter_next(PyObject *self)
{
    PyObject *result;
    switch (iter_send(self, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN: {
        if (PY_VERSION_HEX < 0x030F0000 && LM_LIKELY(result == Py_None)) {
            Py_DECREF(result);
            return NULL;
        }
        set_stop(result);
        return NULL;
    }
    default:
        return NULL;
    }
}

static PyObject *
iter_send_method(PyObject *self, PyObject *arg LM_UNUSED)
{
    PyObject *yielded = iter_next(self);
    if (yielded == NULL && !PyErr_Occurred()) {
#if PY_VERSION_HEX >= 0x030E0000
        set_stop(Py_NewRef(Py_None));
#else
        PyErr_SetNone(PyExc_StopIteration);
#endif
    }
    return yielded;
}

static PyObject *
take_awaited(FutureIter *it)
{
    int is_taken = it->loop != NULL ? lm_owner_begin_short(it->loop) : 0;
    if (is_taken < 0) {
        return NULL;
    }
    PyObject *future = it->future;
    it->future = NULL;
    if (is_taken > 0) {
        lm_owner_end_short(it->loop);
    }
    return future;
}

/* A thread that runs the loop meanwhile reads the future without a lock: then it stays there
   until the iterator goes. A collector closes iterators in any thread, at any time. */
static void
let_go_of_future(PyObject *self)
{
    PyObject *future;
    LM_BEGIN_SECTION(self)
    future = take_awaited((FutureIter *)self);
    LM_END_SECTION
    Py_XDECREF(future);
}

static PyObject *
iter_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    let_go_of_future(self);
    Py_RETURN_NONE;
}

static PyObject *
bad_throw(void)
{
    PyErr_SetString(PyExc_TypeError,
                    "exceptions must be classes deriving BaseException or instances of "
                    "such a class");
    return NULL;
}

/* The exception that throw(type, value, traceback) is to raise. New reference. */
static PyObject *
thrown_exception(PyObject *type, PyObject *value)
{
    if (PyExceptionInstance_Check(type)) {
        if (value != NULL && value != Py_None) {
            PyErr_SetString(PyExc_TypeError,
                            "instance exception may not have a separate value");
            return NULL;
        }
        return Py_NewRef(type);
    }
    if (!PyExceptionClass_Check(type)) {
        return bad_throw();
    }
    int is_instance = value != NULL ? PyObject_IsInstance(value, type) : 0;
    if (is_instance != 0) {
        return is_instance > 0 ? Py_NewRef(value) : NULL;
    }
    PyObject *exc = value == NULL || value == Py_None
                        ? PyObject_CallNoArgs(type)
                        : PyObject_CallOneArg(type, value);
    if (exc != NULL && !PyExceptionInstance_Check(exc)) {
        Py_DECREF(exc);
        return bad_throw();
    }
    return exc;
}

PyObject *
lm_future_iter_thrown(PyObject *const *args, Py_ssize_t nargs)
{
    if (lm_args_count("throw", nargs, 1, 3) < 0) {
        return NULL;
    }
    if (nargs > 1 &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "the (type, exc, tb) signature of throw() is deprecated, use the "
                     "single-arg signature instead.",
                     1) < 0) {
        return NULL;
    }
    PyObject *tb = nargs > 2 && args[2] != Py_None ? args[2] : NULL;
    if (tb != NULL && !PyTraceBack_Check(tb)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback");
        return NULL;
    }
    PyObject *exc = thrown_exception(args[0], nargs > 1 ? args[1] : NULL);
    if (exc != NULL && tb != NULL) {
        PyException_SetTraceback(exc, tb);
    }
    return exc;
}

static PyObject *
iter_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = lm_future_iter_thrown(args, nargs);
    if (exc == NULL) {
        return NULL;
    }
    let_go_of_future(self);
    /* Its context is what the coroutine it goes into handles, not the caller of that. */
    PyErr_SetRaisedException(exc);
    return NULL;
}

static int
iter_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((FutureIter *)self)->loop);
    Py_VISIT(((FutureIter *)self)->future);
    return 0;
}

static int
iter_clear(PyObject *self)
{
    Py_CLEAR(((FutureIter *)self)->future);
    return 0;
}

static void
iter_dealloc(PyObject *self)
{
    LmLoop *loop = ((FutureIter *)self)->loop;
    PyObject_GC_UnTrack(self);
    iter_clear(self);
    if (loop == NULL ||
        !lm_freelist_give(LM_SPARE(loop, future_iters), self, LM_FREELIST_SIZE)) {
        lm_free_instance(self);
    }
    Py_XDECREF(loop);
}

static PyMethodDef iter_methods[] = {
    {"send", iter_send_method, METH_O,
     LM_DOC("send($self, value, /)", "Resume; the value is ignored.")},
    {"throw", LM_POSITIONAL(iter_throw),
     LM_DOC("throw($self, exception, /)", "Raise the exception at the await.")},
    {"close", iter_close, METH_NOARGS, LM_DOC("close($self)", "End the iteration.")},
    {NULL, NULL, 0, NULL}};

static PyType_Slot iter_slots[] = {
    {Py_tp_dealloc, iter_dealloc}, {Py_tp_traverse, iter_traverse},
    {Py_tp_clear, iter_clear},     {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iter_next},   {Py_am_send, iter_send},
    {Py_tp_methods, iter_methods}, {0, NULL}};

static PyType_Spec iter_spec = {
    .name = "loopmod.FutureIter",
    .basicsize = sizeof(FutureIter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = iter_slots,
};

int
lm_future_iter_init(PyObject *module, LmState *st)
{
    st->FutureIterType = PyType_FromModuleAndSpec(module, &iter_spec, NULL);
    return st->FutureIterType != NULL ? 0 : -1;
}
