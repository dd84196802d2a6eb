/* Write flow control: pause_writing above the high-water mark, resume_writing at the
   low one. */
#ifndef LM_NET_FLOW_H
#define LM_NET_FLOW_H

#include "net/transport.h"

/* After the buffer has grown or shrunk. They call the protocol; what it raises goes to
   the exception handler. -1 with an exception that has to leave the loop. */
int lm_flow_maybe_pause(PyObject *self);
int lm_flow_maybe_resume(PyObject *self);

/* set_write_buffer_limits(high=None, low=None), in bytes. -1 with ValueError or
   TypeError set. */
int lm_flow_set_limits(LmTransport *t, PyObject *high, PyObject *low);

#endif
