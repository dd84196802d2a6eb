/* Methods and getters that all transports share, over transport.h: see
   transport_methods.h. Each works on a closed transport too. */
#include "net/transport_methods.h"

#include "base/args.h"
#include "base/type_help.h"
#include "net/transport.h"

PyObject *
lm_transport_method_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport_close(self));
}

PyObject *
lm_transport_method_abort(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_transport_force_close(self, Py_None));
}

PyObject *
lm_transport_method_is_closing(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(lm_transport(self)->is_closing));
}

PyObject *
lm_transport_method_is_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    return PyBool_FromLong(!LM_LOAD(t->is_closing) && !LM_LOAD(t->is_paused));
}

PyObject *
lm_transport_method_pause_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->is_paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    LM_STORE(t->is_paused, 1);
    int is_debug = LM_LOAD(t->loop->is_debug);
    lm_transport_stop_reading(self);
    return lm_none_if(is_debug ? lm_transport_log_debug(self, "pauses reading") : 0);
}

PyObject *
lm_transport_method_resume_reading(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || !t->is_paused || t->loop == NULL) {
        Py_RETURN_NONE;
    }
    LM_STORE(t->is_paused, 0);
    int is_debug = LM_LOAD(t->loop->is_debug);
    if (lm_transport_start_reading(self) < 0) {
        return NULL;
    }
    return lm_none_if(is_debug ? lm_transport_log_debug(self, "resumes reading") : 0);
}

PyObject *
lm_transport_method_get_protocol(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_transport_get_protocol(self, NULL);
}

PyObject *
lm_transport_method_set_protocol(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames)
{
    LmTransport *t = lm_transport(self);
    PyObject *protocol = lm_args_only("set_protocol", args, nargs, kwnames, "protocol");
    if (protocol == NULL) {
        return NULL;
    }
    return lm_none_if(lm_transport_set_protocol(t, protocol));
}

PyObject *
lm_transport_method_get_write_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    return lm_transport_settle(self) < 0 ? NULL : PyLong_FromSize_t(t->out.size);
}

/* In a thread that the transport is not: as it is at this moment, what is joined too. */
PyObject *
lm_transport_see_write_buffer_size(PyObject *self, PyObject *unused LM_UNUSED)
{
    PyErr_Clear();
    return PyLong_FromSize_t(LM_LOAD(lm_transport(self)->out.size));
}

PyObject *
lm_transport_method_get_write_buffer_limits(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_marks_see(self, &lm_transport(self)->flow.marks);
}

PyObject *
lm_transport_method_set_write_buffer_limits(PyObject *self, PyObject *const *args,
                                            Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"high", "low", NULL};
    PyObject *values[] = {Py_None, Py_None};
    LmTransport *t = lm_transport(self);
    if (lm_args_parse("set_write_buffer_limits", args, nargs, kwnames, 2, 0, names,
                      values) < 0 ||
        lm_transport_settle(self) < 0) {
        return NULL;
    }
    int failed;
    LM_BEGIN_SECTION(self)
    failed = lm_flow_set_limits(&t->flow, values[0], values[1]);
    LM_END_SECTION
    if (failed < 0) {
        return NULL;
    }
    return lm_none_if(t->loop != NULL ? lm_flow_maybe_pause(self) : 0);
}

PyObject *
lm_transport_get_loop(PyObject *self, void *closure LM_UNUSED)
{
    LmLoop *home = lm_transport_owner(self); /* outlives what is looked at */
    int is_there = LM_LOAD(lm_transport(self)->loop) != NULL;
    return lm_none_or(is_there ? (PyObject *)home : NULL);
}

PyObject *
lm_transport_get_protocol(PyObject *self, void *closure LM_UNUSED)
{
    PyObject *protocol = lm_shared_get(self, &lm_transport(self)->protocol);
    return protocol != NULL ? protocol : Py_NewRef(Py_None);
}

LM_SHARED_GETTER(lm_transport_get_closing, LmTransport *t = lm_transport(self),
                 PyBool_FromLong(LM_LOAD(t->is_closing)))
LM_SHARED_GETTER(lm_transport_get_paused, LmTransport *t = lm_transport(self),
                 PyBool_FromLong(LM_LOAD(t->is_paused)))
LM_SHARED_GETTER(lm_transport_get_protocol_paused, LmTransport *t = lm_transport(self),
                 PyBool_FromLong(LM_LOAD(t->flow.is_paused)))
LM_SHARED_GETTER(lm_transport_get_high_water, LmTransport *t = lm_transport(self),
                 lm_marks_high(&t->flow.marks))
LM_SHARED_GETTER(lm_transport_get_low_water, LmTransport *t = lm_transport(self),
                 lm_marks_low(&t->flow.marks))
