/* The attributes of the Loop type: what asyncio's own code, tools and our own Python code look at and
   set. Those that another thread's loop does not show are entered by core/owner.h. */
#include "face/loop_type.h"

#include "base/type_help.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/timers.h"
#include "os/resolver.h"

LM_GETTER(get_loop_closed, LmLoop *loop = (LmLoop *)self,
          PyBool_FromLong(LM_LOAD(loop->is_closed)))
LM_GETTER(get_loop_stopping, LmLoop *loop = (LmLoop *)self,
          PyBool_FromLong(LM_LOAD(loop->is_stopping)))

static PyObject *
get_loop_thread_id(PyObject *self, void *closure LM_UNUSED)
{
    unsigned long id = LM_LOAD(((LmLoop *)self)->thread_id);
    if (id == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(id);
}

LM_GETTER(get_loop_debug, LmLoop *loop = (LmLoop *)self,
          PyBool_FromLong(LM_LOAD(loop->is_debug)))

static int
set_loop_debug(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    if (truth >= 0) {
        LmLoop *loop = (LmLoop *)self;
        LM_STORE(loop->is_debug, (uint8_t)truth);
        LM_STORE(loop->is_slow, truth || LM_LOAD(loop->is_patched));
    }
    return truth < 0 ? -1 : 0;
}

LM_GETTER(get_loop_join_writes, LmLoop *loop = (LmLoop *)self,
          PyLong_FromLong(LM_LOAD(loop->postpones)))

static int
set_loop_join_writes(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    long join = value != NULL ? PyLong_AsLong(value) : LM_POSTPONE_NONE;
    if (join < LM_POSTPONE_NONE || join > LM_POSTPONE_TURN) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "not a way to join writes");
        }
        return -1;
    }
    LM_STORE(((LmLoop *)self)->postpones, (uint8_t)join);
    return lm_loop_run_postponed((LmLoop *)self);
}

LM_GETTER(get_loop_lookup_threads, LmLoop *loop = (LmLoop *)self,
          PyLong_FromLong(LM_LOAD(loop->most_lookups)))

/* Before the first look-up. */
static int
set_loop_lookup_threads(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    long most = value != NULL ? PyLong_AsLong(value) : -1;
    if (most < 0 || most > LM_MOST_LOOKUPS) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError, "lookup_threads is from 0 to %d",
                         LM_MOST_LOOKUPS);
        }
        return -1;
    }
    LM_STORE(((LmLoop *)self)->most_lookups, (unsigned)most);
    return 0;
}

LM_GETTER(get_loop_timer_slack, LmLoop *loop = (LmLoop *)self,
          PyFloat_FromDouble(lm_load_double(&loop->timer_slack)))

static int
set_loop_timer_slack(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    double slack = value != NULL ? PyFloat_AsDouble(value) : LM_TIMER_SLACK_S;
    if (slack == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(slack >= 0 && slack <= 1)) {
        PyErr_SetString(PyExc_ValueError, "timer_slack is from 0 to 1 second");
        return -1;
    }
    lm_store_double(&((LmLoop *)self)->timer_slack, slack);
    return 0;
}

static PyObject *
get_loop_current_handle(PyObject *self, void *closure LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    PyObject *item = loop->shown_handle;
    if (item == NULL) {
        item = loop->current_item;
        /* What shows it asks for this: a transport or listener is no handle. */
        PyObject *traceback = NULL;
        if (item != NULL &&
            PyObject_GetOptionalAttrString(item, "_source_traceback", &traceback) < 0) {
            return NULL;
        }
        if (traceback == NULL) {
            item = NULL;
        }
        Py_XDECREF(traceback);
    }
    return lm_none_or(item);
}

static int
set_loop_current_handle(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    PyObject *handle = value == NULL || value == Py_None ? NULL : Py_NewRef(value);
    Py_XSETREF(((LmLoop *)self)->shown_handle, handle);
    return 0;
}

LM_GETTER(get_loop_task_factory, LmLoop *loop = (LmLoop *)self,
          lm_none_or(loop->task_factory))

static int
set_loop_task_factory(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    PyObject *factory = value == NULL || value == Py_None ? NULL : Py_NewRef(value);
    Py_XSETREF(((LmLoop *)self)->task_factory, factory);
    return 0;
}

static int
append_visited(PyObject *obj, void *list)
{
    return PyList_Append(list, obj);
}

static PyObject *
list_of_visited(LmLoop *loop, int (*traverse)(LmLoop *loop, visitproc visit, void *arg))
{
    PyObject *list = PyList_New(0);
    if (list != NULL && traverse(loop, append_visited, list) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *
get_loop_ready_items(PyObject *self, void *closure LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    return lm_ready_take_sent(loop) < 0 ? NULL
                                        : list_of_visited(loop, lm_ready_traverse);
}

LM_GETTER(get_loop_timers, LmLoop *loop = (LmLoop *)self,
          list_of_visited(loop, lm_timers_traverse))

#define loop_itself(self) ((LmLoop *)(self))
LM_OWNED_SETTER(set_loop_lookup_threads, loop_itself)
LM_OWNED_SETTER(lm_loop_set_closed, loop_itself)
LM_OWNED_SETTER(set_loop_join_writes, loop_itself)
LM_OWNED_SETTER(set_loop_timer_slack, loop_itself)
LM_OWNED_SHOWN(get_loop_current_handle, loop_itself)
LM_OWNED_SETTER(set_loop_current_handle, loop_itself)
LM_OWNED_SETTER(lm_loop_set_own_select, loop_itself)
LM_OWNED_SHOWN(lm_loop_get_ready_count, loop_itself)
LM_OWNED_SHOWN(get_loop_ready_items, loop_itself)
LM_OWNED_SHOWN(get_loop_timers, loop_itself)
LM_OWNED_SHOWN(get_loop_task_factory, loop_itself)
LM_OWNED_SETTER(set_loop_task_factory, loop_itself)

PyGetSetDef lm_loop_getset[] = {
    {"_closed", get_loop_closed, LM_OWNED(lm_loop_set_closed), NULL, NULL},
    {"_stopping", get_loop_stopping, lm_loop_set_stopping, NULL, NULL},
    {"_thread_id", get_loop_thread_id, lm_loop_set_thread_id, NULL, NULL},
    {"_debug", get_loop_debug, set_loop_debug, NULL, NULL},
    {"_join_writes", get_loop_join_writes, LM_OWNED(set_loop_join_writes), NULL, NULL},
    {"_lookup_threads", get_loop_lookup_threads, LM_OWNED(set_loop_lookup_threads),
     NULL, NULL},
    {"_timer_slack", get_loop_timer_slack, LM_OWNED(set_loop_timer_slack), NULL, NULL},
    {"_current_handle", LM_OWNED(get_loop_current_handle),
     LM_OWNED(set_loop_current_handle), NULL, NULL},
    {"_has_own_select", lm_loop_get_own_select, LM_OWNED(lm_loop_set_own_select), NULL,
     NULL},
    {"_is_patched", lm_loop_get_patched, NULL, NULL, NULL},
    {"_had_guests", lm_loop_get_had_guests, NULL, NULL, NULL},
    {"_ready_count", LM_OWNED(lm_loop_get_ready_count), NULL, NULL, NULL},
    {"_ready_items", LM_OWNED(get_loop_ready_items), NULL, NULL, NULL},
    {"_timers", LM_OWNED(get_loop_timers), NULL, NULL, NULL},
    {"_task_factory", LM_OWNED(get_loop_task_factory), LM_OWNED(set_loop_task_factory),
     NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};
