/* Transport: what a descriptor and a protocol need between them, be it the bytes of a
   stream or of a pipe, or datagrams. Its life is one for all of them; how they read and send,
   and the little that their lives differ in, is a table (LmTransportKind).

   SocketTransport, for streams, is in stream.h; DatagramTransport (datagram.h) and the
   pipes' two types (pipe.h) put fields of their own behind the struct.

   Life of a transport, with the function that performs each step:

       new --lm_transport_new--> OPEN --close--> CLOSING --queue sent--> CLOSED
                                  |                 |
                                  +--abort, error---+--> LOST --next turn--> CLOSED

   close is lm_transport_close, abort and error lm_transport_force_close; what makes it
   CLOSED is lm_transport_finish.

   OPEN:    connection_made is scheduled or has run; reads unless paused; writes.
   CLOSING: `is_closing`. Does not read; sends what is queued, and what is written meanwhile,
            as asyncio does (a pipe drops that); with nothing queued it is LOST at once.
   LOST:    `lost` > 0. connection_lost is scheduled; nothing is watched, writes are dropped.
   CLOSED:  connection_lost has run, exactly once; the descriptor is closed; `loop`,
            `protocol` and `sock` are NULL, `fd` is -1.

   While it reads or sends the loop keeps it alive (kept.h). All of it belongs to the
   loop's thread.

   The parts, each of which calls those before it only: transport_watch.c starts and stops
   the watches, transport.c ends lives, transport_ready.c runs what fired, transport_make.c
   makes transports. */
#ifndef LM_NET_TRANSPORT_H
#define LM_NET_TRANSPORT_H

#include "core/loop.h"
#include "net/addr.h"
#include "net/flow.h"
#include "net/kept.h"
#include "net/outbuf.h"
#include "net/sock_fd.h"
#include "net/transport_kind.h"

struct LmTransport;

/* What a transport needs to wait until it can send: made when it first has to, since most
   never do. */
typedef struct {
    LmWatch watch;
    PyObject *context; /* what protocol calls of writing run in */
    struct LmTransport *owner;
} LmWriter;

/* What `extra` is. */
enum { LM_EXTRA_GIVEN, LM_EXTRA_BEGUN, LM_EXTRA_WHOLE };

typedef struct LmTransport {
    /* What it is and who is there: owned, but for the kind. */
    LmState *st;
    const LmTransportKind *kind;
    LmLoop *loop; /* NULL once CLOSED */
#if LM_FREE_THREADED
    LmLoop *home; /* the same until it is freed: whose it is */
#endif
    PyObject *protocol; /* shared (threads.h); NULL once CLOSED, unless set anew */
    PyObject *dict;
    PyObject *weakrefs;

    /* The descriptor. */
    int fd;     /* -1 once CLOSED */
    int number; /* the same, for ever: for repr */
    const int
        *own_fd;    /* where its owner keeps the number: the Python object, or `fd` */
    PyObject *sock; /* owned: the Python socket, once somebody gave or asked for one; of
                          a pipe the file object. NULL once CLOSED */
    LmEnds *ends;   /* of a socket: its addresses; else NULL */
    PyObject
        *server; /* owned: of an accepted connection, while that counts it; or NULL */
    LmList server_link; /* in the server's list of clients */

    /* What get_extra_info shows: as given, or a dict of our own. Owned and shared, or NULL. */
    PyObject *extra;
    uint8_t extra_state;
    uint8_t is_shown; /* `sock` is held by what get_extra_info shows */

    /* Reading. */
    LmWatch reader;
    PyObject *read_context; /* what its calls run in (context.h): owned, NULL before it
                               read */
    uint8_t is_paused;      /* pause_reading() */
    uint8_t is_buffered;    /* the protocol has get_buffer and buffer_updated */
    uint8_t is_native;      /* the protocol is an LmNativeProtocol */
    uint8_t is_bulky;       /* the last read brought much: net/stream_read.c */

    /* Writing. */
    LmWriter *writer; /* owned: NULL before it had to wait */
    LmOutbuf out;
    LmFlow flow;
    PyObject
        *empty_waiter; /* owned: sendfile's future that waits for an empty queue, or
                               NULL */
    uint8_t eof_written;
    uint8_t is_shut_down; /* the system was told of that, and may refuse to be again */
    uint8_t is_joined;    /* what is queued waits for the end of the step: join.h */
    uint8_t is_exposed;   /* somebody has the number or a copy: nothing is joined */

    /* Its life. */
    LmKept kept;
    PyObject
        *context;  /* owned: 3.15+, the one context of all protocol calls; else NULL */
    unsigned lost; /* 0, else 1 plus the writes dropped since */
    uint8_t is_made;     /* the descriptor is its own: before that, the maker's */
    uint8_t is_closing;  /* CLOSING, LOST or CLOSED */
    uint8_t is_finished; /* connection_lost was called */
} LmTransport;

static inline LmTransport *
lm_transport(PyObject *self)
{
    return (LmTransport *)((char *)self + lm_transport_offset);
}

static inline LmLoop *
lm_transport_owner(PyObject *self)
{
#if LM_FREE_THREADED
    return lm_transport(self)->home;
#else
    return lm_transport(self)->loop;
#endif
}

static inline PyObject *
lm_transport_object(LmTransport *t)
{
    return (PyObject *)((char *)t - lm_transport_offset);
}

static inline PyObject *
lm_transport_of_server_link(LmList *link)
{
    return lm_transport_object(LM_CONTAINER_OF(link, LmTransport, server_link));
}

/* Whether the number is still that of the descriptor's owner, to be asked before each
   system call. Where not, the socket's own method is called in its place (sock_way.h). */
static inline int
lm_transport_owns_fd(const LmTransport *t)
{
    return LM_LIKELY(*t->own_fd == t->fd);
}

/* Whether the socket was closed, or its descriptor taken out of it, behind our back. */
static inline int
lm_transport_is_stale(const LmTransport *t)
{
    return LM_UNLIKELY(*t->own_fd != t->fd) && t->own_fd != &lm_sock_fd_by_method;
}

/* Before the transport is closed, shut down or asked for its state: what it has joined is
   sent (join.h). A failure of the socket closes it, which may run Python; -1 with an
   exception that has to leave the loop. */
static inline int
lm_transport_settle(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return LM_LIKELY(!t->is_joined) ? 0 : t->kind->settle(self);
}

static inline int
lm_transport_is_writing(const LmTransport *t)
{
    return t->writer != NULL && t->writer->watch.is_active;
}

/* After the buffer has grown or shrunk: flow.h. */
static inline int
lm_flow_maybe_pause(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return lm_flow_grown(&t->flow, t->out.size, t->loop, self, t->protocol);
}

static inline int
lm_flow_maybe_resume(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return lm_flow_shrunk(&t->flow, t->out.size, t->loop, self, t->protocol);
}

/* --- its life: transport.c */

int lm_transport_set_protocol(LmTransport *t, PyObject *protocol);

#define LM_DROPPED_WRITES_BEFORE_LOG 5

/* Counts a write to a LOST or CLOSED transport, and warns from the fifth on. -1 with an
   exception set. */
int lm_transport_drop_write(LmTransport *t);

/* asyncio's log line "%r <text>" at debug level. -1 with an exception set. */
int lm_transport_log_debug(PyObject *self, const char *text);

/* The Python object owns the descriptor from now on: with NULL the transport alone, or of
   a pipe whoever took the file. */
void lm_transport_set_socket(LmTransport *t, PyObject *sock);

/* The server counts it no more. Idempotent. Runs Python; -1 with an exception set. */
int lm_transport_leave_server(PyObject *self);

/* Stops reading, lets the buffer drain, then connection_lost(None). -1 with an
   exception set. */
int lm_transport_close(PyObject *self);

/* Drops the buffer; connection_lost(exc) in the next turn. `exc` may be None. -1 with
   an exception set. */
int lm_transport_force_close(PyObject *self, PyObject *exc);

/* Takes the exception that is set: reports it (an OSError only in debug mode) and
   force-closes. -1 with an exception that has to leave the loop. */
int lm_transport_fatal(PyObject *self, const char *message);

/* connection_lost(exc) now and the release of everything. -1 with what the protocol
   raised. */
int lm_transport_finish(PyObject *self, PyObject *exc);

/* --- its watches: transport_watch.c

   Starts and stops them, and with them the loop's hold on the transport. What a
   wake-up runs has a copy of the context that is current at the start. Stopping is
   idempotent. Where the number is somebody else's by now, what would run then runs in the
   next turn and says so. stop_both leaves the loop's hold to the caller. */
int lm_transport_start_reading(PyObject *self);
void lm_transport_stop_reading(PyObject *self);
int lm_transport_start_writing(PyObject *self);
void lm_transport_stop_writing(PyObject *self);
void lm_transport_stop_both(LmTransport *t);

/* Tells the watches where the number's owner keeps it. */
void lm_transport_note_owner(LmTransport *t);

/* What a watch that fired calls: transport_ready.c. */
void lm_transport_on_ready(LmWatch *watch);

/* Its kind's read_left runs in the next turn, before what the watch runs, unless it does not
   read then. -1 with MemoryError set. */
int lm_transport_read_left_soon(PyObject *self);

#endif
