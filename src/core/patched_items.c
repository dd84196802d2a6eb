/* The items of the ready queue as asyncio's own turn sees them, and what that queues: see
   patched.h. */
#include "core/patched.h"

#include "base/oserr.h"
#include "base/type_help.h"
#include "core/handle.h"
#include "core/ready.h"

#define DUE_NAME "loopmod._loopmod.due"

/* Ready-queue function: a handle of any class. */
static int
run_by_method(LmLoop *loop, PyObject *handle)
{
    PyObject *done = NULL;
    lm_loop_leave_task(loop);
    PyObject *cancelled = PyObject_GetAttr(handle, loop->st->str._cancelled);
    int is_cancelled = cancelled != NULL ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (is_cancelled == 0) {
        done = PyObject_CallMethodNoArgs(handle, loop->st->str._run);
    }
    Py_DECREF(handle);
    Py_XDECREF(done);
    return is_cancelled > 0 || done != NULL ? 0 : -1;
}

LmReadyItem
lm_patched_item(LmLoop *loop, PyObject *handle)
{
    LmState *st = loop->st;
    PyTypeObject *type = Py_TYPE(handle);
    int is_ours = type == lm_type(st->HandleType) ||
                  type == lm_type(st->TimerHandleType) ||
                  type == lm_type(st->SafeHandleType);
    return (LmReadyItem){is_ours && !LM_LOAD(loop->is_patched) ? lm_handle_run_item
                                                               : run_by_method,
                         handle};
}

/* An item of another kind, to be run once. */
typedef struct {
    LmReadyFn fn;
    LmLoop *loop;
    PyObject *obj; /* NULL once it was run */
} Due;

static void
drop_due(PyObject *capsule)
{
    Due *due = PyCapsule_GetPointer(capsule, DUE_NAME);
    PyObject *exc = lm_exc_hold();
    Py_XDECREF(due->obj);
    Py_DECREF(due->loop);
    PyMem_Free(due);
    lm_exc_restore(exc);
}

static PyObject *
capsule_of(LmLoop *loop, LmReadyItem item)
{
    Due *due = PyMem_Malloc(sizeof(*due));
    if (due == NULL) {
        Py_DECREF(item.obj);
        return PyErr_NoMemory();
    }
    *due = (Due){item.fn, (LmLoop *)Py_NewRef(loop), item.obj};
    PyObject *capsule = PyCapsule_New(due, DUE_NAME, drop_due);
    if (capsule == NULL) {
        Py_DECREF(due->obj);
        Py_DECREF(due->loop);
        PyMem_Free(due);
    }
    return capsule;
}

PyObject *
lm_patched_show(LmLoop *loop, LmReadyItem item)
{
    if (item.fn == lm_handle_run_item || item.fn == lm_handle_run_last_item) {
        if (!lm_handle(item.obj)->is_tracked) {
            lm_handle_track(item.obj);
        }
        return item.obj;
    }
    if (item.fn == run_by_method) {
        return item.obj;
    }
    PyObject *obj = Py_NewRef(item.obj);
    PyObject *capsule = capsule_of(loop, item);
    PyObject *args[] = {(PyObject *)loop, obj, capsule};
    PyObject *handle = capsule != NULL
                           ? PyObject_Vectorcall(loop->st->patch_handle, args, 3, NULL)
                           : NULL;
    Py_XDECREF(capsule);
    Py_DECREF(obj);
    return handle;
}

PyObject *
lm_patched_run_due(PyObject *module LM_UNUSED, PyObject *capsule)
{
    Due *due = PyCapsule_GetPointer(capsule, DUE_NAME);
    if (due == NULL) {
        return NULL;
    }
    PyObject *obj = due->obj;
    due->obj = NULL;
    int failed = obj != NULL ? due->fn(due->loop, obj) : 0;
    lm_loop_leave_task(due->loop);
    return lm_none_if(failed);
}
