/* What a future holds: visited, let go of, and the struct for what few of them have: see
   future.h. */
#include "task/future.h"

#include "base/threads.h"
#include "task/waiters.h"

/* Where the value is told to another thread, it looks for it in a section. */
LmFutureRare *
lm_future_rare(LmFuture *f)
{
    if (f->has_rare) {
        return f->rare;
    }
    LmFutureRare *rare = PyMem_Calloc(1, sizeof(*rare));
    if (rare == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    LM_BEGIN_SECTION(lm_future_object(f))
    rare->value = f->value;
    f->rare = rare;
    f->has_rare = 1;
    LM_END_SECTION
    return rare;
}

int
lm_future_traverse_fields(LmFuture *f, visitproc visit, void *arg)
{
    Py_VISIT(f->loop);
    Py_VISIT(*lm_future_value(f));
    Py_VISIT(f->waiter.callable);
    Py_VISIT(f->waiter.context);
    if (f->has_rare) {
        Py_VISIT(f->rare->value_tb);
        Py_VISIT(f->rare->cancel_message);
        Py_VISIT(f->rare->source_traceback);
        Py_VISIT(f->rare->raising);
        for (uint32_t i = f->rare->more_begin; i < f->rare->more_end; i++) {
            Py_VISIT(f->rare->more[i].callable);
            Py_VISIT(f->rare->more[i].context);
        }
    }
    return 0;
}

static void
free_rare(LmFutureRare *rare)
{
    if (rare == NULL) {
        return;
    }
    for (uint32_t i = rare->more_begin; i < rare->more_end; i++) {
        lm_waiter_release(&rare->more[i]);
    }
    Py_XDECREF(rare->value);
    Py_XDECREF(rare->value_tb);
    Py_XDECREF(rare->cancel_message);
    Py_XDECREF(rare->source_traceback);
    Py_XDECREF(rare->raising);
    PyMem_Free(rare);
}

/* The loop stays: a future that is being cleared may still be asked. All is taken out
   before anything of it ends: what then runs may use the future, which keeps what it is
   given. */
static void
take_contents(LmFuture *f, PyObject **value, LmFutureRare **rare)
{
    LM_BEGIN_SECTION(lm_future_object(f))
    *rare = f->has_rare ? f->rare : NULL;
    *value = f->has_rare ? NULL : f->value;
    f->value = NULL;
    f->has_rare = 0;
    LM_END_SECTION
}

void
lm_future_clear_fields(LmFuture *f)
{
    LmWaiter waiter = f->waiter;
    LmFutureRare *rare;
    PyObject *value;
    f->waiter = (LmWaiter){NULL, NULL};
    take_contents(f, &value, &rare);
    Py_XDECREF(waiter.callable);
    Py_XDECREF(waiter.context);
    Py_XDECREF(value);
    free_rare(rare);
}
