/* What get_extra_info shows of a transport, made one by one when first asked for. All of
   it may run Python. */
#ifndef LM_NET_TRANSPORT_EXTRA_H
#define LM_NET_TRANSPORT_EXTRA_H

#include "net/transport.h"

/* The Python socket over the descriptor; from now on it owns that. New reference; NULL with
   an exception set, or without one where the transport is CLOSED. */
PyObject *lm_transport_socket(LmTransport *t);

/* The arguments (name, default=None) of get_extra_info, borrowed. -1 with TypeError set. */
int lm_transport_extra_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                            PyObject **name, PyObject **fallback);

/* get_extra_info, which makes no more than what it is asked for: most connections are
   asked for nothing, those with streams for what they never have. NULL with an exception
   set. */
PyObject *lm_transport_extra_info(PyObject *self, PyObject *name, PyObject *fallback);

/* The same in a thread that was refused the transport (the exception is set): what is there
   and what never changes. The refusal stays for what is made when it is asked for. */
PyObject *lm_transport_see_extra_info(PyObject *self, PyObject *const *args,
                                      Py_ssize_t nargs, PyObject *kwnames);

/* The getset behind asyncio's: a dict with all there is. */
PyObject *lm_transport_get_extra(PyObject *self, void *closure);
int lm_transport_set_extra(PyObject *self, PyObject *value, void *closure);

#endif
