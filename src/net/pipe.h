/* Pipe transports: bytes one way between a file object (the end of a pipe, a FIFO, a
   socket, a character device) and a protocol. ReadPipeTransport is an
   asyncio.ReadTransport, WritePipeTransport one of asyncio's _FlowControlMixin.

   Life of one, with the function that performs each step:

       new --lm_pipe_new--> OPEN --close with a queue--> CLOSING --queue sent--> CLOSED
                             |                              |
                             +--close, abort, end, error----+--> LOST --next turn--> CLOSED

   LOST is made by lm_pipe_lose, CLOSED by lm_pipe_finish.

   OPEN:    connection_made is scheduled or has run. A reader reads unless paused; a
            writer sends, and watches its pipe or socket for the other end's going away.
   CLOSING: writers only: sends what is queued; further writes are dropped.
   LOST:    connection_lost is scheduled; nothing is watched, nothing queued.
   CLOSED:  connection_lost has run, exactly once; the file object is closed, through its
            close() and so exactly once; `loop` and `pipe` are NULL.

   Other than with sockets, several transports may stand over one descriptor (both
   directions of a terminal), so it has no owner in readers.h, as in asyncio. While a
   pipe is watched the loop keeps its transport alive (kept.h). All of it belongs to the
   loop's thread. */
#ifndef LM_NET_PIPE_H
#define LM_NET_PIPE_H

#include "core/loop.h"
#include "net/flow.h"
#include "net/kept.h"
#include "net/outbuf.h"
#include "net/transport.h"

/* What differs between the two types. */
typedef struct {
    /* Ready-queue work of each watch. Runs Python; -1 with an exception that is reported
       as that of the method beside it. */
    int (*on_readable)(PyObject *self);
    int (*on_writable)(PyObject *self);
    PyMethodDef *read_method;
    PyMethodDef *write_method;
    const char *refusal; /* of descriptors that are no pipe */
    uint8_t is_writer;
} LmPipeKind;

typedef struct {
    LmState *st;
    const LmPipeKind *kind;
    LmLoop *loop;       /* owned; NULL once CLOSED */
    PyObject *protocol; /* NULL once CLOSED, unless set again */
    PyObject *pipe;     /* owns the descriptor; NULL once CLOSED */
    PyObject *extra;    /* mapping behind get_extra_info */
    LmKept kept;
    int fd; /* stays for repr */
    const int
        *own_fd; /* where the file object keeps it, if it is a socket: sock_fd.h */
    LmWatch reader;
    LmWatch writer; /* of writers, while something is queued */
    PyObject *read_context;
    PyObject *write_context;
    LmOutbuf out;
    LmFlow flow;
    PyObject *dict;
    PyObject *weakrefs;
    unsigned dropped; /* writes that failed or came too late */
    uint8_t is_closing;
    uint8_t is_lost;
    uint8_t is_paused;     /* pause_reading() */
    uint8_t watches_input; /* the reader watch is to be started */
} LmPipe;

/* The base classes differ in size; the struct stands where the larger one ends. */
static inline LmPipe *
lm_pipe(PyObject *self)
{
    return (LmPipe *)((char *)self + lm_transport_offset);
}

static inline PyObject *
lm_pipe_object(LmPipe *p)
{
    return (PyObject *)((char *)p - lm_transport_offset);
}

/* After lm_transport_init. */
int lm_pipe_init(PyObject *module, LmState *st);

/* The two kinds: pipe_read.c, pipe_write.c. */
extern const LmPipeKind lm_pipe_reads;
extern const LmPipeKind lm_pipe_writes;

/* An OPEN transport that owns the file object `pipe`: connection_made, the start of
   watching and the result of `waiter` (may be NULL) are scheduled. `extra` is a mapping
   for get_extra_info, or NULL. New reference, or NULL with an exception set (ValueError
   where it is no pipe); then the file object is still the caller's. Runs Python. */
PyObject *lm_pipe_new(LmLoop *loop, const LmPipeKind *kind, PyObject *pipe,
                      PyObject *protocol, PyObject *waiter, PyObject *extra);

/* Whether the number is still the file object's, which is asked: before each system call,
   where asyncio goes on with the number. May run Python, which may end the transport: 0
   then too. -1 with an exception that has to leave the loop. */
int lm_pipe_has_fd(PyObject *self);

/* The OSError of a number that is not ours any more: EBADF. -1. */
int lm_pipe_refuse(void);

/* Starts a watch, unless it is active, and stops it: the read or the write watch. What
   a wake-up runs has a copy of the context that is current at the start. Where the number
   is somebody else's by now, what would run then runs in the next turn and says so. */
int lm_pipe_start(PyObject *self, LmWatch *watch);
void lm_pipe_stop(PyObject *self, LmWatch *watch);

/* Drops the queue; connection_lost(exc) in the next turn, unless that is scheduled
   already. `exc` may be None. -1 with an exception set. */
int lm_pipe_lose(PyObject *self, PyObject *exc);

/* connection_lost(exc) now and the release of everything. -1 with what the protocol or
   the file object raised. */
int lm_pipe_finish(PyObject *self, PyObject *exc);

/* Takes the exception that is set and loses the pipe by it: one of the system that is
   part of a pipe's life is logged in debug mode, any other is reported. -1 with an
   exception that has to leave the loop. */
int lm_pipe_fatal(PyObject *self, const char *message);

/* transport.write and write_eof (which close is too). -1 with an exception set; a pipe
   that fails is lost instead. */
int lm_pipe_write(PyObject *self, PyObject *data);
int lm_pipe_write_eof(PyObject *self);

#endif
