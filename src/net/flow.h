/* Write flow control: pause_writing above the high-water mark, resume_writing at the
   low one. Of any transport: it gives the marks and what is queued. */
#ifndef LM_NET_FLOW_H
#define LM_NET_FLOW_H

#include "core/loop.h"

/* The marks of a buffer, in bytes. asyncio takes any numbers, and shows them again: where
   they are no ints of usual size they are kept beside what they are compared as. */
typedef struct {
    size_t high;
    size_t low;
    PyObject *given; /* (low, high), or NULL */
} LmMarks;

/* The default: the low one is a quarter. */
void lm_marks_init(LmMarks *marks, size_t high);

/* set_write_buffer_limits(high=None, low=None): `usual_high` where neither is given.
   `rounds_up` where a buffer that has reached the high mark is too full, and not only one
   that has passed it. -1 with an exception set: ValueError unless high >= low >= 0, or
   what the numbers raise. Runs Python where they are no ints. */
int lm_marks_set(LmMarks *marks, PyObject *high, PyObject *low, size_t usual_high,
                 int rounds_up);

/* (low, high). New references. */
PyObject *lm_marks_show(const LmMarks *marks);

/* The same in any thread, of marks that are set within a critical section of `owner`. */
PyObject *lm_marks_see(PyObject *owner, const LmMarks *marks);
PyObject *lm_marks_high(const LmMarks *marks);
PyObject *lm_marks_low(const LmMarks *marks);

typedef struct {
    LmMarks marks;
    uint8_t is_paused; /* pause_writing() was called */
} LmFlow;

/* After the buffer has grown to, or shrunk to, `queued` bytes. They call the protocol
   (nothing happens where it is NULL); what it raises goes to the exception handler. -1
   with an exception that has to leave the loop. */
int lm_flow_grown(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
                  PyObject *protocol);
int lm_flow_shrunk(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
                   PyObject *protocol);

void lm_flow_init(LmFlow *flow);

/* set_write_buffer_limits(high=None, low=None) of a transport; -1 as lm_marks_set. */
int lm_flow_set_limits(LmFlow *flow, PyObject *high, PyObject *low);

#endif
