/* Methods and getters that transports of all kinds share: each type's own tables take them
   in through the macros. */
#ifndef LM_NET_TRANSPORT_METHODS_H
#define LM_NET_TRANSPORT_METHODS_H

#include "base/type_help.h"
#include "core/owner.h"
#include "net/transport.h"

PyObject *lm_transport_method_close(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_abort(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_is_closing(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_is_reading(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_pause_reading(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_resume_reading(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_get_protocol(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_set_protocol(PyObject *self, PyObject *const *args,
                                           Py_ssize_t nargs, PyObject *kwnames);
PyObject *lm_transport_method_get_write_buffer_size(PyObject *self, PyObject *unused);
PyObject *lm_transport_see_write_buffer_size(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_get_write_buffer_limits(PyObject *self, PyObject *unused);
PyObject *lm_transport_method_set_write_buffer_limits(PyObject *self,
                                                      PyObject *const *args,
                                                      Py_ssize_t nargs,
                                                      PyObject *kwnames);

PyObject *lm_transport_get_loop(PyObject *self, void *closure);
PyObject *lm_transport_get_protocol(PyObject *self, void *closure);
PyObject *lm_transport_get_closing(PyObject *self, void *closure);
PyObject *lm_transport_get_paused(PyObject *self, void *closure);
PyObject *lm_transport_get_protocol_paused(PyObject *self, void *closure);
PyObject *lm_transport_get_high_water(PyObject *self, void *closure);
PyObject *lm_transport_get_low_water(PyObject *self, void *closure);

LM_OWNED_METHOD(lm_transport_method_close, lm_transport_owner)
LM_OWNED_METHOD(lm_transport_method_pause_reading, lm_transport_owner)
LM_OWNED_METHOD(lm_transport_method_resume_reading, lm_transport_owner)
LM_OWNED_METHOD(lm_transport_method_abort, lm_transport_owner)
LM_OWNED_METHOD_ELSE(lm_transport_method_get_write_buffer_size, lm_transport_owner,
                     lm_transport_see_write_buffer_size)
LM_OWNED_FASTCALL(lm_transport_method_set_protocol, lm_transport_owner)
LM_OWNED_FASTCALL(lm_transport_method_set_write_buffer_limits, lm_transport_owner)
LM_OWNED_SHOWN(lm_transport_get_high_water, lm_transport_owner)
LM_OWNED_SHOWN(lm_transport_get_low_water, lm_transport_owner)

/* clang-format off */
#define LM_TRANSPORT_METHODS                                                         \
    {"close", LM_OWNED(lm_transport_method_close), METH_NOARGS,                      \
     LM_DOC("close($self)",                                                          \
            "Stop reading, send what is queued, then call connection_lost(None).")}, \
    {"is_closing", lm_transport_method_is_closing, METH_NOARGS,                      \
     LM_DOC("is_closing($self)",                                                     \
            "Return True once it was closed or the other end is gone.")},            \
    {"get_protocol", lm_transport_method_get_protocol, METH_NOARGS,        \
     LM_DOC("get_protocol($self)", "Return the protocol.")},                         \
    {"set_protocol", LM_FASTCALL(LM_OWNED(lm_transport_method_set_protocol)),        \
     LM_DOC("set_protocol($self, protocol)",                                         \
            "Deliver to another protocol from now on.")}

#define LM_TRANSPORT_READ_METHODS                                                 \
    {"is_reading", lm_transport_method_is_reading, METH_NOARGS,                   \
     LM_DOC("is_reading($self)", "Return True if neither paused nor closing.")},  \
    {"pause_reading", LM_OWNED(lm_transport_method_pause_reading), METH_NOARGS,   \
     LM_DOC("pause_reading($self)", "Read nothing until resume_reading().")},     \
    {"resume_reading", LM_OWNED(lm_transport_method_resume_reading), METH_NOARGS, \
     LM_DOC("resume_reading($self)", "Read again after pause_reading().")}

#define LM_TRANSPORT_WRITE_METHODS                                                                  \
    {"abort", LM_OWNED(lm_transport_method_abort), METH_NOARGS,                                     \
     LM_DOC("abort($self)",                                                                         \
            "Drop what is queued and call connection_lost(None) in the next turn.")},               \
    {"get_write_buffer_size", LM_OWNED(lm_transport_method_get_write_buffer_size), METH_NOARGS,     \
     LM_DOC("get_write_buffer_size($self)", "Return how many bytes are queued.")},                  \
    {"get_write_buffer_limits", lm_transport_method_get_write_buffer_limits, METH_NOARGS, \
     LM_DOC("get_write_buffer_limits($self)", "Return (low, high) in bytes.")},                     \
    {"set_write_buffer_limits",                                                                     \
     LM_FASTCALL(LM_OWNED(lm_transport_method_set_write_buffer_limits)),                            \
     LM_DOC("set_write_buffer_limits($self, high=None, low=None)",                                  \
            "Set the marks, in bytes, at which the protocol is told to pause and resume "           \
            "writing.\n\nRaises ValueError unless high >= low >= 0.")}

#define LM_TRANSPORT_GETSET                                               \
    {"_loop", lm_transport_get_loop, NULL, NULL, NULL},                   \
    {"_protocol", lm_transport_get_protocol, NULL, NULL, NULL}, \
    {"_closing", lm_transport_get_closing, NULL, NULL, NULL},             \
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}

#define LM_TRANSPORT_READ_GETSET {"_paused", lm_transport_get_paused, NULL, NULL, NULL}

#define LM_TRANSPORT_WRITE_GETSET                                             \
    {"_protocol_paused", lm_transport_get_protocol_paused, NULL, NULL, NULL}, \
    {"_high_water", LM_OWNED(lm_transport_get_high_water), NULL, NULL, NULL}, \
    {"_low_water", LM_OWNED(lm_transport_get_low_water), NULL, NULL, NULL}

/* clang-format on */

#endif
