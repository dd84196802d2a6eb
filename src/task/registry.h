/* asyncio's registers of tasks, by Python version: all_tasks() and current_task() tell
   the truth about ours.

   The current-task slot is written once per step and emptied lazily: between two steps
   of native tasks it may name the last one; everything else that runs is preceded by
   lm_loop_leave_task. */
#ifndef LM_TASK_REGISTRY_H
#define LM_TASK_REGISTRY_H

#include "task/task.h"

int lm_registry_init(LmState *st);

/* all_tasks(): a pending task is listed, a done or dead one is not. -1 with an
   exception set. */
int lm_registry_add(PyObject *task);
void lm_registry_remove(PyObject *task); /* keeps a set exception */

/* The same of a listed task that is being freed and has no weak references any more: dead
   references are compared by identity, so nobody's code gets to see it. */
void lm_registry_remove_dead(PyObject *task);

/* current_task() is the task from here on. -1 with RuntimeError set where a foreign
   task is being stepped. `loop` is the task's, which the caller holds until it has left:
   what runs meanwhile may begin the task anew for another one. */
int lm_registry_enter(PyObject *task, PyObject *loop);

/* The step is over: the slot does not keep alive a task that nobody else holds. Keeps a
   set exception. */
void lm_registry_leave(PyObject *task, PyObject *loop);

/* What a loop's slots named, and whose step it was in (borrowed from that step). From 3.14
   on asyncio's tasks in Python have a slot of their own. */
typedef struct {
    PyObject *task;
    PyObject *python_task;
    PyObject *stepping;
} LmSuspended;

/* Around a run within a run: the slots of the loop that runs further out (any loop object)
   are emptied and filled again. Resuming takes what is in `*suspended`. -1 with an
   exception set. */
int lm_registry_suspend(LmState *st, PyObject *loop, LmSuspended *suspended);
int lm_registry_resume(LmState *st, PyObject *loop, LmSuspended *suspended);
void lm_registry_forget(LmSuspended *suspended);

/* Exchanges the content of the loop's slot for an eager start: `*previous` gets what was
   there, or NULL; swapping back takes it. */
int lm_registry_swap(LmState *st, PyObject *loop, PyObject *task, PyObject **previous);
int lm_registry_swap_back(LmState *st, PyObject *loop, PyObject *previous);

#endif
