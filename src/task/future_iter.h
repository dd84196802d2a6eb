/* The iterator behind `await future`. */
#ifndef LM_TASK_FUTURE_ITER_H
#define LM_TASK_FUTURE_ITER_H

#include "base/state.h"

int lm_future_iter_init(PyObject *module, LmState *st);

/* tp_iter and am_await of Future and Task. New reference. */
PyObject *lm_future_iter_new(PyObject *future);

#endif
