/* Pipe transports: bytes one way between a file object (the end of a pipe, a FIFO, a
   socket, a character device) and a protocol. ReadPipeTransport is an
   asyncio.ReadTransport, WritePipeTransport one of asyncio's _FlowControlMixin. Their life
   is that of every transport (transport.h), with these differences:

   - The descriptor is the file object's, which closes it, through its close() and so exactly
     once. Several transports may stand over one descriptor (both directions of a terminal),
     so it has no owner in readers.h, as in asyncio.
   - A writer does not read: it watches its pipe or socket for the other end's going away,
     until what is queued was sent. What is written while it is CLOSING is dropped.
   - Of a reader's OSErrors only the end of a terminal is a part of life. */
#ifndef LM_NET_PIPE_H
#define LM_NET_PIPE_H

#include "net/transport.h"

typedef struct {
    LmTransport base; /* `sock` is the file object; NULL too where somebody took it */
    unsigned dropped; /* writes that failed or came too late */
    uint8_t watches_input; /* the reader watch is to be started */
} LmPipe;

/* What differs between the two types: pipe_read.c, pipe_write.c. */
typedef struct {
    LmTransportKind transport;
    const char *refusal; /* of descriptors that are no pipe */
    uint8_t is_writer;
} LmPipeKind;

extern const LmPipeKind lm_pipe_reads;
extern const LmPipeKind lm_pipe_writes;

static inline LmPipe *
lm_pipe(PyObject *self)
{
    return (LmPipe *)lm_transport(self);
}

static inline const LmPipeKind *
lm_pipe_kind(PyObject *self)
{
    return LM_CONTAINER_OF(lm_transport(self)->kind, const LmPipeKind, transport);
}

/* After lm_transport_init. */
int lm_pipe_init(PyObject *module, LmState *st);

/* An OPEN transport that owns the file object `pipe`, as lm_transport_new. `waiter` and
   `extra` may be NULL. NULL with an exception set (ValueError where it is no pipe); then the
   file object is still the caller's. */
PyObject *lm_pipe_new(LmLoop *loop, const LmPipeKind *kind, PyObject *pipe,
                      PyObject *protocol, PyObject *waiter, PyObject *extra);

/* Whether the number is still the file object's, which is asked: before each system call,
   where asyncio goes on with the number. May run Python, which may end the transport: 0
   then too. -1 with an exception that has to leave the loop. */
int lm_pipe_has_fd(PyObject *self);

/* The OSError of a number that is not ours any more: EBADF. -1. */
int lm_pipe_refuse(void);

/* Whether to read, or to watch for the end: not where the system cannot. A callback of the
   user's on that number ends. 1 or 0; -1 with an exception set. */
int lm_pipe_may_read(PyObject *self);

/* The debug line of a pipe whose other end is gone. -1 with an exception set. */
int lm_pipe_log_end(PyObject *self);

/* transport.write. -1 with an exception set; a pipe that fails is lost instead. */
int lm_pipe_write(PyObject *self, PyObject *data);

#endif
