/* Bytes that wait to be sent: a queue of pieces, each a reference to immutable bytes
   and what is left of them; of a stream, or one piece for each datagram.

   Whatever can be changed by its owner is copied when it is queued, so that what was
   written is what is sent. */
#ifndef LM_NET_OUTBUF_H
#define LM_NET_OUTBUF_H

#include "base/threads.h"

#include <sys/uio.h>

typedef struct {
    PyObject *bytes;
    PyObject *to; /* a datagram's address as it was given, or NULL */
    const char *data;
    size_t left;
} LmPiece;

typedef struct {
    LmPiece *pieces; /* NULL while nothing waits */
    size_t first;
    size_t count;
    size_t capacity;
    size_t size; /* bytes left in all pieces */
} LmOutbuf;

static inline int
lm_outbuf_is_empty(const LmOutbuf *out)
{
    return out->count == 0;
}

/* Queues the last `left` bytes of a buffer that is held: where `owner` is exact bytes, or a
   memoryview of them, by a reference to those, else a copy. -1 with MemoryError set. */
int lm_outbuf_add(LmOutbuf *out, PyObject *owner, const char *data, size_t left);

/* Queues a datagram, which may be empty, and counts it as `overhead` bytes more than it
   has. `bytes` is exact bytes, `to` may be NULL. -1 with MemoryError set. */
int lm_outbuf_add_datagram(LmOutbuf *out, PyObject *bytes, PyObject *to,
                           size_t overhead);

static inline LmPiece *
lm_outbuf_front(const LmOutbuf *out)
{
    return &out->pieces[out->first];
}

/* Takes out the datagram in front; what it holds is the caller's to drop. */
LmPiece lm_outbuf_take(LmOutbuf *out, size_t overhead);

/* The same, and drops it. May run Python, as lm_outbuf_clear. */
void lm_outbuf_drop(LmOutbuf *out, size_t overhead);

/* Takes the bytes of all pieces of an iterable into an empty queue of the caller's own: how
   many pieces there were, or -1 with an exception set and the queue empty. Runs Python. */
Py_ssize_t lm_outbuf_gather(LmOutbuf *fresh, PyObject *pieces);

/* Moves what was gathered to the end of a queue. -1 with MemoryError set: then all of it is
   dropped. */
int lm_outbuf_append(LmOutbuf *out, LmOutbuf *fresh);

/* Fills up to `most` vectors with the front of the queue; returns how many. */
int lm_outbuf_vectors(const LmOutbuf *out, struct iovec *vectors, int most);

/* Drops what was sent from the front. */
void lm_outbuf_sent(LmOutbuf *out, size_t bytes);

/* May run Python: an address may be any object. */
void lm_outbuf_clear(LmOutbuf *out);

int lm_outbuf_traverse(const LmOutbuf *out, visitproc visit, void *arg);

#endif
