/* Bytes that wait: a queue in one block, which is given back as soon as it is empty, so
   that an idle connection holds none. Relies on lm.h; runs no Python. */
#ifndef LM_TLS_RAWBUF_H
#define LM_TLS_RAWBUF_H

#include "base/lm.h"

#include <stdlib.h>

typedef struct {
    char *block; /* NULL while nothing waits */
    size_t start;
    size_t size;
    size_t capacity;
} LmRawbuf;

/* NULL while nothing waits, to which not even 0 may be added. */
static inline char *
lm_rawbuf_data(const LmRawbuf *buf)
{
    return buf->block != NULL ? buf->block + buf->start : NULL;
}

static inline void
lm_rawbuf_clear(LmRawbuf *buf)
{
    free(buf->block);
    *buf = (LmRawbuf){NULL, 0, 0, 0};
}

/* Drops bytes from the front. */
static inline void
lm_rawbuf_drop(LmRawbuf *buf, size_t count)
{
    buf->start += count;
    buf->size -= count;
    if (buf->size == 0) {
        lm_rawbuf_clear(buf);
    }
}

/* Appends bytes. -1 with MemoryError set. */
static inline int
lm_rawbuf_add(LmRawbuf *buf, const char *data, size_t count)
{
    if (count == 0) {
        return 0;
    }
    if (buf->start + buf->size + count > buf->capacity) {
        if (buf->start > 0) {
            memmove(buf->block, lm_rawbuf_data(buf), buf->size);
            buf->start = 0;
        }
        size_t needed = buf->size + count;
        if (needed > buf->capacity) {
            /* Exact at first: most of what waits is the beginning of one record. */
            size_t capacity = buf->block == NULL ? needed : needed + needed / 2;
            char *block = realloc(buf->block, capacity);
            if (block == NULL) {
                PyErr_NoMemory();
                return -1;
            }
            buf->block = block;
            buf->capacity = capacity;
        }
    }
    memcpy(lm_rawbuf_data(buf) + buf->size, data, count);
    buf->size += count;
    return 0;
}

#endif
