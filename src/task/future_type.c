/* The Python type Future: slots, methods and the type itself over future.h. Relies on
   future_iter.h for await, future_methods.h for what Task has too. */
#include "task/future.h"

#include "base/args.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "task/future_iter.h"
#include "task/future_methods.h"
#include "task/waiters.h"

static void
future_finalize(PyObject *self)
{
    PyObject *pending = lm_exc_hold();
    lm_future_report_unread(self);
    lm_exc_restore(pending);
}

static PyObject *
future_new(PyTypeObject *type, PyObject *args LM_UNUSED, PyObject *kwargs LM_UNUSED)
{
    LmState *st = lm_state_of_type(type);
    PyObject *self = st != NULL ? type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        lm_future_hold_state(lm_future(self), st);
    }
    return self;
}

static int
future_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"loop", NULL};
    PyObject *loop = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Future", names, &loop)) {
        return -1;
    }
    return lm_future_setup(self, loop);
}

LM_OWNED_INIT(future_init, lm_future_owner)

static int
future_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmFuture *f = lm_future(self);
    PyTypeObject *base = lm_type(f->st->asyncio_Future);
    if (!(base->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        Py_VISIT(Py_TYPE(self));
    }
    int failed = lm_future_traverse_fields(f, visit, arg);
    return failed ? failed : base->tp_traverse(self, visit, arg);
}

static int
future_clear(PyObject *self)
{
    LmFuture *f = lm_future(self);
    lm_future_clear_fields(f);
    return lm_type(f->st->asyncio_Future)->tp_clear(self);
}

/* By the loop that made it, which is ours. A finalizer that was called once is never called
   again. */
static int
is_kept_for_reuse(PyObject *self, LmLoop *loop)
{
    return Py_IS_TYPE(self, lm_type(loop->st->FutureType)) &&
           !PyObject_GC_IsFinalized(self) &&
           lm_freelist_give(LM_SPARE(loop, futures), self, LM_FREELIST_SIZE);
}

static void
future_dealloc(PyObject *self)
{
    LmFuture *f = lm_future(self);
    if (LM_LOAD(f->log_traceback) && Py_IS_TYPE(self, lm_type(f->st->FutureType)) &&
        PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    LM_TRASHCAN_BEGIN(self, future_dealloc)
    lm_clear_weakrefs(self);
    future_clear(self);
    PyObject *loop = f->loop;
    f->loop = NULL;
    LmState *held = f->holds_state ? f->st : NULL;
    if (held != NULL || !is_kept_for_reuse(self, (LmLoop *)loop)) {
        lm_free_instance(self);
    }
    if (held != NULL) {
        lm_state_drop(held);
    }
    Py_XDECREF(loop);
    LM_TRASHCAN_END
}

static PyObject *
future_repr(PyObject *self)
{
    LmFuture *f = lm_future(self);
    return lm_future_check_ready(f) < 0
               ? NULL
               : lm_state_support(f->st, "future_repr", "O", self);
}

/* These two are descriptors of asyncio's Future, so that they take a task as well, which
   there is a future: so `self` may be of any kind. -1 with TypeError set unless it is
   ours. */
static int
check_ours(PyObject *self)
{
    /* Subclasses inherit it, unless they override __iter__. */
    if (LM_LIKELY(Py_TYPE(self)->tp_iter == lm_future_iter_new)) {
        return 0;
    }
    if (lm_state_of_type(Py_TYPE(self)) != NULL) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "a future or task of loopmod was expected, got '%s'",
                 lm_type_name(Py_TYPE(self)));
    return -1;
}

static PyObject *
finish_with_result(PyObject *self, PyObject *result)
{
    return lm_none_if(lm_future_set_result(self, result));
}

static PyObject *
finish_with_exception(PyObject *self, PyObject *exc)
{
    return lm_none_if(lm_future_set_exception(self, exc));
}

LM_OWNED_METHOD(finish_with_result, lm_future_owner)
LM_OWNED_METHOD(finish_with_exception, lm_future_owner)

static PyObject *
future_set_result(PyObject *self, PyObject *result)
{
    return check_ours(self) < 0 ? NULL : LM_OWNED(finish_with_result)(self, result);
}

static PyObject *
future_set_exception(PyObject *self, PyObject *exc)
{
    return check_ours(self) < 0 ? NULL : LM_OWNED(finish_with_exception)(self, exc);
}

static PyMethodDef outcome_methods[] = {
    {"set_result", future_set_result, METH_O,
     LM_DOC("set_result($self, result, /)",
            "Mark it done with a result and schedule its callbacks.\n\n"
            "Raises InvalidStateError if it is done. Loop's thread only.\n"
            "Implements asyncio.Future.set_result.")},
    {"set_exception", future_set_exception, METH_O,
     LM_DOC("set_exception($self, exception, /)",
            "Mark it done with an exception (class or instance) and schedule its "
            "callbacks.\n\n"
            "Raises InvalidStateError if it is done, TypeError for what is no "
            "exception. Loop's thread only.\n"
            "Implements asyncio.Future.set_exception.")},
    {NULL, NULL, 0, NULL}};

static PyObject *
future_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyObject *message = lm_future_parse_cancel(args, nargs, kwnames);
    if (message == NULL || lm_future_check_ready(lm_future(self)) < 0) {
        return NULL;
    }
    int cancelled = lm_future_cancel(self, message);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

LM_OWNED_FASTCALL(future_cancel, lm_future_owner)

static PyMethodDef future_methods[] = {
    LM_FUTURE_COMMON_METHODS,
    {"cancel", LM_FASTCALL(LM_OWNED(future_cancel)),
     LM_DOC("cancel($self, msg=None)",
            "Cancel it and schedule its callbacks; return False if it was done.\n\n"
            "Loop's thread only. Implements asyncio.Future.cancel.")},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef future_getset[] = {LM_FUTURE_COMMON_GETSET,
                                      {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot future_slots[] = {
    {Py_tp_doc, "Future(*, loop=None)\n"
                "--\n\n"
                "A result that is not there yet. Implements asyncio.Future."},
    {Py_tp_new, future_new},
    {Py_tp_init, LM_OWNED(future_init)},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_finalize, future_finalize},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_repr, future_repr},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {Py_tp_iter, lm_future_iter_new},
    {Py_am_await, lm_future_iter_new},
    {0, NULL}};

static int
add_outcome_methods(LmState *st)
{
    for (PyMethodDef *def = outcome_methods; def->ml_name != NULL; def++) {
        PyObject *method = PyDescr_NewMethod(lm_type(st->asyncio_Future), def);
        int failed = method == NULL ||
                     PyObject_SetAttrString(st->FutureType, def->ml_name, method) < 0;
        Py_XDECREF(method);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

int
lm_future_init(PyObject *module, LmState *st)
{
    st->asyncio_Future = lm_state_import("_asyncio", "Future");
    st->asyncio_Task = lm_state_import("_asyncio", "Task");
    st->CancelledError = lm_state_import("asyncio", "CancelledError");
    st->InvalidStateError = lm_state_import("asyncio", "InvalidStateError");
    st->get_event_loop = lm_state_import("asyncio", "get_event_loop");
    if (!st->asyncio_Future || !st->asyncio_Task || !st->CancelledError ||
        !st->InvalidStateError || !st->get_event_loop) {
        return -1;
    }
    if (lm_waiters_init(st) < 0) {
        return -1;
    }
    lm_offset_keep(&lm_future_offset, lm_offset_behind(st->asyncio_Future));
    PyType_Spec spec = {
        .name = "loopmod.Future",
        .basicsize = (int)(lm_future_offset + (Py_ssize_t)sizeof(LmFuture)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
        .slots = future_slots,
    };
    st->FutureType = PyType_FromModuleAndSpec(module, &spec, st->asyncio_Future);
    if (st->FutureType == NULL || add_outcome_methods(st) < 0) {
        return -1;
    }
    lm_future_place(st->FutureType, lm_future_offset);
    lm_type_drop_inline_values(st->FutureType);
    return PyModule_AddObjectRef(module, "Future", st->FutureType);
}
