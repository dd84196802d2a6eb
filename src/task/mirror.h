/* Where a stdlib task keeps its coroutine, name and awaiter (3.14 and later): more than
   CPython's public API promises.

   Call graphs, `python -m asyncio ps` and profilers read these words of the base struct
   from memory, our tasks' among them, so ours are written there too. The places are found
   at import by looking for known objects in a stdlib task; where one is not found, nothing
   is ever written and our tasks stay out of the list that those tools walk. */
#ifndef LM_TASK_MIRROR_H
#define LM_TASK_MIRROR_H

#include "task/task.h"

/* Finds the places. Never fails the import: 0, or -1 with an exception set for what is no
   matter of the layout. */
int lm_mirror_init(LmState *st);

/* 1 where the places are known and what is listed may be read by others. */
int lm_mirror_is_known(LmState *st);

/* Shows the coroutine and the name of a task before it is listed. -1 with an exception. */
int lm_mirror_show_task(PyObject *task);

/* The task's name, or its coroutine, has changed. */
void lm_mirror_show_name(PyObject *task);
void lm_mirror_show_coro(PyObject *task);

/* The task waits for the future, a Future or Task of any kind; and does so no longer.
   Neither fails: what cannot be shown is not. Both keep a set exception. */
void lm_mirror_show_await(PyObject *future, PyObject *task);
void lm_mirror_hide_await(PyObject *future, PyObject *task);

#endif
