/* asyncio.Queue and its two subclasses. */
#ifndef LM_SYNC_QUEUE_H
#define LM_SYNC_QUEUE_H

#include "sync/fields.h"
#include "sync/op.h"

typedef struct {
    LmSync sync;
    PyObject *maxsize;
    PyObject *getters;
    PyObject *putters;
    PyObject *unfinished; /* _unfinished_tasks */
    PyObject *finished;   /* an event */
    PyObject *queue;
    PyObject *is_shutdown; /* from 3.13 on */
} LmQueue;

static inline LmQueue *
lm_queue(PyObject *self)
{
    return (LmQueue *)lm_sync(self);
}

#define LM_HAS_SHUTDOWN (PY_VERSION_HEX >= 0x030D0000)

/* What a queue is just now, if all its fields are as asyncio's. */
typedef struct {
    int store;          /* LM_STORE_FIFO, ... */
    Py_ssize_t size;    /* items */
    Py_ssize_t maxsize; /* 0 or less: as many as come */
    int is_shutdown;
} LmQueueLook;

static inline int
lm_queue_is_full(const LmQueueLook *look)
{
    return look->maxsize > 0 && look->size >= look->maxsize;
}

/* 1 where C may work on it, whose class was judged plain; 0 where not, -1 with an exception
   set. */
int lm_queue_look(LmState *st, PyObject *self, LmQueueLook *look);

/* put_nowait() and get_nowait() of a queue that was looked at, is neither full nor empty, and
   not shut down. -1 or NULL with an exception set. */
int lm_queue_put(LmState *st, PyObject *self, const LmQueueLook *look, PyObject *item);
PyObject *lm_queue_get(LmState *st, PyObject *self, const LmQueueLook *look);

/* The bits of what these call. */
#define LM_QUEUE_PUTS \
    (LM_BIT(full) | LM_BIT(qsize) | LM_BIT(_put) | LM_BIT(_wakeup_next))
#define LM_QUEUE_GETS (LM_BIT(empty) | LM_BIT(_get) | LM_BIT(_wakeup_next))

/* Tables of methods (queue_wait.c has the steps). */
PySendResult lm_queue_step_put(struct LmCoro *coro, PyObject *exc, PyObject **result);
PySendResult lm_queue_step_get(struct LmCoro *coro, PyObject *exc, PyObject **result);

#endif
