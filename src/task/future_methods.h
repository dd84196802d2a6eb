/* Methods and getters that Future and Task share: each type's own tables take them in
   through the macros. */
#ifndef LM_TASK_FUTURE_METHODS_H
#define LM_TASK_FUTURE_METHODS_H

#include "base/type_help.h"
#include "core/owner.h"
#include "task/future.h"

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

LM_OWNED_METHOD(lm_future_method_exception, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_log_traceback, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_result, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_exception, lm_future_owner)
LM_OWNED_METHOD(lm_future_method_remove_done_callback, lm_future_owner)
LM_OWNED_METHOD(lm_future_method_make_cancelled_error, lm_future_owner)
LM_OWNED_FASTCALL(lm_future_method_add_done_callback, lm_future_owner)
LM_OWNED_SETTER(lm_future_set_blocking, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_callbacks, lm_future_owner)
LM_OWNED_SETTER(lm_future_set_log_traceback, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_source_traceback, lm_future_owner)
LM_OWNED_SHOWN(lm_future_get_cancel_message, lm_future_owner)
LM_OWNED_SETTER(lm_future_set_cancel_message, lm_future_owner)

/* clang-format off */
#define LM_FUTURE_COMMON_METHODS                                                            \
    {"result", lm_future_method_result, METH_NOARGS,                                        \
     LM_DOC("result($self)",                                                                \
            "Return the result, or raise the exception.\n\n"                                \
            "Raises InvalidStateError while pending, CancelledError once cancelled. "       \
            "Loop's thread only.\n"                                                         \
            "Implements asyncio.Future.result.")},                                          \
    {"exception", LM_OWNED(lm_future_method_exception), METH_NOARGS,                        \
     LM_DOC("exception($self)",                                                             \
            "Return the exception that was set, or None.\n\n"                               \
            "Raises InvalidStateError while pending, CancelledError once cancelled. "       \
            "Loop's thread only.\n"                                                         \
            "Implements asyncio.Future.exception.")},                                       \
    {"done", lm_future_method_done, METH_NOARGS,                                            \
     LM_DOC("done($self)",                                                                  \
            "Return True once there is a result or exception, or it was cancelled.")},      \
    {"cancelled", lm_future_method_cancelled, METH_NOARGS,                                  \
     LM_DOC("cancelled($self)", "Return True if it was cancelled.")},                       \
    {"get_loop", lm_future_method_get_loop, METH_NOARGS,                                    \
     LM_DOC("get_loop($self)", "Return the event loop it belongs to.")},                    \
    {"add_done_callback", LM_FASTCALL(LM_OWNED(lm_future_method_add_done_callback)),        \
     LM_DOC("add_done_callback($self, fn, /, *, context=None)",                             \
            "Call fn(self) through call_soon once the future is done.\n\n"                  \
            "context: the contextvars.Context to call it in; a copy of the current one "    \
            "by default. Loop's thread only.\n"                                             \
            "Implements asyncio.Future.add_done_callback.")},                               \
    {"remove_done_callback", LM_OWNED(lm_future_method_remove_done_callback), METH_O,       \
     LM_DOC("remove_done_callback($self, fn, /)",                                           \
            "Remove every done callback that equals fn; return how many.\n\n"               \
            "Implements asyncio.Future.remove_done_callback.")},                            \
    {"_make_cancelled_error", LM_OWNED(lm_future_method_make_cancelled_error), METH_NOARGS, \
     LM_DOC("_make_cancelled_error($self)",                                                 \
            "Create the CancelledError to raise for the cancellation.")}

#define LM_FUTURE_COMMON_GETSET                                                                               \
    {"_asyncio_future_blocking", lm_future_get_blocking, LM_OWNED(lm_future_set_blocking), NULL,              \
     NULL},                                                                                                   \
    {"_loop", lm_future_get_loop, NULL, NULL, NULL},                                                          \
    {"_state", lm_future_get_state, NULL, NULL, NULL},                                                        \
    {"_callbacks", LM_OWNED(lm_future_get_callbacks), NULL, NULL, NULL},                                      \
    {"_result", LM_OWNED(lm_future_get_result), NULL, NULL, NULL},                                            \
    {"_exception", LM_OWNED(lm_future_get_exception), NULL, NULL, NULL},                                      \
    {"_log_traceback", LM_OWNED(lm_future_get_log_traceback), LM_OWNED(lm_future_set_log_traceback), NULL,              \
     NULL},                                                                                                   \
    {"_source_traceback", LM_OWNED(lm_future_get_source_traceback), NULL, NULL, NULL},                        \
    {"_cancel_message", LM_OWNED(lm_future_get_cancel_message), LM_OWNED(lm_future_set_cancel_message), NULL, \
     NULL}

/* clang-format on */

#endif
