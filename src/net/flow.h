/* Write flow control: pause_writing above the high-water mark, resume_writing at the
   low one. Of any transport: it gives the marks and what is queued. */
#ifndef LM_NET_FLOW_H
#define LM_NET_FLOW_H

#include "core/loop.h"

typedef struct {
    size_t high_water;
    size_t low_water;
    uint8_t is_paused; /* pause_writing() was called */
} LmFlow;

/* After the buffer has grown to, or shrunk to, `queued` bytes. They call the protocol
   (nothing happens where it is NULL); what it raises goes to the exception handler. -1
   with an exception that has to leave the loop. */
int lm_flow_grown(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
                  PyObject *protocol);
int lm_flow_shrunk(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
                   PyObject *protocol);

/* set_write_buffer_limits(high=None, low=None), in bytes. -1 with ValueError or
   TypeError set. */
int lm_flow_set_limits(LmFlow *flow, PyObject *high, PyObject *low);

/* The same for other buffers: `usual_high` where neither mark is given. */
int lm_flow_parse_limits(PyObject *high, PyObject *low, size_t usual_high,
                         size_t *high_out, size_t *low_out);

#endif
