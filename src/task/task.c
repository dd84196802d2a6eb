/* What a task is asked and told: see task.h. The rest of it stands in step.c,
   yielded.c, task_make.c and task_type.c. */
#include "task/task.h"

int
lm_task_cancel_awaited(LmTask *t, PyObject *message)
{
    PyObject *awaited = Py_NewRef(t->awaits);
    PyObject *done =
        PyObject_CallMethodOneArg(awaited, t->future.st->str.cancel, message);
    int cancelled = done != NULL ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    Py_DECREF(awaited);
    return cancelled;
}

int
lm_task_cancel(PyObject *self, PyObject *message)
{
    LmTask *t = lm_task(self);
    LM_STORE(t->future.log_traceback, 0);
    if (t->future.state != LM_PENDING) {
        return 0;
    }
    LM_STORE(t->cancels_requested, t->cancels_requested + 1);
    if (t->awaits != NULL) {
        int cancelled = lm_task_cancel_awaited(t, message);
        if (cancelled != 0) {
            return cancelled;
        }
    }
    t->must_cancel = 1;
    return lm_future_note_cancel(&t->future, message) < 0 ? -1 : 1;
}
