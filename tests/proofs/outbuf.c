/* The queue of unsent bytes: what is counted is what is there, every byte leaves once and in
   order, and each piece's reference is dropped once.

   The i-th piece holds the i-th object, wherever the queue begins in its memory. */
#include "proof.h"

#include "net/outbuf.c"

#ifndef CAPACITY
#define CAPACITY 3 /* pieces of the queue as it is found */
#endif
#ifndef COUNT
#define COUNT 0 /* of which so many wait, ... */
#endif
#ifndef FIRST
#define FIRST 0 /* ... from here on */
#endif
#ifndef OVERHEAD
#define OVERHEAD 0 /* which each piece counts more than it has: datagrams */
#endif

PyTypeObject PyBytes_Type;
PyTypeObject PyMemoryView_Type;
static PyTypeObject other_type;

static LmOutbuf out;
static PyBytesObject objects[CAPACITY + 1];
static PyObject address;
static size_t was_count, was_size;
static LmPiece was[CAPACITY + 1];

static void
on_release(PyObject *obj)
{
    HOLDS(obj->ob_refcnt >= 0, "no reference is dropped twice");
}

/* A copy, where there is memory for it. */
static PyBytesObject copy;
static int copies;

static PyObject *
PyBytes_FromStringAndSize(const char *data, Py_ssize_t size)
{
    HOLDS(size > 0 && size <= MOST_BYTES, "as many bytes as there are");
    if (any_truth()) {
        return NULL;
    }
    copies++;
    copy = (PyBytesObject){{1, &PyBytes_Type}, size, {0}};
    for (Py_ssize_t i = 0; i < MOST_BYTES && i < size; i++) {
        copy.ob_sval[i] = data[i];
    }
    return &copy.ob_base;
}

/* The caller's own list, of which asking for a buffer may take an item away. */
static PyObject list;
static Py_ssize_t listed;
static int views;

static PyObject *
PySequence_Fast(PyObject *pieces, const char *complaint)
{
    return any_truth() ? Py_NewRef(pieces) : NULL;
}

static Py_ssize_t
PySequence_Fast_GET_SIZE(PyObject *pieces)
{
    return listed;
}

static PyObject *
PySequence_Fast_GET_ITEM(PyObject *pieces, Py_ssize_t i)
{
    HOLDS(i >= 0 && i < listed, "an item that is there");
    return &objects[i].ob_base;
}

static int
PyObject_GetBuffer(PyObject *obj, Py_buffer *view, int flags)
{
    if (any_truth()) {
        return -1;
    }
    views++;
    *view = (Py_buffer){PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj), obj};
    listed -= listed > 0 && any_truth();
    return 0;
}

static void
PyBuffer_Release(Py_buffer *view)
{
    views--;
}

static void
make_object(size_t i)
{
    objects[i] = (PyBytesObject){{0, &PyBytes_Type}, MOST_BYTES, {0}};
}

static void
make_outbuf(void)
{
    address.ob_refcnt = 0;
    list.ob_refcnt = 1;
    memory_errors = copies = views = 0;
    was_count = was_size = 0;
    out = (LmOutbuf){NULL, 0, 0, 0, 0};
    for (size_t i = 0; i < CAPACITY + 1; i++) {
        make_object(i);
    }
#if COUNT > 0
    was_count = COUNT;
    out = (LmOutbuf){HAVE(CAPACITY, LmPiece), FIRST, COUNT, CAPACITY, 0};
    for (size_t i = 0; i < COUNT; i++) {
        size_t sent = any_size(0, MOST_BYTES - 1);
        PyObject *to = OVERHEAD && any_truth() ? Py_NewRef(&address) : NULL;
        was[i] = (LmPiece){Py_NewRef(&objects[i].ob_base), to,
                           objects[i].ob_sval + sent, MOST_BYTES - sent};
        out.pieces[FIRST + i] = was[i];
        was_size += was[i].left + OVERHEAD;
    }
    out.size = was_size;
#endif
}

/* Whole, and its pieces from the first on are those that were there from the `from`-th on. */
static void
check(size_t from, size_t count)
{
    size_t size = 0;
    HOLDS(out.count == count, "as many pieces as in the model");
    HOLDS(out.first + out.count <= out.capacity, "no more than there is room for");
    HOLDS(out.count == 0 || out.pieces != NULL, "what is there has memory");
    for (size_t i = 0; i < CAPACITY + 1 && i < count; i++) {
        const LmPiece *piece = &out.pieces[out.first + i];
        size += piece->left + OVERHEAD;
        if (from + i < was_count) {
            HOLDS(piece->data == was[from + i].data &&
                      piece->left == was[from + i].left,
                  "the bytes are in order");
        }
    }
    HOLDS(out.size == size, "what is counted is what is there");
}

/* All references of the pieces from here on are the queue's own. */
static void
check_end(size_t from)
{
    lm_outbuf_clear(&out);
    for (size_t i = 0; i < CAPACITY + 1; i++) {
        HOLDS(i < from || objects[i].ob_base.ob_refcnt == 0,
              "dropped once, at the end");
    }
    HOLDS(copies == 0 || copy.ob_base.ob_refcnt == 0, "and so is a copy");
    HOLDS(out.count == 0 && out.size == 0 && out.pieces == NULL, "nothing is left");
}

static void
prove_add(void)
{
    make_outbuf();
    PyBytesObject *fresh = &objects[was_count];
    int is_bytes = any_truth();
    if (!is_bytes) {
        fresh->ob_base.ob_type = &other_type;
    }
    PyMemoryViewObject view = {{1, &PyMemoryView_Type}, &fresh->ob_base};
    if (!is_bytes && any_truth()) {
        view.shown = NULL;
    }
    PyObject *owner = any_truth() ? &fresh->ob_base : &view.ob_base;
    size_t left = any_size(0, MOST_BYTES);
    const char *data = fresh->ob_sval + MOST_BYTES - left;
    int failed = lm_outbuf_add(&out, owner, data, left);
    check(0, was_count + (failed == 0 && left > 0));
    HOLDS(failed == 0 || left > 0, "nothing to add does not fail");
    if (failed == 0 && left > 0) {
        LmPiece *piece = &out.pieces[out.first + was_count];
        HOLDS(piece->left == left, "all of it is queued");
        HOLDS((piece->data == data) == is_bytes, "what its owner can change is copied");
    }
    HOLDS(view.ob_base.ob_refcnt == 1, "a view is not held");
    check_end(0);
}

static void
prove_datagram(void)
{
    make_outbuf();
    PyObject *bytes = &objects[was_count].ob_base;
    PyObject *to = any_truth() ? &address : NULL;
    int failed = lm_outbuf_add_datagram(&out, bytes, to, OVERHEAD);
    check(0, was_count + (failed == 0));
    HOLDS(failed == 0 || memory_errors == 1, "a failure is told");
    check_end(0);
    HOLDS(address.ob_refcnt == 0, "each address was dropped once");
}

#if COUNT > 0
static void
prove_take(void)
{
    make_outbuf();
    LmPiece piece = lm_outbuf_take(&out, OVERHEAD);
    HOLDS(piece.data == was[0].data && piece.left == was[0].left, "the one in front");
    HOLDS(piece.bytes->ob_refcnt == 1, "its reference is the caller's");
    check(1, was_count - 1);
    check_end(1);
}

/* The byte that stood so many bytes behind what was sent is now so far from the front. */
static const char *
byte_at(const LmPiece *pieces, size_t count, size_t place)
{
    for (size_t i = 0; i < CAPACITY && i < count; i++) {
        if (place < pieces[i].left) {
            return pieces[i].data + place;
        }
        place -= pieces[i].left;
    }
    return NULL;
}

static void
prove_sent(void)
{
    make_outbuf();
    size_t sent = any_size(0, was_size);
    size_t place = any_size(0, CAPACITY * MOST_BYTES);
    const char *byte = byte_at(was, was_count, sent + place);
    lm_outbuf_sent(&out, sent);
    HOLDS(out.size == was_size - sent, "what was sent is counted off");
    HOLDS(out.count == 0 || out.pieces[out.first].left > 0, "no piece is left empty");
    HOLDS((out.count == 0) == (out.pieces == NULL), "an empty one holds no memory");
    if (out.count > 0) {
        HOLDS(byte_at(&out.pieces[out.first], out.count, place) == byte,
              "no byte is lost, none is sent twice");
    }
    else {
        HOLDS(byte == NULL, "all was sent");
    }
    check_end(0);
}

static void
prove_vectors(void)
{
    make_outbuf();
    struct iovec vectors[CAPACITY];
    int most = (int)any_size(1, CAPACITY);
    int count = lm_outbuf_vectors(&out, vectors, most);
    HOLDS(count >= 1 && count <= most && (size_t)count <= was_count, "as many as fit");
    HOLDS(count == most || (size_t)count == was_count, "and no fewer");
    for (int i = 0; i < CAPACITY && i < count; i++) {
        HOLDS(vectors[i].iov_base == was[i].data && vectors[i].iov_len == was[i].left,
              "each its piece");
    }
    check(0, was_count);
    check_end(0);
}
#endif

/* What was gathered is one piece, of the object that is in no other. */
static void
prove_append(void)
{
    make_outbuf();
    PyBytesObject *last = &objects[was_count];
    LmOutbuf fresh = {HAVE(2, LmPiece), any_size(0, 1), 1, 2, MOST_BYTES};
    fresh.pieces[fresh.first] =
        (LmPiece){Py_NewRef(&last->ob_base), NULL, last->ob_sval, MOST_BYTES};
    int failed = lm_outbuf_append(&out, &fresh);
    check(0, was_count + (failed == 0));
    if (failed == 0) {
        HOLDS(out.pieces[out.first + was_count].data == last->ob_sval, "at the end");
    }
    check_end(0);
}
static void
prove_gather(void)
{
    make_outbuf();
    listed = (Py_ssize_t)any_size(0, CAPACITY);
    Py_ssize_t longest = listed;
    Py_ssize_t count = lm_outbuf_gather(&out, &list);
    HOLDS(count <= longest, "no more than there were");
    HOLDS(count >= 0 || out.count == 0, "all or nothing");
    check(0, count < 0 ? 0 : (size_t)count);
    HOLDS(views == 0 && list.ob_refcnt == 1, "what was borrowed was given back");
    check_end(0);
}
