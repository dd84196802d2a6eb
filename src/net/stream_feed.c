/* Feeding a StreamReader: see stream_feed.h. The order of the steps is that of
   StreamReader.feed_data: the buffer grows, the waiter is woken, reading is paused.

   Attributes are asked for by interned names and plain look-up. Going through the
   instances' dicts would cost less here and more in the program: an instance whose dict
   was asked for loses the short cuts that the interpreter has for its attributes. */
#include "net/stream_feed.h"

#include "task/future.h"

/* Until this version feed_data is known to do what is done here. */
#define IS_KNOWN_PYTHON (PY_VERSION_HEX < 0x03100000)

/* _limit, _loop, _buffer, _eof, _waiter, _exception, _transport, _paused */
#define ATTRIBUTES_OF_READER 8

enum { FED = 0, FAILED = -1, NOT_FED = 1 };

int
lm_feed_init(LmState *st)
{
    st->asyncio_StreamReader = lm_state_import("asyncio.streams", "StreamReader");
    st->asyncio_StreamReaderProtocol =
        lm_state_import("asyncio.streams", "StreamReaderProtocol");
    return st->asyncio_StreamReader && st->asyncio_StreamReaderProtocol ? 0 : -1;
}

static unsigned
type_version(PyObject *type)
{
    return PyType_Check(type) ? lm_type(type)->tp_version_tag : 0;
}

/* Whether the classes are those that were judged last. A class that was changed has
   another version, or none until an attribute of it is asked for. */
static int
is_judged(LmState *st)
{
    unsigned protocol = LM_LOAD(st->shared->stream_versions[0]);
    unsigned reader = LM_LOAD(st->shared->stream_versions[1]);
    return protocol == type_version(st->asyncio_StreamReaderProtocol) &&
           reader == type_version(st->asyncio_StreamReader) && protocol != 0 &&
           reader != 0;
}

/* Rare: somebody has patched the classes. -1 with an exception set. */
static int
replace_methods(LmState *st, PyObject *methods)
{
#if LM_FREE_THREADED
    PyObject *old = LM_LOAD(st->shared->stream_methods);
    if (old != NULL) {
        PyObject *chain = PyTuple_Pack(
            2, old,
            st->shared->stream_retired != NULL ? st->shared->stream_retired : Py_None);
        if (chain == NULL) {
            Py_XDECREF(methods);
            return -1;
        }
        Py_XSETREF(st->shared->stream_retired, chain);
        Py_DECREF(old); /* the chain has it */
    }
    LM_STORE_RELEASE(st->shared->stream_methods, methods);
#else
    Py_XSETREF(st->shared->stream_methods, methods);
#endif
    return 0;
}

/* Looks at the classes anew. Python code runs, so it is not done while bytes wait to be
   delivered. -1 with an exception set. */
static int
judge(LmState *st)
{
    unsigned versions[] = {type_version(st->asyncio_StreamReaderProtocol),
                           type_version(st->asyncio_StreamReader)};
    if (!IS_KNOWN_PYTHON || versions[0] == 0 || versions[1] == 0) {
        return 0;
    }
    PyObject *methods =
        lm_state_support(st, "stock_stream_methods", "OO",
                         st->asyncio_StreamReaderProtocol, st->asyncio_StreamReader);
    if (methods == NULL) {
        return -1;
    }
    if (methods == Py_None) {
        Py_CLEAR(methods);
    }
    int failed;
    LM_BEGIN_SECTION(st->asyncio_StreamReader)
    failed = replace_methods(st, methods);
    LM_STORE(st->shared->stream_versions[0], versions[0]);
    LM_STORE(st->shared->stream_versions[1], versions[1]);
    LM_END_SECTION
    return failed;
}

/* A function's code may be replaced without a change of its class. The tuple holds each
   function and the code that it was judged by. */
static int
is_stock(LmState *st)
{
    PyObject *methods = LM_LOAD_ACQUIRE(st->shared->stream_methods);
    if (methods == NULL) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(methods); i += 2) {
        if (PyFunction_GetCode(PyTuple_GET_ITEM(methods, i)) !=
            PyTuple_GET_ITEM(methods, i + 1)) {
            return 0;
        }
    }
    return 1;
}

/* An attribute of an instance, as a new reference; NULL without an exception where it is
   missing. */
static PyObject *
attribute(PyObject *self, PyObject *name)
{
    PyObject *value;
    if (PyObject_GetOptionalAttr(self, name, &value) < 0) {
        PyErr_Clear(); /* the method will say the same */
    }
    return value;
}

/* Whether a method of the class is not hidden by an attribute of the instance. */
static int
has_own(LmState *st, PyObject *self, PyObject *name, Py_ssize_t index)
{
    /* First: an odd attribute's code may have the classes judged anew; without a GIL
       another thread has perhaps done so already. */
    PyObject *methods = LM_LOAD_ACQUIRE(st->shared->stream_methods);
    if (LM_FREE_THREADED && methods == NULL) {
        return 0;
    }
    const PyObject *function = PyTuple_GET_ITEM(methods, index);
    PyObject *bound = attribute(self, name);
    int is_own = bound != NULL && PyMethod_Check(bound) &&
                 PyMethod_GET_FUNCTION(bound) == function &&
                 PyMethod_GET_SELF(bound) == self;
    Py_XDECREF(bound);
    return is_own;
}

/* What an exact reader refers to. */
typedef struct {
    PyTypeObject *type;
    int most; /* attributes that there may be more */
} Attributes;

static int
visit_attribute(PyObject *value, void *arg)
{
    Attributes *attributes = arg;
    if (value == (PyObject *)attributes->type) {
        return 0;
    }
    return Py_TYPE(value)->tp_call != NULL || PyDict_Check(value) ||
           --attributes->most < 0;
}

/* Whether no attribute of the reader hides a method of its class. Told by what it refers
   to: no more than StreamReader.__init__ gives it, none of it callable, and no dict that
   was asked for. Asking for the methods by their names costs thrice as much, and so is
   left to the readers that have something else, in debug mode a traceback. */
static int
reader_has_own_methods(LmState *st, PyObject *reader)
{
    Attributes attributes = {Py_TYPE(reader), ATTRIBUTES_OF_READER};
    if (LM_LIKELY(Py_TYPE(reader)->tp_traverse(reader, visit_attribute, &attributes) ==
                  0)) {
        return 1;
    }
    return has_own(st, reader, st->str.feed_data, 2) &&
           LM_LOAD(st->shared->stream_methods) != NULL &&
           has_own(st, reader, st->str._wakeup_waiter, 4);
}

/* The protocol's reader, exact and with the methods of its class, as a new reference, or
   NULL without an exception. */
static PyObject *
reader_of(LmState *st, PyObject *protocol)
{
    PyObject *ref = attribute(protocol, st->str._stream_reader_wr);
    PyObject *reader = NULL;
    if (ref != NULL && PyWeakref_CheckRefExact(ref) &&
        PyWeakref_GetRef(ref, &reader) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(ref);
    if (reader != NULL && !Py_IS_TYPE(reader, lm_type(st->asyncio_StreamReader))) {
        Py_CLEAR(reader);
    }
    return reader;
}

/* A waiter that can be woken by C: none, or a future of ours that is not done in any way
   that would raise. */
static int
is_plain_waiter(LmState *st, PyObject *waiter)
{
    if (waiter == Py_None) {
        return 1;
    }
    if (!Py_IS_TYPE(waiter, lm_type(st->FutureType))) {
        return 0;
    }
    LmFuture *f = lm_future(waiter);
    return f->loop != NULL && lm_future_direct_loop(f) != NULL &&
           f->state != LM_FINISHED;
}

/* What feed_data works with; NULL where it is missing. */
typedef struct {
    PyObject *buffer;
    PyObject *waiter;
    size_t limit;
} Fields;

/* 1 where all is as asyncio makes it; the caller lets go of the fields in any case. */
static int
take_fields(LmState *st, PyObject *reader, Fields *fields)
{
    PyObject *eof = attribute(reader, st->str._eof);
    Py_XDECREF(eof);
    if (eof != Py_False) {
        return 0;
    }
    PyObject *limit = attribute(reader, st->str._limit);
    Py_ssize_t bytes =
        limit != NULL && PyLong_CheckExact(limit) ? PyLong_AsSsize_t(limit) : -1;
    Py_XDECREF(limit);
    if (bytes < 0 || bytes > PY_SSIZE_T_MAX / 2) {
        PyErr_Clear();
        return 0;
    }
    fields->limit = (size_t)bytes;
    fields->buffer = attribute(reader, st->str._buffer);
    fields->waiter = attribute(reader, st->str._waiter);
    return fields->buffer != NULL && PyByteArray_CheckExact(fields->buffer) &&
           fields->waiter != NULL && is_plain_waiter(st, fields->waiter);
}

/* FED, or NOT_FED where it cannot grow: then it is as it was. */
static int
append_bytes(PyObject *buffer, const char *data, size_t size)
{
    Py_ssize_t before = PyByteArray_GET_SIZE(buffer);
    if (PyByteArray_Resize(buffer, before + (Py_ssize_t)size) < 0) {
        PyErr_Clear();
        return NOT_FED;
    }
    memcpy(PyByteArray_AS_STRING(buffer) + before, data, size);
    return FED;
}

static int
wake(LmState *st, PyObject *reader, PyObject *waiter)
{
    if (PyObject_SetAttr(reader, st->str._waiter, Py_None) < 0) {
        return -1;
    }
    return lm_future(waiter)->state == LM_CANCELLED
               ? 0
               : lm_future_set_result(waiter, Py_None);
}

/* The reader holds more than twice its limit. */
static int
pause_reading(LmState *st, PyObject *reader)
{
    PyObject *transport = PyObject_GetAttr(reader, st->str._transport);
    if (transport == NULL || transport == Py_None) {
        Py_XDECREF(transport);
        return transport != NULL ? 0 : -1;
    }
    PyObject *paused = PyObject_GetAttr(reader, st->str._paused);
    int is_paused = paused != NULL ? PyObject_IsTrue(paused) : -1;
    Py_XDECREF(paused);
    int failed = is_paused < 0 ? -1 : 0;
    if (is_paused == 0) {
        PyObject *done = PyObject_CallMethodNoArgs(transport, st->str.pause_reading);
        if (done != NULL) {
            failed = PyObject_SetAttr(reader, st->str._paused, Py_True);
        }
        else if (PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
            /* A transport that cannot pause is not asked again. */
            PyErr_Clear();
            failed = PyObject_SetAttr(reader, st->str._transport, Py_None);
        }
        else {
            failed = -1;
        }
        Py_XDECREF(done);
    }
    Py_DECREF(transport);
    return failed;
}

static int
feed_reader(LmState *st, PyObject *reader, const char *data, size_t size)
{
    Fields fields = {NULL, NULL, 0};
    int result = NOT_FED;
    if (take_fields(st, reader, &fields)) {
        result = append_bytes(fields.buffer, data, size);
    }
    if (result == FED && fields.waiter != Py_None &&
        wake(st, reader, fields.waiter) < 0) {
        result = FAILED;
    }
    if (result == FED &&
        (size_t)PyByteArray_GET_SIZE(fields.buffer) > 2 * fields.limit &&
        pause_reading(st, reader) < 0) {
        result = FAILED;
    }
    Py_XDECREF(fields.buffer);
    Py_XDECREF(fields.waiter);
    return result;
}

/* FED, NOT_FED with nothing changed, or FAILED with an exception set. */
static LM_APART int
feed_stream(LmState *st, PyObject *protocol, const char *data, size_t size)
{
    if (!has_own(st, protocol, st->str.data_received, 0)) {
        return NOT_FED;
    }
    PyObject *reader = reader_of(st, protocol);
    if (reader == NULL) {
        return NOT_FED;
    }
    int result = NOT_FED;
    if (reader_has_own_methods(st, reader)) {
        result = feed_reader(st, reader, data, size);
    }
    Py_DECREF(reader);
    return result;
}

/* The same, of any protocol. */
static int
try_feed(LmState *st, PyObject *protocol, const char *data, size_t size)
{
    return Py_IS_TYPE(protocol, lm_type(st->asyncio_StreamReaderProtocol)) &&
                   is_judged(st) && is_stock(st)
               ? feed_stream(st, protocol, data, size)
               : NOT_FED;
}

static int
call_data_received(LmState *st, PyObject *protocol, PyObject *data)
{
    PyObject *done = PyObject_CallMethodOneArg(protocol, st->str.data_received, data);
    Py_XDECREF(done);
    if (done == NULL) {
        return -1;
    }
    return !Py_IS_TYPE(protocol, lm_type(st->asyncio_StreamReaderProtocol)) ||
                   is_judged(st)
               ? 0
               : judge(st);
}

int
lm_feed_protocol_bytes(LmState *st, PyObject *protocol, PyObject *data)
{
    int result = NOT_FED;
    if (PyBytes_CheckExact(data) && PyBytes_GET_SIZE(data) > 0) {
        result = try_feed(st, protocol, PyBytes_AS_STRING(data),
                          (size_t)PyBytes_GET_SIZE(data));
    }
    return result == NOT_FED ? call_data_received(st, protocol, data) : result;
}

int
lm_feed_protocol(LmState *st, PyObject *protocol, const char *data, size_t size)
{
    int result = try_feed(st, protocol, data, size);
    if (result != NOT_FED) {
        return result;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    int failed = bytes != NULL ? call_data_received(st, protocol, bytes) : -1;
    Py_XDECREF(bytes);
    return failed;
}
