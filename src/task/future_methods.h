/* Methods and getters that Future and Task share: each type's own tables take them in
   through the macros. */
#ifndef LM_TASK_FUTURE_METHODS_H
#define LM_TASK_FUTURE_METHODS_H

#include "base/lm.h"

PyObject *lm_future_method_result(PyObject *self, PyObject *unused);
PyObject *lm_future_method_exception(PyObject *self, PyObject *unused);
PyObject *lm_future_method_done(PyObject *self, PyObject *unused);
PyObject *lm_future_method_cancelled(PyObject *self, PyObject *unused);
PyObject *lm_future_method_get_loop(PyObject *self, PyObject *unused);
PyObject *lm_future_method_add_done_callback(PyObject *self, PyObject *const *args,
                                             Py_ssize_t nargs, PyObject *kwnames);
PyObject *lm_future_method_remove_done_callback(PyObject *self, PyObject *callback);
PyObject *lm_future_method_make_cancelled_error(PyObject *self, PyObject *unused);

/* Parses cancel(msg=None) of both types: borrowed message, or NULL with TypeError set. */
PyObject *lm_future_parse_cancel(PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames);

PyObject *lm_future_get_blocking(PyObject *self, void *closure);
int lm_future_set_blocking(PyObject *self, PyObject *value, void *closure);
PyObject *lm_future_get_loop(PyObject *self, void *closure);
PyObject *lm_future_get_state(PyObject *self, void *closure);
PyObject *lm_future_get_callbacks(PyObject *self, void *closure);
PyObject *lm_future_get_result(PyObject *self, void *closure);
PyObject *lm_future_get_exception(PyObject *self, void *closure);
PyObject *lm_future_get_log_traceback(PyObject *self, void *closure);
int lm_future_set_log_traceback(PyObject *self, PyObject *value, void *closure);
PyObject *lm_future_get_source_traceback(PyObject *self, void *closure);
PyObject *lm_future_get_cancel_message(PyObject *self, void *closure);
int lm_future_set_cancel_message(PyObject *self, PyObject *value, void *closure);

#define LM_FUTURE_DOC_RESULT                                                         \
    "result($self)\n--\n\nReturn the result, or raise the exception.\n\nRaises "     \
    "InvalidStateError while pending, CancelledError once cancelled. Loop's thread " \
    "only."                                                                          \
    "\nImplements asyncio.Future.result."
#define LM_FUTURE_DOC_EXCEPTION                                                      \
    "exception($self)\n--\n\nReturn the exception that was set, or None.\n\nRaises " \
    "InvalidStateError while pending, CancelledError once cancelled. Loop's thread " \
    "only."                                                                          \
    "\nImplements asyncio.Future.exception."
#define LM_FUTURE_DOC_ADD                                                            \
    "add_done_callback($self, fn, /, *, context=None)\n--\n\nCall fn(self) through " \
    "call_soon "                                                                     \
    "once "                                                                          \
    "the future is done.\n\ncontext: the contextvars.Context to call it in; a copy " \
    "of "                                                                            \
    "the current one by default. Loop's thread only.\nImplements "                   \
    "asyncio.Future.add_done_callback."
#define LM_FUTURE_DOC_REMOVE                                                     \
    "remove_done_callback($self, fn, /)\n--\n\nRemove every done callback that " \
    "equals fn; "                                                                \
    "return how many.\n\nImplements asyncio.Future.remove_done_callback."

/* clang-format off */
#define LM_FUTURE_COMMON_METHODS                                                          \
    {"result", lm_future_method_result, METH_NOARGS, LM_FUTURE_DOC_RESULT},               \
    {"exception", lm_future_method_exception, METH_NOARGS, LM_FUTURE_DOC_EXCEPTION},      \
    {"done", lm_future_method_done, METH_NOARGS,                                          \
     "done($self)\n--\n\nReturn True once there is a result or exception, or it was "          \
     "cancelled."},                                                                       \
    {"cancelled", lm_future_method_cancelled, METH_NOARGS,                                \
     "cancelled($self)\n--\n\nReturn True if it was cancelled."},                              \
    {"get_loop", lm_future_method_get_loop, METH_NOARGS,                                  \
     "get_loop($self)\n--\n\nReturn the event loop it belongs to."},                           \
    {"add_done_callback",                                                                 \
     (PyCFunction)(void (*)(void))lm_future_method_add_done_callback,                     \
     METH_FASTCALL | METH_KEYWORDS, LM_FUTURE_DOC_ADD},                                   \
    {"remove_done_callback", lm_future_method_remove_done_callback, METH_O,               \
     LM_FUTURE_DOC_REMOVE},                                                               \
    {"_make_cancelled_error", lm_future_method_make_cancelled_error, METH_NOARGS,         \
     "_make_cancelled_error($self)\n--\n\nCreate the CancelledError to raise for the "         \
     "cancellation."}

#define LM_FUTURE_COMMON_GETSET                                                           \
    {"_asyncio_future_blocking", lm_future_get_blocking, lm_future_set_blocking, NULL,    \
     NULL},                                                                               \
    {"_loop", lm_future_get_loop, NULL, NULL, NULL},                                      \
    {"_state", lm_future_get_state, NULL, NULL, NULL},                                    \
    {"_callbacks", lm_future_get_callbacks, NULL, NULL, NULL},                            \
    {"_result", lm_future_get_result, NULL, NULL, NULL},                                  \
    {"_exception", lm_future_get_exception, NULL, NULL, NULL},                            \
    {"_log_traceback", lm_future_get_log_traceback, lm_future_set_log_traceback, NULL,    \
     NULL},                                                                               \
    {"_source_traceback", lm_future_get_source_traceback, NULL, NULL, NULL},              \
    {"_cancel_message", lm_future_get_cancel_message, lm_future_set_cancel_message, NULL, \
     NULL}

/* clang-format on */

#endif
