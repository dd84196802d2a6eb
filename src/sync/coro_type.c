/* The Python type of coroutine objects: see coro.h. What inspectors ask is answered by
   asyncio's function that would run in its place: `cr_code` is its code, `cr_frame` a frame
   made for the look, so that stacks and call graphs name the operation. */
#include "sync/coro.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"

#include <frameobject.h>

#define OF_SELF LmCoro *c = (LmCoro *)self

/* What asyncio's coroutine says, where that does the work. */
#define DELEGATED(c, name)                                 \
    if ((c)->delegates && (c)->awaited != NULL) {          \
        return PyObject_GetAttrString((c)->awaited, name); \
    }

LM_GETTER(get_cr_running, OF_SELF,
          PyBool_FromLong(LM_LOAD(c->state) == LM_CORO_RUNNING))
LM_GETTER(get_cr_suspended, OF_SELF,
          PyBool_FromLong(LM_LOAD(c->state) == LM_CORO_SUSPENDED))
LM_GETTER(get_cr_origin, (void)self, Py_NewRef(Py_None))
LM_GETTER(get_coro_qualname, OF_SELF, PyUnicode_FromString(c->op->qualname))
LM_GETTER(get_coro_name, OF_SELF, PyUnicode_FromString(c->op->name))

/* New reference to asyncio's function, or None where it is something else by now. */
static PyObject *
function_of(LmCoro *c)
{
    PyObject *function = lm_op_function(c->loop->st, c->op);
    if (function == NULL) {
        PyErr_Clear();
    }
    else if (PyFunction_Check(function)) {
        return function;
    }
    Py_XDECREF(function);
    return Py_NewRef(Py_None);
}

static PyObject *
get_cr_code(PyObject *self, void *closure LM_UNUSED)
{
    LmCoro *c = (LmCoro *)self;
    PyObject *function = function_of(c);
    if (function == Py_None) {
        return function;
    }
    PyObject *code = Py_NewRef(PyFunction_GetCode(function));
    Py_DECREF(function);
    return code;
}

static PyObject *
get_cr_frame(PyObject *self, void *closure LM_UNUSED)
{
    LmCoro *c = (LmCoro *)self;
    if (LM_LOAD(c->state) == LM_CORO_CLOSED) {
        Py_RETURN_NONE;
    }
    DELEGATED(c, "cr_frame")
    PyObject *function = function_of(c);
    if (function == Py_None) {
        return function;
    }
    PyObject *frame = (PyObject *)PyFrame_New(
        PyThreadState_Get(), (PyCodeObject *)PyFunction_GetCode(function),
        PyFunction_GetGlobals(function), NULL);
    Py_DECREF(function);
    return frame;
}

static PyObject *
get_cr_await(PyObject *self, void *closure LM_UNUSED)
{
    LmCoro *c = (LmCoro *)self;
    if (LM_LOAD(c->state) != LM_CORO_SUSPENDED) {
        Py_RETURN_NONE;
    }
    DELEGATED(c, "cr_await")
    return lm_none_or(c->awaited);
}

static PyGetSetDef coro_getset[] = {
    {"cr_running", get_cr_running, NULL, NULL, NULL},
    {"cr_suspended", get_cr_suspended, NULL, NULL, NULL},
    {"cr_origin", get_cr_origin, NULL, NULL, NULL},
    {"cr_code", get_cr_code, NULL, NULL, NULL},
    {"cr_frame", get_cr_frame, NULL, NULL, NULL},
    {"cr_await", get_cr_await, NULL, NULL, NULL},
    {"__name__", get_coro_name, NULL, NULL, NULL},
    {"__qualname__", get_coro_qualname, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyObject *
coro_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                ((LmCoro *)self)->op->qualname, self);
}

static PyObject *
coro_await(PyObject *self)
{
    if (LM_UNLIKELY(LM_LOAD(((LmCoro *)self)->state) == LM_CORO_SUSPENDED)) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(self);
}

static int
coro_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmCoro *c = (LmCoro *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(c->loop);
    Py_VISIT(c->self);
    Py_VISIT(c->arg);
    Py_VISIT(c->awaited);
    return 0;
}

static int
coro_clear(PyObject *self)
{
    LmCoro *c = (LmCoro *)self;
    if (LM_LOAD(c->state) != LM_CORO_RUNNING) {
        LM_STORE(c->state, LM_CORO_CLOSED);
        lm_coro_empty(c);
    }
    return 0;
}

/* As the interpreter does, by no frame of ours. */
static int
warn_unawaited(PyObject *self)
{
    PyObject *warn = lm_state_import("warnings", "_warn_unawaited_coroutine");
    if (warn == NULL) {
        PyErr_Clear();
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                "coroutine '%s' was never awaited",
                                ((LmCoro *)self)->op->qualname);
    }
    int failed = lm_done(PyObject_CallOneArg(warn, self));
    Py_DECREF(warn);
    return failed;
}

/* As of any coroutine: it was never awaited, or what it was to do at its end is done now. */
static void
coro_finalize(PyObject *self)
{
    LmCoro *c = (LmCoro *)self;
    uint8_t state = LM_LOAD(c->state);
    c->was_finalized = 1;
    if (state > LM_CORO_SUSPENDED) {
        return;
    }
    PyObject *exc = lm_exc_hold();
    int failed = 0;
    if (state == LM_CORO_SUSPENDED) {
        failed = lm_coro_close(c);
    }
    else {
        failed = warn_unawaited(self);
    }
    if (failed < 0) {
        PyErr_WriteUnraisable(self);
    }
    lm_exc_restore(exc);
}

/* What it gave is nobody's business any more. */
static void
empty_spare(LmLoop *loop)
{
    PyObject *stop = lm_owner_is_home(loop) ? loop->spares.stop : NULL;
    if (stop == NULL) {
        return;
    }
    if (LM_LIKELY(lm_is_ours_alone(stop))) {
        Py_CLEAR(((PyStopIterationObject *)stop)->value);
    }
    else {
        loop->spares.stop = NULL;
        Py_DECREF(stop);
    }
}

static void
coro_dealloc(PyObject *self)
{
    LmCoro *c = (LmCoro *)self;
    if (LM_UNLIKELY(c->state != LM_CORO_CLOSED)) {
        if (PyObject_CallFinalizerFromDealloc(self) < 0) {
            return;
        }
        lm_coro_empty(c); /* never begun, or not to be ended */
    }
    PyObject_GC_UnTrack(self);
    if (LM_UNLIKELY(c->weakrefs != NULL)) {
        PyObject_ClearWeakRefs(self);
    }
    LM_ASSERT(c->self == NULL && c->arg == NULL && c->awaited == NULL);
    LmLoop *loop = c->loop;
    if (c->has_spare) {
        empty_spare(loop);
    }
    if (c->was_finalized ||
        !lm_freelist_give(LM_SPARE(loop, coros), self, LM_FREELIST_SIZE)) {
        lm_free_instance(self);
    }
    Py_DECREF(loop);
}

static PyMethodDef coro_methods[] = {
    {"send", lm_coro_method_send, METH_O,
     LM_DOC(
         "send($self, value, /)",
         "Resume it; return what it yields, or raise StopIteration with its result.")},
    {"throw", LM_POSITIONAL(lm_coro_method_throw),
     LM_DOC("throw($self, exception, /)", "Raise the exception where it waits.")},
    {"close", lm_coro_method_close, METH_NOARGS,
     LM_DOC("close($self)", "Raise GeneratorExit where it waits, and end it.")},
    {NULL, NULL, 0, NULL}};

static PyMemberDef coro_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LmCoro, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyType_Slot coro_slots[] = {{Py_tp_dealloc, coro_dealloc},
                                   {Py_tp_finalize, coro_finalize},
                                   {Py_tp_traverse, coro_traverse},
                                   {Py_tp_clear, coro_clear},
                                   {Py_tp_repr, coro_repr},
                                   {Py_tp_iter, coro_await},
                                   {Py_tp_iternext, lm_coro_next},
                                   {Py_am_await, coro_await},
                                   {Py_am_send, lm_coro_send},
                                   {Py_tp_methods, coro_methods},
                                   {Py_tp_members, coro_members},
                                   {Py_tp_getset, coro_getset},
                                   {0, NULL}};

static PyType_Spec coro_spec = {
    .name = "loopmod.coroutine",
    .basicsize = sizeof(LmCoro),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = coro_slots,
};

int
lm_coro_init(PyObject *module, LmState *st)
{
    st->CoroType = PyType_FromModuleAndSpec(module, &coro_spec, NULL);
    if (st->CoroType == NULL) {
        return -1;
    }
    PyObject *done = lm_state_support(st, "register_coroutine", "O", st->CoroType);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}
