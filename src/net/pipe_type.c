/* The ReadPipeTransport and WritePipeTransport types: methods and getters over pipe.h.
   Each works on a closed transport too. */
#include "net/pipe.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/fault.h"

static PyObject *
method_get_protocol(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_or(lm_pipe(self)->protocol);
}

static PyObject *
method_set_protocol(PyObject *self, PyObject *protocol)
{
    Py_XSETREF(lm_pipe(self)->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyObject *
method_is_closing(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(lm_pipe(self)->is_closing);
}

static PyObject *
method_close_reader(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_pipe(self)->is_closing ? 0 : lm_pipe_lose(self, Py_None));
}

static PyObject *
method_is_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmPipe *p = lm_pipe(self);
    return PyBool_FromLong(!p->is_closing && !p->is_paused);
}

static int
log_in_debug(PyObject *self, const char *text)
{
    LmPipe *p = lm_pipe(self);
    PyObject *done = p->loop != NULL && p->loop->is_debug
                         ? lm_state_support(p->st, "log_debug", "Os", self, text)
                         : Py_NewRef(Py_None);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static PyObject *
method_pause_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmPipe *p = lm_pipe(self);
    if (p->is_closing || p->is_paused || p->loop == NULL) {
        Py_RETURN_NONE;
    }
    p->is_paused = 1;
    lm_pipe_stop(self, &p->reader);
    return lm_none_if(log_in_debug(self, "pauses reading"));
}

static PyObject *
method_resume_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmPipe *p = lm_pipe(self);
    if (p->is_closing || !p->is_paused || p->loop == NULL) {
        Py_RETURN_NONE;
    }
    p->is_paused = 0;
    if (lm_watch_check_fd(&p->loop->poll, p->fd) < 0 ||
        lm_pipe_start(self, &p->reader) < 0) {
        return NULL;
    }
    if (p->loop == NULL) {
        Py_RETURN_NONE; /* ended by the file object's fileno() */
    }
    return lm_none_if(log_in_debug(self, "resumes reading"));
}

static PyObject *
method_write(PyObject *self, PyObject *data)
{
    return lm_none_if(lm_pipe_write(self, data));
}

static PyObject *
method_write_eof(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_pipe_write_eof(self));
}

static PyObject *
method_can_write_eof(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    Py_RETURN_TRUE;
}

static PyObject *
method_abort(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_pipe_lose(self, Py_None));
}

static PyObject *
method_get_write_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyLong_FromSize_t(lm_pipe(self)->out.size);
}

static PyObject *
method_get_write_buffer_limits(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_marks_show(&lm_pipe(self)->flow.marks);
}

static PyObject *
method_set_write_buffer_limits(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const char *const names[] = {"high", "low", NULL};
    PyObject *values[] = {Py_None, Py_None};
    LmPipe *p = lm_pipe(self);
    if (lm_args_parse("set_write_buffer_limits", args, nargs, kwnames, 2, 0, names,
                      values) < 0 ||
        lm_flow_set_limits(&p->flow, values[0], values[1]) < 0) {
        return NULL;
    }
    return lm_none_if(p->loop != NULL ? lm_flow_grown(&p->flow, p->out.size, p->loop,
                                                      self, p->protocol)
                                      : 0);
}

LM_GETTER(get_extra, LmPipe *p = lm_pipe(self), lm_none_or(p->extra))
LM_GETTER(get_loop, LmPipe *p = lm_pipe(self), lm_none_or((PyObject *)p->loop))
LM_GETTER(get_protocol, LmPipe *p = lm_pipe(self), lm_none_or(p->protocol))
LM_GETTER(get_pipe, LmPipe *p = lm_pipe(self), lm_none_or(p->pipe))
LM_GETTER(get_fileno, LmPipe *p = lm_pipe(self), PyLong_FromLong(p->fd))
LM_GETTER(get_closing, LmPipe *p = lm_pipe(self), PyBool_FromLong(p->is_closing))
LM_GETTER(get_paused, LmPipe *p = lm_pipe(self), PyBool_FromLong(p->is_paused))
LM_GETTER(get_conn_lost, LmPipe *p = lm_pipe(self), PyLong_FromUnsignedLong(p->dropped))
LM_GETTER(get_protocol_paused, LmPipe *p = lm_pipe(self),
          PyBool_FromLong(p->flow.is_paused))
LM_GETTER(get_high_water, LmPipe *p = lm_pipe(self), lm_marks_high(&p->flow.marks))
LM_GETTER(get_low_water, LmPipe *p = lm_pipe(self), lm_marks_low(&p->flow.marks))

static int
set_extra(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    Py_XSETREF(lm_pipe(self)->extra, Py_XNewRef(value));
    return 0;
}

/* Whoever takes the file object away has to close it. */
static int
set_pipe(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmPipe *p = lm_pipe(self);
    PyObject *pipe = value == Py_None ? NULL : Py_XNewRef(value);
    p->own_fd =
        pipe != NULL ? lm_sock_fd_place(p->st, pipe, p->fd) : &lm_sock_fd_by_method;
    Py_XSETREF(p->pipe, pipe);
    return 0;
}

static PyObject *
pipe_repr(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    const char *name = lm_type_name(Py_TYPE(self));
    if (p->pipe == NULL) {
        return PyUnicode_FromFormat("<%s closed fd=%d closed>", name, p->fd);
    }
    const char *closing = p->is_closing ? " closing" : "";
    if (p->loop != NULL && p->loop->is_closed) {
        return PyUnicode_FromFormat("<%s%s fd=%d open>", name, closing, p->fd);
    }
    const LmWatch *watch = p->kind->is_writer ? &p->writer : &p->reader;
    const char *polling = watch->is_active ? "polling" : "idle";
    if (!p->kind->is_writer) {
        return PyUnicode_FromFormat("<%s%s fd=%d %s>", name, closing, p->fd, polling);
    }
    return PyUnicode_FromFormat("<%s%s fd=%d %s bufsize=%zu>", name, closing, p->fd,
                                polling, p->out.size);
}

/* Dropped without being closed: said, as asyncio does, and the file object closed. */
static void
pipe_finalize(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->pipe == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    lm_fault_unclosed(p->st, self);
    PyObject *pipe = p->pipe; /* who was shown the warning may have closed it */
    p->own_fd = &lm_sock_fd_by_method;
    p->pipe = NULL;
    PyObject *done = pipe != NULL ? PyObject_CallMethodNoArgs(pipe, p->st->str.close)
                                  : Py_NewRef(Py_None);
    if (done == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(done);
    Py_XDECREF(pipe);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

static int
pipe_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmPipe *p = lm_pipe(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(p->loop);
    Py_VISIT(p->protocol);
    Py_VISIT(p->pipe);
    Py_VISIT(p->extra);
    Py_VISIT(p->read_context);
    Py_VISIT(p->write_context);
    Py_VISIT(p->flow.marks.given);
    Py_VISIT(p->dict);
    return 0;
}

/* The loop and the pipe stay: what is still scheduled for the transport needs them. */
static int
pipe_clear(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    Py_CLEAR(p->extra);
    Py_CLEAR(p->dict);
    if (p->loop == NULL) {
        Py_CLEAR(p->protocol);
    }
    return 0;
}

static void
pipe_dealloc(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->pipe != NULL && PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (p->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (p->loop != NULL) {
        lm_watch_stop(&p->loop->poll, &p->reader);
        lm_watch_stop(&p->loop->poll, &p->writer);
    }
    pipe_clear(self);
    lm_outbuf_clear(&p->out);
    Py_CLEAR(p->protocol);
    Py_CLEAR(p->read_context);
    Py_CLEAR(p->write_context);
    Py_CLEAR(p->flow.marks.given);
    LmLoop *loop = p->loop;
    lm_state_free_instance(p->st, self);
    Py_XDECREF(loop);
}

#define SHARED_METHODS                                                         \
    {"get_protocol", method_get_protocol, METH_NOARGS,                         \
     LM_DOC("get_protocol($self)", "Return the protocol.")},                   \
        {"set_protocol", method_set_protocol, METH_O,                          \
         LM_DOC("set_protocol($self, protocol, /)",                            \
                "Deliver to another protocol from now on.")},                  \
    {                                                                          \
        "is_closing", method_is_closing, METH_NOARGS,                          \
            LM_DOC("is_closing($self)",                                        \
                   "Return True once it was closed or the other end is gone.") \
    }

static PyMethodDef read_methods[] = {
    SHARED_METHODS,
    {"close", method_close_reader, METH_NOARGS,
     LM_DOC("close($self)",
            "Stop reading; connection_lost(None) and the file's close() "
            "follow in the next "
            "turn.")},
    {"is_reading", method_is_reading, METH_NOARGS,
     LM_DOC("is_reading($self)", "Return True if neither paused nor closing.")},
    {"pause_reading", method_pause_reading, METH_NOARGS,
     LM_DOC("pause_reading($self)", "Read nothing until resume_reading().")},
    {"resume_reading", method_resume_reading, METH_NOARGS,
     LM_DOC("resume_reading($self)", "Read again after pause_reading().")},
    {NULL, NULL, 0, NULL}};

static PyMethodDef write_methods[] = {
    SHARED_METHODS,
    {"write", method_write, METH_O,
     LM_DOC(
         "write($self, data, /)",
         "Write bytes; what the pipe does not take now is queued.\n\ndata: bytes, "
         "bytearray or memoryview; AssertionError for anything else. Dropped once the "
         "transport closes. Loop's thread only. Implements "
         "asyncio.WriteTransport.write.")},
    {"write_eof", method_write_eof, METH_NOARGS,
     LM_DOC("write_eof($self)",
            "The same as close(): a pipe has no other end of data.")},
    {"can_write_eof", method_can_write_eof, METH_NOARGS,
     LM_DOC("can_write_eof($self)", "Return True.")},
    {"close", method_write_eof, METH_NOARGS,
     LM_DOC("close($self)", "Write what is queued, then call connection_lost(None).")},
    {"abort", method_abort, METH_NOARGS,
     LM_DOC("abort($self)",
            "Drop what is queued and call connection_lost(None) in the next turn.")},
    {"get_write_buffer_size", method_get_write_buffer_size, METH_NOARGS,
     LM_DOC("get_write_buffer_size($self)", "Return how many bytes are queued.")},
    {"get_write_buffer_limits", method_get_write_buffer_limits, METH_NOARGS,
     LM_DOC("get_write_buffer_limits($self)", "Return (low, high) in bytes.")},
    {"set_write_buffer_limits", LM_FASTCALL(method_set_write_buffer_limits),
     LM_DOC(
         "set_write_buffer_limits($self, high=None, low=None)",
         "Set the marks, in bytes, at which the protocol is told to pause and resume "
         "writing.\n\n"
         "Raises ValueError unless high >= low >= 0.")},
    {NULL, NULL, 0, NULL}};

#define SHARED_GETTERS                                                           \
    {"_extra", get_extra, set_extra, NULL, NULL},                                \
        {"_loop", get_loop, NULL, NULL, NULL},                                   \
        {"_pipe", get_pipe, set_pipe, NULL, NULL},                               \
        {"_fileno", get_fileno, NULL, NULL, NULL},                               \
        {"_protocol", get_protocol, NULL, NULL, NULL},                           \
        {"_closing", get_closing, NULL, NULL, NULL},                             \
    {                                                                            \
        "__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL \
    }

static PyGetSetDef read_getset[] = {SHARED_GETTERS,
                                    {"_paused", get_paused, NULL, NULL, NULL},
                                    {NULL, NULL, NULL, NULL, NULL}};

static PyGetSetDef write_getset[] = {
    SHARED_GETTERS,
    {"_conn_lost", get_conn_lost, NULL, NULL, NULL},
    {"_protocol_paused", get_protocol_paused, NULL, NULL, NULL},
    {"_high_water", get_high_water, NULL, NULL, NULL},
    {"_low_water", get_low_water, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

/* New reference, added to the module under the last part of its name. */
static PyObject *
make_type(PyObject *module, const char *name, const char *doc, PyMethodDef *methods,
          PyGetSetDef *getset, PyObject *base)
{
    PyMemberDef members[] = {
        LM_DICT_MEMBERS(LmPipe, dict, weakrefs, lm_transport_offset),
        {NULL, 0, 0, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},        {Py_tp_dealloc, pipe_dealloc},
        {Py_tp_finalize, pipe_finalize}, {Py_tp_traverse, pipe_traverse},
        {Py_tp_clear, pipe_clear},       {Py_tp_repr, pipe_repr},
        {Py_tp_methods, methods},        {Py_tp_getset, getset},
        {Py_tp_members, members},        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(lm_transport_offset + (Py_ssize_t)sizeof(LmPipe)),
        .flags =
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    PyObject *type =
        base != NULL ? PyType_FromModuleAndSpec(module, &spec, base) : NULL;
    if (type != NULL &&
        PyModule_AddObjectRef(module, lm_type_name(lm_type(type)), type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

int
lm_pipe_init(PyObject *module, LmState *st)
{
    PyObject *reading = lm_state_import("asyncio", "ReadTransport");
    st->ReadPipeType =
        make_type(module, "loopmod._loopmod.ReadPipeTransport",
                  "The reading end of a pipe; made by the loop. Implements "
                  "asyncio.ReadTransport.",
                  read_methods, read_getset, reading);
    Py_XDECREF(reading);
    st->WritePipeType =
        st->ReadPipeType == NULL
            ? NULL
            : make_type(module, "loopmod._loopmod.WritePipeTransport",
                        "The writing end of a pipe; made by the loop. Implements "
                        "asyncio.WriteTransport.",
                        write_methods, write_getset, st->asyncio_FlowControlMixin);
    return st->WritePipeType != NULL ? 0 : -1;
}
