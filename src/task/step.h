/* One step of a task: resume the coroutine, and take what it yielded, returned or raised. Runs
   Python. */
#ifndef LM_TASK_STEP_H
#define LM_TASK_STEP_H

#include "task/task.h"

/* Ready-queue function: steps a task that was queued or woken. */
int lm_task_step_item(LmLoop *loop, PyObject *task);

/* Queues the first or next step; on a foreign loop through its call_soon. -1 with an
   exception set. */
int lm_task_schedule(PyObject *task);

/* Starts the task now, inside the caller, as asyncio's eager tasks do. -1 with an
   exception set. */
int lm_task_start_eagerly(PyObject *task);

/* Makes steps known to who wakes tasks. */
void lm_task_step_init(LmState *st);

#endif
