/* What a coroutine yielded decides what its task waits for: a future of ours, any other
   object with asyncio's protocol for futures, or just the next turn. Runs Python. */
#ifndef LM_TASK_YIELDED_H
#define LM_TASK_YIELDED_H

#include "task/task.h"

/* 0 where the task waits, 1 where its next step is due: with an exception to throw
   where it cannot wait for that. -1 with an exception set. */
int lm_task_take_yielded(PyObject *task, PyObject *yielded);

#endif
