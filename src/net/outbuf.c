/* The queue of unsent bytes: see outbuf.h. Dropping a piece of a stream frees bytes
   objects, which runs no Python. */
#include "net/outbuf.h"

#include <stdlib.h>

static int
make_room(LmOutbuf *out)
{
    if (out->first + out->count < out->capacity) {
        return 0;
    }
    if (out->first > 0 && out->first >= out->capacity / 2) {
        memmove(out->pieces, out->pieces + out->first, out->count * sizeof(LmPiece));
        out->first = 0;
        return 0;
    }
    size_t capacity = out->capacity ? out->capacity * 2 : 8;
    LmPiece *pieces = realloc(out->pieces, capacity * sizeof(*pieces));
    if (pieces == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->pieces = pieces;
    out->capacity = capacity;
    return 0;
}

int
lm_outbuf_add(LmOutbuf *out, PyObject *owner, const char *data, size_t left)
{
    if (left == 0) {
        return 0;
    }
    if (make_room(out) < 0) {
        return -1;
    }
    PyObject *bytes;
    if (PyBytes_CheckExact(owner)) {
        bytes = Py_NewRef(owner);
    }
    else {
        bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)left);
        if (bytes == NULL) {
            return -1;
        }
        data = PyBytes_AS_STRING(bytes);
    }
    out->pieces[out->first + out->count++] = (LmPiece){bytes, NULL, data, left};
    out->size += left;
    return 0;
}

int
lm_outbuf_add_datagram(LmOutbuf *out, PyObject *bytes, PyObject *to, size_t overhead)
{
    if (make_room(out) < 0) {
        return -1;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    out->pieces[out->first + out->count++] =
        (LmPiece){Py_NewRef(bytes), Py_XNewRef(to), PyBytes_AS_STRING(bytes), size};
    out->size += size + overhead;
    return 0;
}

LmPiece
lm_outbuf_take(LmOutbuf *out, size_t overhead)
{
    LmPiece piece = out->pieces[out->first++];
    out->size -= piece.left + overhead;
    if (--out->count == 0) {
        lm_outbuf_clear(out);
    }
    return piece;
}

void
lm_outbuf_truncate(LmOutbuf *out, size_t count)
{
    while (out->count > count) {
        LmPiece *piece = &out->pieces[out->first + --out->count];
        out->size -= piece->left;
        Py_DECREF(piece->bytes);
    }
    if (out->count == 0) {
        lm_outbuf_clear(out);
    }
}

int
lm_outbuf_vectors(const LmOutbuf *out, struct iovec *vectors, int most)
{
    int count = out->count < (size_t)most ? (int)out->count : most;
    for (int i = 0; i < count; i++) {
        const LmPiece *piece = &out->pieces[out->first + (size_t)i];
        vectors[i] = (struct iovec){(void *)piece->data, piece->left};
    }
    return count;
}

void
lm_outbuf_sent(LmOutbuf *out, size_t bytes)
{
    out->size -= bytes;
    while (bytes > 0) {
        LmPiece *piece = &out->pieces[out->first];
        if (bytes < piece->left) {
            piece->data += bytes;
            piece->left -= bytes;
            return;
        }
        bytes -= piece->left;
        Py_DECREF(piece->bytes);
        out->first++;
        out->count--;
    }
    if (out->count == 0) {
        lm_outbuf_clear(out);
    }
}

void
lm_outbuf_clear(LmOutbuf *out)
{
    LmOutbuf old = *out;
    *out = (LmOutbuf){NULL, 0, 0, 0, 0};
    for (size_t i = 0; i < old.count; i++) {
        Py_DECREF(old.pieces[old.first + i].bytes);
        Py_XDECREF(old.pieces[old.first + i].to);
    }
    free(old.pieces);
}

int
lm_outbuf_traverse(const LmOutbuf *out, visitproc visit, void *arg)
{
    for (size_t i = 0; i < out->count; i++) {
        Py_VISIT(out->pieces[out->first + i].to);
    }
    return 0;
}
