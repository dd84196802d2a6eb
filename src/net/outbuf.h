/* Bytes that wait to be sent: a queue of pieces, each a reference to immutable bytes
   and what is left of them.

   Whatever can be changed by its owner is copied when it is queued, so that what was
   written is what is sent. */
#ifndef LM_NET_OUTBUF_H
#define LM_NET_OUTBUF_H

#include "base/lm.h"

#include <sys/uio.h>

typedef struct {
    PyObject *bytes;
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

/* Queues the last `left` bytes of a buffer: `owner` itself where it is exact bytes,
   else a copy. -1 with MemoryError set. */
int lm_outbuf_add(LmOutbuf *out, PyObject *owner, const char *data, size_t left);

/* Drops what was queued last, so that `count` pieces are left. */
void lm_outbuf_truncate(LmOutbuf *out, size_t count);

/* Fills up to `most` vectors with the front of the queue; returns how many. */
int lm_outbuf_vectors(const LmOutbuf *out, struct iovec *vectors, int most);

/* Drops what was sent from the front. */
void lm_outbuf_sent(LmOutbuf *out, size_t bytes);

void lm_outbuf_clear(LmOutbuf *out);

#endif
