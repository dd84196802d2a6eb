/* Reading: from a readable socket to data_received, get_buffer/buffer_updated,
   eof_received. */
#ifndef LM_NET_STREAM_READ_H
#define LM_NET_STREAM_READ_H

#include "net/transport.h"

/* on_ready of a transport's reader watch. */
void lm_stream_on_readable(LmWatch *watch);

/* Starts and stops the reader watch. The context that reading runs in is a copy of the
   current one. */
int lm_stream_start_reading(PyObject *self);
void lm_stream_stop_reading(PyObject *self);

/* Room to receive into, shared by all of the loop: what is in it is taken out before
   anything else runs. NULL with MemoryError set. */
#define LM_SCRATCH_SIZE (256 * 1024)
char *lm_stream_scratch(LmLoop *loop);

#endif
