/* One connection's SSLObject: see session.h. */
#include "tls/session.h"

#include "tls/view.h"

/* 1 where nobody has put another function in the place of the type's; -1 with an exception
   set. */
static int
is_own_method(LmTlsEngine *engine, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(engine->SSLObject, name);
    if (method == NULL) {
        return -1;
    }
    int is_own =
        PyFunction_Check(method) && PyFunction_GetGlobals(method) == engine->ssl_names;
    Py_DECREF(method);
    return is_own;
}

/* What an SSLObject's read and write, which are Python, hand everything to: called
   directly, a record costs no frame. New reference. */
static PyObject *
low_level_object(LmTlsSession *s, LmState *st)
{
    int is_own = Py_IS_TYPE(s->object, lm_type(s->engine->SSLObject))
                     ? is_own_method(s->engine, st->str.read)
                     : 0;
    if (is_own > 0) {
        is_own = is_own_method(s->engine, st->str.write);
    }
    if (is_own < 0) {
        return NULL;
    }
    return is_own ? PyObject_GetAttrString(s->object, "_sslobj") : Py_NewRef(s->object);
}

/* context.wrap_bio(...): new reference. */
static PyObject *
call_wrap_bio(LmTlsSession *s)
{
    PyObject *wrap_bio = PyObject_GetAttrString(s->context, "wrap_bio");
    PyObject *args = wrap_bio != NULL
                         ? PyTuple_Pack(2, s->engine->incoming, s->engine->outgoing)
                         : NULL;
    PyObject *kwargs =
        args != NULL
            ? Py_BuildValue("{sOsO}", "server_side", s->is_server ? Py_True : Py_False,
                            "server_hostname",
                            s->server_hostname ? s->server_hostname : Py_None)
            : NULL;
    PyObject *object = kwargs != NULL ? PyObject_Call(wrap_bio, args, kwargs) : NULL;
    Py_XDECREF(wrap_bio);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return object;
}

/* Its read and write, and whether they are those of _ssl: only those are lent memory. */
static int
take_methods(LmTlsSession *s, LmState *st, PyObject *low_level)
{
    s->read = PyObject_GetAttr(low_level, st->str.read);
    s->write = s->read != NULL ? PyObject_GetAttr(low_level, st->str.write) : NULL;
    if (s->write == NULL) {
        return -1;
    }
    s->is_genuine = Py_IS_TYPE(low_level, lm_type(s->engine->SSLSocket));
    if (s->is_genuine) {
        s->native = lm_tls_gear_find(&s->engine->gear, low_level, s->context);
#if LM_FREE_THREADED
        s->guard = low_level;
#endif
    }
    return 0;
}

int
lm_tls_session_wrap(LmTlsSession *s, LmState *st)
{
    s->object = call_wrap_bio(s);
    if (s->object == NULL) {
        return -1;
    }
    PyObject *low_level = low_level_object(s, st);
    int failed = low_level != NULL ? take_methods(s, st, low_level) : -1;
    Py_XDECREF(low_level);
    return failed;
}

static PyObject *
call_read(LmTlsSession *s, size_t size, PyObject *into)
{
    PyObject *args[] = {PyLong_FromSize_t(size), into};
    if (args[0] == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(s->read, args, into != NULL ? 2 : 1, NULL);
    Py_DECREF(args[0]);
    return result;
}

static Py_ssize_t
failed_read(LmTlsSession *s)
{
    return lm_tls_engine_wants_more(s->engine) ? LM_READ_NOTHING : LM_READ_FAILED;
}

/* By the method of a foreign object, whose bytes are copied. */
static Py_ssize_t
read_foreign(LmTlsSession *s, char *into, size_t room)
{
    PyObject *data = call_read(s, room, NULL);
    if (data == NULL) {
        return failed_read(s);
    }
    Py_buffer view;
    Py_ssize_t size = LM_READ_FAILED;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) == 0) {
        size = (size_t)view.len <= room ? view.len : (Py_ssize_t)room;
        memcpy(into, view.buf, (size_t)size);
        PyBuffer_Release(&view);
    }
    Py_DECREF(data);
    return size;
}

static Py_ssize_t
read_native(LmTlsSession *s, char *into, size_t room)
{
    Py_ssize_t got;
    LM_BEGIN_SECTION(s->guard)
    got = lm_tls_gear_read(&s->engine->gear, s->native, into, room);
    LM_END_SECTION
    return got;
}

Py_ssize_t
lm_tls_session_read(LmTlsSession *s, char *into, size_t room)
{
    if (LM_LIKELY(s->native != NULL)) {
        Py_ssize_t got = read_native(s, into, room);
        if (LM_LIKELY(got >= 0)) {
            return got > 0 ? got : LM_READ_NOTHING;
        }
    }
    if (!s->is_genuine) {
        return read_foreign(s, into, room);
    }
    PyObject *count = call_read(s, room, lm_view_at(s->engine->view, into, room));
    if (count == NULL) {
        return failed_read(s);
    }
    Py_ssize_t size = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    return size < 0 ? LM_READ_FAILED : size;
}

int
lm_tls_session_read_bytes(LmTlsSession *s, size_t size, PyObject **data)
{
    *data = call_read(s, size, NULL);
    if (*data == NULL) {
        return failed_read(s) == LM_READ_NOTHING ? 0 : -1;
    }
    if (!PyBytes_Check(*data)) {
        PyErr_Format(PyExc_TypeError, "read() returned %s, not bytes",
                     lm_type_name(Py_TYPE(*data)));
        Py_CLEAR(*data);
        return -1;
    }
    return 0;
}

static Py_ssize_t
write_native(LmTlsSession *s, const char *data, size_t size)
{
    Py_ssize_t taken;
    LM_BEGIN_SECTION(s->guard)
    taken = lm_tls_gear_write(&s->engine->gear, s->native, data, size);
    LM_END_SECTION
    return taken;
}

Py_ssize_t
lm_tls_session_write(LmTlsSession *s, const char *data, size_t size)
{
    size = size < LM_RECORD_PLAIN ? size : LM_RECORD_PLAIN;
    if (LM_LIKELY(s->native != NULL)) {
        Py_ssize_t taken = write_native(s, data, size);
        if (LM_LIKELY(taken > 0)) {
            return taken;
        }
    }
    /* A foreign object may keep what it is given: it gets bytes of its own. */
    PyObject *given = s->is_genuine ? Py_NewRef(lm_view_at(s->engine->view, data, size))
                                    : PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    PyObject *count = given != NULL ? PyObject_CallOneArg(s->write, given) : NULL;
    Py_XDECREF(given);
    if (count == NULL) {
        return lm_tls_engine_wants_more(s->engine) ? 0 : -1;
    }
    Py_ssize_t taken = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    if (taken < 0 || (size_t)taken > size) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "write() returned a wrong count");
        }
        return -1;
    }
    return taken;
}
