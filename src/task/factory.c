/* Tasks of asyncio's eager factories: see factory.h. Relies on task_make.c, and on step.c for
   the eager start.

   Looked at anew for each task, since all about a function may be changed at any time; and so
   nothing is to be kept in step with it. */
#include "task/factory.h"

#include "base/held.h"

/* What loopmod/eager_factory.py tells of such a factory: a tuple of its code, who gives a task
   its name, and keyword, default, ... */
enum { CODE, NAMED_BY, DEFAULTS };
enum { NAMED_BY_FACTORY, NAMED_AFTERWARDS_IF_ANY, NAMED_AFTERWARDS };

/* Keywords of create_task, by their places in the values. */
enum { NAME, CONTEXT, EAGER_START, KEYWORDS };

int
lm_factory_init(PyObject *module LM_UNUSED, LmState *st)
{
    PyObject *known = lm_state_support(st, "stock_eager_factory", "");
    if (known == NULL) {
        return -1;
    }
    if (PyTuple_Check(known)) {
        st->eager_factory = Py_NewRef(known);
    }
    Py_DECREF(known);
    return 0;
}

#if LM_FREE_THREADED

/* Another thread may write to them meanwhile. */
static int
are_stock_defaults(PyObject *defaults, PyObject *stock)
{
    for (Py_ssize_t i = DEFAULTS; i < PyTuple_GET_SIZE(stock); i += 2) {
        PyObject *value;
        if (PyDict_GetItemRef(defaults, PyTuple_GET_ITEM(stock, i), &value) < 0) {
            PyErr_Clear();
        }
        Py_XDECREF(value); /* compared alone: the stock one is immortal */
        if (value != PyTuple_GET_ITEM(stock, i + 1)) {
            return 0;
        }
    }
    return 1;
}

#else

/* In asyncio's order, unless somebody has put them there anew. */
static int
are_stock_defaults(PyObject *defaults, PyObject *stock)
{
    PyObject *const *item = &PyTuple_GET_ITEM(stock, DEFAULTS);
    PyObject *key, *value;
    Py_ssize_t at = 0;
    for (; PyDict_Next(defaults, &at, &key, &value); item += 2) {
        if (key != item[0] || value != item[1]) {
            return 0;
        }
    }
    return 1;
}

#endif

/* 1 where asyncio's code would have what it had when it was compiled. */
static int
has_stock_defaults(PyObject *function, PyObject *stock)
{
    PyObject *found = PyFunction_GET_KW_DEFAULTS(function);
    return found != NULL &&
           2 * PyDict_GET_SIZE(found) == PyTuple_GET_SIZE(stock) - DEFAULTS &&
           are_stock_defaults(found, stock) &&
           PyFunction_GET_DEFAULTS(function) == NULL;
}

/* What such a function makes tasks with; compared alone, as it may be exchanged meanwhile. */
static const PyObject *
constructor_of(PyObject *function)
{
    PyObject *cells = PyFunction_GET_CLOSURE(function);
    return LM_LOAD(((PyCellObject *)PyTuple_GET_ITEM(cells, 0))->ob_ref);
}

static int
is_stock_factory(const LmState *st, PyObject *factory)
{
    PyObject *stock = st->eager_factory;
    if (stock == NULL || !PyFunction_Check(factory) ||
        PyFunction_GET_CODE(factory) != PyTuple_GET_ITEM(stock, CODE)) {
        return 0;
    }
    const PyObject *constructor = constructor_of(factory);
    return (constructor == st->asyncio_Task || constructor == st->TaskType) &&
           has_stock_defaults(factory, stock);
}

/* 0 where asyncio has to say what it thinks of the arguments. */
static int
take_factory_arguments(const LmState *st, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames, PyObject **values)
{
    const PyObject *const keywords[KEYWORDS] = {
        [NAME] = st->str.name,
        [CONTEXT] = st->str.context,
        /* Where it is no keyword of the factory's, this is the name once more. */
        [EAGER_START] = PyTuple_GET_ITEM(st->eager_factory, DEFAULTS),
    };
    Py_ssize_t count = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        int place = 0;
        while (place < KEYWORDS && PyTuple_GET_ITEM(kwnames, i) != keywords[place]) {
            place++;
        }
        if (place == KEYWORDS) {
            return 0;
        }
        values[place] = args[nargs + i];
    }
    return nargs == 1;
}

/* The stack that debug mode keeps, as asyncio's: before the first step, which may show it. */
static int
add_frames(LmState *st, PyObject *self)
{
    PyObject *stack = LM_RARE(&lm_task(self)->future, source_traceback);
    return stack == NULL
               ? 0
               : lm_done(lm_state_support(st, "add_factory_frames", "OO", stack,
                                          PyTuple_GET_ITEM(st->eager_factory, CODE)));
}

static int
begin_by_factory(PyObject *self, const LmLoop *loop, PyObject *coro, PyObject **values,
                 int eager)
{
    LmState *st = loop->st;
    long named_by = PyLong_AsLong(PyTuple_GET_ITEM(st->eager_factory, NAMED_BY));
    PyObject *name = values[NAME] != NULL ? values[NAME] : Py_None;
    if (add_frames(st, self) < 0 ||
        lm_task_begin(self, coro, named_by == NAMED_BY_FACTORY ? name : NULL,
                      values[CONTEXT], eager && LM_LOAD(loop->thread_id) != 0) < 0) {
        return -1;
    }
    return named_by == NAMED_AFTERWARDS ||
                   (named_by == NAMED_AFTERWARDS_IF_ANY && name != Py_None)
               ? lm_task_set_name(self, name)
               : 0;
}

int
lm_factory_create(LmLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, PyObject **task)
{
    const LmState *st = loop->st;
    PyObject *values[KEYWORDS] = {NULL};
    /* In another thread than the loop's asyncio's tasks start there, or are refused, by
       version: that is left to them. */
    if (!is_stock_factory(st, loop->task_factory) || loop->has_own_running ||
        lm_loop_runs_elsewhere(loop) ||
        !take_factory_arguments(st, args, nargs, kwnames, values)) {
        return 0;
    }
    int eager = values[EAGER_START] != NULL ? PyObject_IsTrue(values[EAGER_START]) : 1;
    *task = eager >= 0 ? lm_task_make(loop) : NULL;
    if (*task != NULL && begin_by_factory(*task, loop, args[0], values, eager) < 0) {
        Py_CLEAR(*task);
    }
    return 1;
}
