/* Bytes for a plain protocol: what `protocol.data_received(data)` does, done in C where
   the protocol is asyncio's StreamReaderProtocol and nothing of it and of its
   StreamReader is replaced.

   There the bytes go from where they were received into the reader's bytearray, without
   a bytes object and four Python frames between. What is looked at, each time: the
   classes of both objects, whether the classes were changed (by their version tags; after
   a change loopmod.stream_methods judges anew), and in the instances every attribute that
   the methods would ask for. Whatever is not as asyncio makes it, before a single byte
   was added, has the methods called instead: so there is no case to handle here that they
   handle otherwise. What remains unseen are the frames: tracers and profilers have no
   call of data_received to show. */
#ifndef LM_NET_STREAM_FEED_H
#define LM_NET_STREAM_FEED_H

#include "core/loop.h"

int lm_feed_init(LmState *st);

/* protocol.data_received of that many bytes, at least one; -1 with what it raised. The
   memory may be the loop's scratch buffer. Runs Python. The caller owns the protocol. */
int lm_feed_protocol(LmState *st, PyObject *protocol, const char *data, size_t size);

/* Whether bytes for the protocol become an object in any case. Without a GIL the allocator
   would copy what is made shorter by much. */
static inline int
lm_feed_wants_bytes(const LmState *st, PyObject *protocol)
{
    return !LM_FREE_THREADED &&
           !Py_IS_TYPE(protocol, lm_type(st->asyncio_StreamReaderProtocol));
}

/* The same of bytes that there are as an object already. */
int lm_feed_protocol_bytes(LmState *st, PyObject *protocol, PyObject *data);

#endif
