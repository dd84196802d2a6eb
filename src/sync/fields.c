/* Fields that are asyncio's private attributes, and the waiters among them: see fields.h.
   Relies on collections.deque, whose methods are called without the way through its type, and
   on loopmod/sync_methods.py for pickles. */
#include "sync/fields.h"

#include "base/oserr.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "task/future.h"

Py_ssize_t lm_sync_offset;

/* A member that is shown as another: a name that no program can write. */
#define HIDDEN "loop of the object"
#define MOST_MEMBERS 10

/* --- attributes */

static PyObject *
get_sync_loop(PyObject *self, void *closure LM_UNUSED)
{
    PyObject *loop = lm_shared_get(self, &lm_sync(self)->loop);
    return loop != NULL ? loop : Py_NewRef(Py_None);
}

static int
set_sync_loop(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    PyObject *old = lm_shared_swap(self, &lm_sync(self)->loop, Py_XNewRef(value));
    if (old == NULL && value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_loop");
        return -1;
    }
    Py_XDECREF(old);
    return 0;
}

static void
note_hiding(PyObject *self, uint8_t how)
{
    LmSync *s = lm_sync(self);
    if (LM_LOAD(s->may_hide) < how) {
        LM_STORE(s->may_hide, how);
    }
}

static PyObject *
get_sync_dict(PyObject *self, void *closure LM_UNUSED)
{
    note_hiding(self, LM_SYNC_DICT_SHOWN);
    return PyObject_GenericGetDict(self, NULL);
}

static int
set_sync_dict(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    note_hiding(self, LM_SYNC_DICT_SHOWN);
    return PyObject_GenericSetDict(self, value, NULL);
}

static PyGetSetDef sync_getset[] = {
    {"_loop", get_sync_loop, set_sync_loop, NULL, NULL},
    {"__dict__", get_sync_dict, set_sync_dict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

/* An attribute of the name of a method hides that. */
static int
set_sync_attribute(PyObject *self, PyObject *name, PyObject *value)
{
    LmState *st = lm_state_of_type(Py_TYPE(self));
    if (st == NULL) {
        return -1;
    }
    if (st->sync_hooks != NULL) {
        int is_hook = PyUnicode_Check(name) ? PySet_Contains(st->sync_hooks, name) : 0;
        if (is_hook < 0) {
            return -1;
        }
        if (is_hook) {
            note_hiding(self, LM_SYNC_HIDES);
        }
    }
    return PyObject_GenericSetAttr(self, name, value);
}

static PyObject *
sync_getstate(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmState *st = lm_state_of_type(Py_TYPE(self));
    PyObject *dict = st != NULL ? PyObject_GenericGetDict(self, NULL) : NULL;
    if (dict == NULL) {
        return NULL;
    }
    PyObject *state = lm_state_support(st, "sync_state", "OO", self, dict);
    Py_DECREF(dict);
    return state;
}

static PyMethodDef sync_methods[] = {
    {"__getstate__", sync_getstate, METH_NOARGS,
     LM_DOC("__getstate__($self)", "Return what copy and pickle keep of it.")},
    {NULL, NULL, 0, NULL}};

/* --- types */

static PyMemberDef *
place_members(const PyMemberDef *members, PyMemberDef *room)
{
    int count = 0;
    room[count++] =
        (PyMemberDef){HIDDEN, T_OBJECT_EX,
                      lm_sync_offset + (Py_ssize_t)offsetof(LmSync, loop), 0, NULL};
    for (; members->name != NULL; members++) {
        room[count] = *members;
        room[count++].offset += lm_sync_offset;
    }
    room[count] = (PyMemberDef){NULL, 0, 0, 0, NULL};
    return room;
}

/* By the name alone, as asyncio's classes are called in messages. */
static int
rename_type(PyObject *type)
{
    PyObject *name = PyUnicode_InternFromString(lm_type_name(lm_type(type)));
    int failed = name == NULL ? -1 : PyObject_SetAttrString(type, "__name__", name);
    Py_XDECREF(name);
    return failed;
}

static int
finish_type(PyObject *module, const LmSyncSpec *spec, PyObject *type)
{
    if (rename_type(type) < 0 ||
        (spec->members != NULL && PyObject_DelAttrString(type, HIDDEN) < 0)) {
        return -1;
    }
    return PyModule_AddObjectRef(module, lm_type_name(lm_type(type)), type);
}

PyObject *
lm_sync_type_new(PyObject *module, const LmSyncSpec *spec)
{
    PyMemberDef members[MOST_MEMBERS];
    PyType_Slot slots[] = {{Py_tp_doc, (void *)spec->doc},
                           {Py_tp_init, (void *)spec->init},
                           {0, NULL}, /* where the base has the rest */
                           {Py_tp_setattro, set_sync_attribute},
                           {Py_tp_getset, sync_getset},
                           {Py_tp_methods, sync_methods},
                           {0, NULL}};
    if (spec->members != NULL) {
        slots[2] = (PyType_Slot){Py_tp_members, place_members(spec->members, members)};
    }
    PyType_Spec type_spec = {
        .name = spec->name,
        .basicsize = (int)(lm_sync_offset + (Py_ssize_t)spec->size),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, spec->bases);
    if (type != NULL && finish_type(module, spec, type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static PyCFunction
method_of_deque(LmState *st, const char *name, int flags)
{
    PyObject *method = PyObject_GetAttrString(st->deque, name);
    PyCFunction found = NULL;
    if (method != NULL && Py_IS_TYPE(method, &PyMethodDescr_Type)) {
        const PyMethodDef *def = ((PyMethodDescrObject *)method)->d_method;
        found = def->ml_flags == flags ? def->ml_meth : NULL;
    }
    Py_XDECREF(method);
    if (found == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ImportError, "deque.%s is not known", name);
    }
    return found;
}

int
lm_fields_init(LmState *st)
{
    st->deque = lm_state_import("collections", "deque");
    if (st->deque == NULL) {
        return -1;
    }
    st->deque_append = method_of_deque(st, "append", METH_O);
    st->deque_popleft = method_of_deque(st, "popleft", METH_NOARGS);
    st->deque_remove = method_of_deque(st, "remove", METH_O);
    lm_offset_keep(&lm_sync_offset, lm_offset_behind(st->asyncio_Lock));
    return st->deque_append && st->deque_popleft && st->deque_remove ? 0 : -1;
}

/* --- waiters */

int
lm_sync_remove(PyObject *self, const char *name, PyObject *future)
{
    PyObject *waiters = PyObject_GetAttrString(self, name);
    PyObject *done =
        waiters != NULL ? PyObject_CallMethod(waiters, "remove", "O", future) : NULL;
    Py_XDECREF(waiters);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int
lm_sync_change(PyObject *self, const char *name, long change)
{
    PyObject *value = PyObject_GetAttrString(self, name);
    PyObject *by = value != NULL ? PyLong_FromLong(change) : NULL;
    PyObject *sum = by != NULL ? PyNumber_InPlaceAdd(value, by) : NULL;
    int failed = sum != NULL ? PyObject_SetAttrString(self, name, sum) : -1;
    Py_XDECREF(value);
    Py_XDECREF(by);
    Py_XDECREF(sum);
    return failed;
}

/* A future of ours, exactly, whose loop is the calling thread's. */
static int
is_at_hand(LmState *st, PyObject *future)
{
    if (LM_UNLIKELY(!Py_IS_TYPE(future, lm_type(st->FutureType)))) {
        return 0;
    }
    const LmFuture *f = lm_future(future);
    return f->is_native && lm_owner_is_home((LmLoop *)f->loop);
}

int
lm_sync_is_done(LmState *st, PyObject *future)
{
    return LM_LIKELY(Py_IS_TYPE(future, lm_type(st->FutureType)))
               ? LM_LOAD_ACQUIRE(lm_future(future)->state) != LM_PENDING
               : lm_future_is_done(future);
}

int
lm_sync_wake(LmState *st, PyObject *future, PyObject *result)
{
    if (LM_LIKELY(is_at_hand(st, future))) {
        if (lm_future(future)->state != LM_PENDING) {
            return 0;
        }
        return lm_future_set_result(future, result) < 0 ? -1 : 1;
    }
    int is_done = lm_sync_is_done(st, future);
    if (is_done != 0) {
        return is_done < 0 ? -1 : 0;
    }
    PyObject *done = PyObject_CallMethod(future, "set_result", "O", result);
    Py_XDECREF(done);
    return done != NULL ? 1 : -1;
}

int
lm_sync_is_cancelled(LmState *st, PyObject *future)
{
    if (LM_LIKELY(Py_IS_TYPE(future, lm_type(st->FutureType)))) {
        return LM_LOAD_ACQUIRE(lm_future(future)->state) == LM_CANCELLED;
    }
    PyObject *answer = PyObject_CallMethod(future, "cancelled", NULL);
    int truth = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

int
lm_sync_any_waits(LmState *st, PyObject *deque)
{
    if (lm_deque_size(deque) == 0) {
        return 0;
    }
    PyObject *iterator = PyObject_GetIter(deque);
    if (iterator == NULL) {
        return -1;
    }
    int found = 0;
    PyObject *waiter;
    while (found == 0 && (waiter = PyIter_Next(iterator)) != NULL) {
        int is_cancelled = lm_sync_is_cancelled(st, waiter);
        Py_DECREF(waiter);
        found = is_cancelled < 0 ? -1 : !is_cancelled;
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : found;
}
