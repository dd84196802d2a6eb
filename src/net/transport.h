/* Transport: what a socket and a protocol need between them, be it bytes of a stream or
   datagrams. A subclass of asyncio's _FlowControlMixin.

   The types of transports differ in how they read and send (LmTransportKind) and share
   the rest: this struct, its life and most methods. SocketTransport, for streams, is in
   stream_type.c; DatagramTransport puts fields of its own behind the struct (datagram.h).

   Life of a transport, with the function that performs each step:

       new --lm_transport_new--> OPEN --close--> CLOSING --buffer sent--> CLOSED
                                  |                 |
                                  +--abort, error---+--> LOST --next turn--> CLOSED

   close is lm_transport_close, abort and error lm_transport_force_close; what makes it
   CLOSED is lm_transport_finish.

   OPEN:    connection_made is scheduled or has run; reads unless paused; writes.
   CLOSING: does not read; sends what is queued, and what is written meanwhile, as
            asyncio does; with nothing queued it is LOST at once.
   LOST:    connection_lost is scheduled (`lost` > 0); writes are dropped.
   CLOSED:  connection_lost has run, exactly once; the descriptor is closed; `loop` and
            `protocol` are NULL.

   While it reads or sends the loop keeps it alive (kept.h). All of it belongs to the
   loop's thread. */
#ifndef LM_NET_TRANSPORT_H
#define LM_NET_TRANSPORT_H

#include "core/loop.h"
#include "net/addr.h"
#include "net/flow.h"
#include "net/kept.h"
#include "net/outbuf.h"
#include "net/sock_fd.h"

struct LmTransportParts;

/* What differs between the types of transports. */
typedef struct {
    /* One wake-up: reads, and sends what is queued. They run Python; -1 with an exception
       that is reported as that of the method beside it. */
    int (*read)(PyObject *self);
    int (*flush)(PyObject *self);
    PyMethodDef *read_method;
    PyMethodDef *flush_method;
    /* What stands behind the struct: filled before anything is scheduled, visited,
       dropped. NULL where there is nothing. */
    int (*prepare)(PyObject *self, const struct LmTransportParts *parts);
    int (*traverse)(PyObject *self, visitproc visit, void *arg);
    void (*release)(PyObject *self);
    uint8_t is_stream;
} LmTransportKind;
/* A protocol in C that is reached without Python calls: st->native_protocol, for instances
   of exactly st->SSLProtocolType. Everything else of such a protocol is an ordinary
   BufferedProtocol. */
typedef struct LmNativeProtocol {
    /* Where received bytes are to be put, and how many fit. NULL with an exception set. */
    char *(*get_buffer)(PyObject *protocol, size_t *room);
    /* That many were put there. -1 with an exception set. May run Python. */
    int (*received)(PyObject *protocol, size_t count);
} LmNativeProtocol;

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
    LmState *st;
    const LmTransportKind *kind;
    LmLoop *loop;       /* owned; NULL once CLOSED */
    PyObject *protocol; /* NULL once CLOSED */
    PyObject *server;   /* of an accepted connection, or NULL */
    LmList server_link; /* in the server's list of clients */
    LmKept kept;
    PyObject *sock; /* the Python socket, once somebody gave or asked for one */
    PyObject
        *extra;   /* behind get_extra_info: as given, or a dict of our own; or NULL */
    LmEnds *ends; /* the addresses */
    int fd;       /* -1 once CLOSED; `number` remembers it for repr */
    const int
        *own_fd; /* where its owner keeps the number: the Python socket, or `fd` */
    int number;
    LmWatch reader;
    LmWriter *writer;  /* or NULL */
    PyObject *context; /* 3.15+: the one context of all protocol calls; else NULL */
    PyObject *read_context; /* what protocol calls of reading run in: context.h */
    LmOutbuf out;
    LmFlow flow;
    PyObject *empty_waiter; /* sendfile's future that waits for an empty buffer */
    PyObject *dict;
    PyObject *weakrefs;
    unsigned lost; /* 0, else 1 plus the writes dropped since */
    uint8_t is_closing;
    uint8_t is_paused;   /* pause_reading() */
    uint8_t is_buffered; /* the protocol has get_buffer and buffer_updated */
    uint8_t is_native;   /* the protocol is an LmNativeProtocol */
    uint8_t eof_written;
    uint8_t is_joined;  /* what is queued waits for the end of the step: join.h */
    uint8_t is_exposed; /* somebody has the number or a copy: nothing is joined */
    uint8_t is_shown;   /* `sock` is held by what get_extra_info shows */
    uint8_t extra_state;
    uint8_t is_finished; /* connection_lost was called */
} LmTransport;

static inline LmTransport *
lm_transport(PyObject *self)
{
    return (LmTransport *)((char *)self + lm_transport_offset);
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

int lm_transport_init(PyObject *module, LmState *st);

/* A type of transports, added to the module under the last part of its name. `bases` is
   a type or a tuple. */
typedef struct {
    const char *name;
    const char *doc;
    size_t size; /* of the struct behind the base class's fields */
    PyMethodDef *methods;
    PyGetSetDef *getset;
    PyMemberDef *members; /* or NULL */
    unsigned flags;
} LmTransportTypeSpec;

PyObject *lm_transport_type_new(PyObject *module, const LmTransportTypeSpec *spec,
                                PyObject *bases);

/* What a new transport is made of. */
typedef struct LmTransportParts {
    int fd;         /* non-blocking, of a stream connected; the transport closes it */
    PyObject *sock; /* Python socket that owns fd, or NULL */
    PyObject *protocol;
    PyObject *waiter;   /* future to resolve after connection_made, or NULL */
    PyObject *extra;    /* mapping for get_extra_info, or NULL */
    PyObject *server;   /* or NULL */
    PyObject *context;  /* what all protocol calls run in, or NULL: by registration */
    PyObject *address;  /* of datagrams: the one peer to send to, or NULL */
    const LmAddr *peer; /* or NULL: asked of the kernel */
} LmTransportParts;

/* An OPEN transport of that type and kind: connection_made, the start of reading and the
   waiter's result are scheduled. New reference, or NULL with an exception set; then the
   descriptor is still the caller's. Runs Python. */
PyObject *lm_transport_new(LmLoop *loop, PyObject *type, const LmTransportKind *kind,
                           const LmTransportParts *parts);

int lm_transport_set_protocol(LmTransport *t, PyObject *protocol);

/* The Python socket owns the descriptor from now on: with NULL the transport alone. */
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

/* Tells the watches where the number's owner keeps it. */
void lm_transport_note_owner(LmTransport *t);

/* Starts and stops the watches, and with them the loop's hold on the transport. What a
   wake-up runs has a copy of the context that is current at the start. Stopping is
   idempotent. stop_both leaves the loop's hold to the caller. */
int lm_transport_start_reading(PyObject *self);
void lm_transport_stop_reading(PyObject *self);
int lm_transport_start_writing(PyObject *self);
void lm_transport_stop_writing(PyObject *self);
void lm_transport_stop_both(LmTransport *t);

/* on_ready of the reader. */
void lm_transport_on_readable(LmWatch *watch);

/* Counts a write to a LOST or CLOSED transport, and warns from the fifth on. -1 with an
   exception set. */
int lm_transport_drop_write(LmTransport *t);

/* asyncio's log line "%r <text>" at debug level, in debug mode only. */
int lm_transport_log_debug(PyObject *self, const char *text);

#endif
