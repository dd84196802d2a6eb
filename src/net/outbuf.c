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

/* The bytes that an owner's data lies in where nobody can change them: itself, or what a
   memoryview shows. Borrowed, held by the owner; else NULL. */
static PyObject *
unchanging(PyObject *owner)
{
    if (PyMemoryView_Check(owner)) {
        owner = PyMemoryView_GET_BASE(owner);
    }
    return owner != NULL && PyBytes_CheckExact(owner) ? owner : NULL;
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
    PyObject *bytes = Py_XNewRef(unchanging(owner));
    if (bytes == NULL) {
        bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)left);
        if (bytes == NULL) {
            return -1;
        }
        data = PyBytes_AS_STRING(bytes);
    }
    out->pieces[out->first + out->count++] = (LmPiece){bytes, NULL, data, left};
    LM_STORE(out->size, out->size + left);
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
    LM_STORE(out->size, out->size + (size + overhead));
    return 0;
}

LmPiece
lm_outbuf_take(LmOutbuf *out, size_t overhead)
{
    LmPiece piece = out->pieces[out->first++];
    LM_STORE(out->size, out->size - (piece.left + overhead));
    if (--out->count == 0) {
        lm_outbuf_clear(out);
    }
    return piece;
}

void
lm_outbuf_drop(LmOutbuf *out, size_t overhead)
{
    LmPiece piece = lm_outbuf_take(out, overhead);
    Py_DECREF(piece.bytes);
    Py_XDECREF(piece.to);
}

static int
gather_piece(LmOutbuf *fresh, PyObject *piece)
{
    Py_buffer view;
    if (PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int failed = lm_outbuf_add(fresh, piece, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return failed;
}

Py_ssize_t
lm_outbuf_gather(LmOutbuf *fresh, PyObject *pieces)
{
    Py_ssize_t count = 0;
    int failed = 0;
    PyObject *list =
        PySequence_Fast(pieces, "writelines() needs an iterable of bytes-like objects");
    if (list == NULL) {
        return -1;
    }
    /* It may be the caller's own list, which asking for a buffer may empty. */
    for (; failed == 0 && count < PySequence_Fast_GET_SIZE(list); count++) {
        PyObject *piece = Py_NewRef(PySequence_Fast_GET_ITEM(list, count));
        failed = gather_piece(fresh, piece);
        Py_DECREF(piece);
    }
    Py_DECREF(list);
    if (failed < 0) {
        lm_outbuf_clear(fresh);
        return -1;
    }
    return count;
}

int
lm_outbuf_append(LmOutbuf *out, LmOutbuf *fresh)
{
    if (out->count == 0) {
        lm_outbuf_clear(out);
        *out = *fresh;
        return 0;
    }
    size_t before = out->count;
    for (size_t i = 0; i < fresh->count; i++) {
        if (make_room(out) < 0) {
            out->count = before;
            lm_outbuf_clear(fresh);
            return -1;
        }
        out->pieces[out->first + out->count++] = fresh->pieces[fresh->first + i];
    }
    LM_STORE(out->size, out->size + fresh->size);
    free(fresh->pieces);
    return 0;
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
    LM_STORE(out->size, out->size - bytes);
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
