/* Task: a subclass of _asyncio.Task that steps a coroutine. Its fields begin with those
   of a future.

   States of a task (PENDING, FINISHED, CANCELLED are those of its future):

       PENDING    QUEUED  --lm_task_step_item--> RUNNING
                  RUNNING --coroutine yields None--> QUEUED          lm_task_take_yielded
                  RUNNING --yields a future--> WAITING: `awaits`     wait_for_native,
                                                                     wait_for_foreign
                  WAITING --that future is done--> QUEUED            lm_waiters_schedule,
                                                                     task_wakeup
                  WAITING --cancel--> that future is cancelled       lm_task_cancel
                  QUEUED, RUNNING --cancel--> `must_cancel` is set   lm_task_cancel
       FINISHED   RUNNING --coroutine returns, raises-->             finish_returned,
       CANCELLED  RUNNING --it raises CancelledError-->              finish_raised

   QUEUED holds a reference in the ready queue, WAITING one in the awaited future;
   RUNNING is borrowed from the item being run. */
#ifndef LM_TASK_TASK_H
#define LM_TASK_TASK_H

#include "core/context.h"
#include "task/future.h"

typedef struct LmTask {
    LmFuture future;
    PyObject *coro;
    PyObject *context; /* None: an empty one (core/context.h) */
    PyObject *name;    /* NULL: the default one, made from `number` when asked for */
    PyObject *awaits;  /* the future waited for (asyncio's _fut_waiter), or NULL */
    PyObject *listed;  /* what stands for the task in asyncio's register of tasks
                          (registry.c), or NULL */
    uint64_t number;
    int cancels_requested;
    uint8_t must_cancel;
    uint8_t log_destroy_pending;
    uint8_t is_context_shown;
    uint8_t is_context_new; /* a copy of which nobody knows yet whether it is empty */
} LmTask;

static inline LmTask *
lm_task(PyObject *self)
{
    return (LmTask *)((char *)self + lm_task_offset);
}

int lm_task_init(PyObject *module, LmState *st);

/* A task of the loop, scheduled for the next turn or, where `eager`, started now.
   `name` and `context` may be NULL or None. New reference, or NULL with an exception
   set. */
PyObject *lm_task_new(LmLoop *loop, PyObject *coro, PyObject *name, PyObject *context,
                      int eager);

/* One that has not begun: the first half of lm_task_new. */
PyObject *lm_task_make(LmLoop *loop);

/* The rest of __init__ after the future's fields: the coroutine, its surroundings, the
   first step. -1 with an exception set. */
int lm_task_begin(PyObject *self, PyObject *coro, PyObject *name, PyObject *context,
                  int eager);

/* The name to be str(value); by any thread. -1 with an exception set. */
int lm_task_set_name(PyObject *self, PyObject *value);

/* The context to be shown or handed on: a new reference, or NULL with an exception set.
   The task is set up. */
static inline PyObject *
lm_task_context(LmTask *task)
{
    task->is_context_shown = 1;
    return lm_context_show(&task->context);
}

/* The bound callable that a foreign future or loop is given. New reference. */
static inline PyObject *
lm_task_wakeup_callable(PyObject *task)
{
    return PyCFunction_New(lm_task(task)->future.st->wake_task, task);
}

/* 1 where a cancellation was requested, 0 where the task is done; -1 with an exception
   set. May run Python. */
int lm_task_cancel(PyObject *self, PyObject *message);

/* Passes a cancellation on to what the task waits for, a future of any kind: 1 where that
   took it, else 0; -1 with an exception set. May run Python. */
int lm_task_cancel_awaited(LmTask *task, PyObject *message);

#endif
