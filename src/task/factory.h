/* The task factories that are asyncio's own, for which create_task makes tasks of ours:
   asyncio.eager_task_factory, and what asyncio.create_eager_task_factory makes for asyncio's
   Task or ours. Relies on loopmod/eager_factory.py, which knows them by their code.

   A factory whose code, defaults or constructor was changed is like any other: it is called,
   and makes what it makes. */
#ifndef LM_TASK_FACTORY_H
#define LM_TASK_FACTORY_H

#include "task/task.h"

int lm_factory_init(PyObject *module, LmState *st);

/* What create_task of a loop that has a task factory was called with. 1 where the factory is
   such a one: `*task` gets the task, a new reference, or NULL with an exception set. Else 0:
   it is to be called, and nothing was done yet. */
int lm_factory_create(LmLoop *loop, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, PyObject **task);

#endif
