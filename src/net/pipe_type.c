/* The ReadPipeTransport and WritePipeTransport types: what they add to
   transport_methods.h. Each method works on a closed transport too. */
#include "net/pipe.h"

#include "base/type_help.h"
#include "core/owner.h"
#include "net/transport_methods.h"
#include "net/transport_type.h"

static PyObject *
pipe_method_write(PyObject *self, PyObject *data)
{
    return lm_none_if(lm_pipe_write(self, data));
}

static PyObject *
pipe_method_can_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    Py_RETURN_TRUE;
}

LM_GETTER(get_file, LmTransport *t = lm_transport(self), lm_none_or(t->sock))
LM_GETTER(get_fileno, LmTransport *t = lm_transport(self), PyLong_FromLong(t->number))
LM_GETTER(get_dropped, LmPipe *p = lm_pipe(self), PyLong_FromUnsignedLong(p->dropped))

static PyObject *
pipe_get_extra(PyObject *self, void *closure LM_UNUSED)
{
    PyObject *extra = lm_shared_get(self, &lm_transport(self)->extra);
    return extra != NULL ? extra : Py_NewRef(Py_None);
}

static int
pipe_set_extra(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    Py_XDECREF(lm_shared_swap(self, &lm_transport(self)->extra, Py_XNewRef(value)));
    return 0;
}

/* Whoever takes the file object away has to close it. */
static int
set_file(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    lm_transport_set_socket(lm_transport(self), value == Py_None ? NULL : value);
    return 0;
}

static PyObject *
pipe_repr(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    const char *name = lm_type_name(Py_TYPE(self));
    int is_writer = lm_pipe_kind(self)->is_writer;
    if (t->sock == NULL) {
        return PyUnicode_FromFormat("<%s closed fd=%d closed>", name, t->number);
    }
    const char *closing = t->is_closing ? " closing" : "";
    if (t->loop != NULL && t->loop->is_closed) {
        return PyUnicode_FromFormat("<%s%s fd=%d open>", name, closing, t->number);
    }
    int is_active = is_writer ? lm_transport_is_writing(t) : t->reader.is_active;
    const char *polling = is_active ? "polling" : "idle";
    if (!is_writer) {
        return PyUnicode_FromFormat("<%s%s fd=%d %s>", name, closing, t->number,
                                    polling);
    }
    return PyUnicode_FromFormat("<%s%s fd=%d %s bufsize=%zu>", name, closing, t->number,
                                polling, t->out.size);
}

LM_OWNED_REPR(pipe_repr, lm_transport_owner)
LM_OWNED_METHOD(pipe_method_write, lm_transport_owner)
LM_OWNED_SETTER(pipe_set_extra, lm_transport_owner)
LM_OWNED_SHOWN(get_file, lm_transport_owner)
LM_OWNED_SHOWN(get_dropped, lm_transport_owner)
LM_OWNED_SETTER(set_file, lm_transport_owner)

static PyMethodDef read_methods[] = {
    LM_TRANSPORT_METHODS, LM_TRANSPORT_READ_METHODS, {NULL, NULL, 0, NULL}};

static PyMethodDef write_methods[] = {
    LM_TRANSPORT_METHODS,
    LM_TRANSPORT_WRITE_METHODS,
    {"write", LM_OWNED(pipe_method_write), METH_O,
     LM_DOC(
         "write($self, data, /)",
         "Write bytes; what the pipe does not take now is queued.\n\n"
         "data: bytes, bytearray or memoryview; AssertionError for anything else. Dropped once the "
         "transport closes. Loop's thread only. Implements asyncio.WriteTransport.write.")},
    {"write_eof", LM_OWNED(lm_transport_method_close), METH_NOARGS,
     LM_DOC("write_eof($self)",
            "The same as close(): a pipe has no other end of data.")},
    {"can_write_eof", pipe_method_can_write_eof, METH_NOARGS,
     LM_DOC("can_write_eof($self)", "Return True.")},
    {NULL, NULL, 0, NULL}};

#define PIPE_GETSET                                                    \
    {"_extra", pipe_get_extra, LM_OWNED(pipe_set_extra), NULL, NULL},  \
        {"_pipe", LM_OWNED(get_file), LM_OWNED(set_file), NULL, NULL}, \
    {                                                                  \
        "_fileno", get_fileno, NULL, NULL, NULL                        \
    }

static PyGetSetDef read_getset[] = {LM_TRANSPORT_GETSET,
                                    LM_TRANSPORT_READ_GETSET,
                                    PIPE_GETSET,
                                    {NULL, NULL, NULL, NULL, NULL}};

static PyGetSetDef write_getset[] = {
    LM_TRANSPORT_GETSET,
    LM_TRANSPORT_WRITE_GETSET,
    PIPE_GETSET,
    {"_conn_lost", LM_OWNED(get_dropped), NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static const LmTransportTypeSpec read_spec = {
    .name = "loopmod._loopmod.ReadPipeTransport",
    .doc =
        "The reading end of a pipe; made by the loop. Implements asyncio.ReadTransport.",
    .size = sizeof(LmPipe),
    .methods = read_methods,
    .getset = read_getset,
    .repr = LM_OWNED(pipe_repr),
};

static const LmTransportTypeSpec write_spec = {
    .name = "loopmod._loopmod.WritePipeTransport",
    .doc =
        "The writing end of a pipe; made by the loop. Implements asyncio.WriteTransport.",
    .size = sizeof(LmPipe),
    .methods = write_methods,
    .getset = write_getset,
    .repr = LM_OWNED(pipe_repr),
};

int
lm_pipe_init(PyObject *module, LmState *st)
{
    PyObject *base = lm_state_import("asyncio", "ReadTransport");
    st->ReadPipeType =
        base != NULL ? lm_transport_type_new(module, &read_spec, base) : NULL;
    Py_XDECREF(base);
    if (st->ReadPipeType != NULL) {
        st->WritePipeType =
            lm_transport_type_new(module, &write_spec, st->asyncio_FlowControlMixin);
    }
    return st->WritePipeType != NULL ? 0 : -1;
}
