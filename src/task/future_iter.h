/* The iterator behind `await future`. */
#ifndef LM_TASK_FUTURE_ITER_H
#define LM_TASK_FUTURE_ITER_H

#include "base/state.h"

int lm_future_iter_init(PyObject *module, LmState *st);

/* tp_iter and am_await of Future and Task. New reference. */
PyObject *lm_future_iter_new(PyObject *future);

/* What throw(exception) or the older throw(type, value, traceback) is to raise. New
   reference; NULL with an exception set where the arguments are none of that. */
PyObject *lm_future_iter_thrown(PyObject *const *args, Py_ssize_t nargs);

#endif
