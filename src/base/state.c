/* The module's state: see state.h. Relies on loopmod._support, which holds what is cold
   enough to be Python. */
#include "base/state.h"

#include <stdarg.h>

struct PyModuleDef lm_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "loopmod._loopmod",
    .m_doc = "The C core of loopmod: loop, futures, tasks, transports.",
    .m_size = sizeof(LmState *),
};

LmState *
lm_state_of_type(PyTypeObject *type)
{
    if (LM_UNLIKELY(type->tp_mro == NULL)) {
        /* The collector has cleared it; the look-up would trip over that. */
        PyErr_Format(PyExc_TypeError, "the type '%s' is gone", lm_type_name(type));
        return NULL;
    }
    PyObject *module = PyType_GetModuleByDef(type, &lm_module);
    return module != NULL ? lm_state_of_module(module) : NULL;
}

PyObject *
lm_state_import(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *found = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return found;
}

PyObject *
lm_state_support(LmState *st, const char *name, const char *format, ...)
{
    char tuple_format[16];
    snprintf(tuple_format, sizeof(tuple_format), "(%s)", format);
    va_list values;
    va_start(values, format);
    PyObject *args = Py_VaBuildValue(tuple_format, values);
    va_end(values);
    PyObject *function =
        args != NULL ? PyMapping_GetItemString(st->support, name) : NULL;
    PyObject *result = function != NULL ? PyObject_Call(function, args, NULL) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(args);
    return result;
}

Py_ssize_t lm_handle_offset, lm_future_offset, lm_task_offset, lm_transport_offset;

static int
intern_strings(LmState *st)
{
#define LM_INTERN(name)                                             \
    if ((st->str.name = PyUnicode_InternFromString(#name)) == NULL) \
        return -1;
    LM_STATE_STRINGS(LM_INTERN)
#undef LM_INTERN
    st->kw_context = PyTuple_Pack(1, st->str.context);
    st->kw_hooks = PyTuple_Pack(2, st->str.firstiter, st->str.finalizer);
    return st->kw_context != NULL && st->kw_hooks != NULL ? 0 : -1;
}

int
lm_state_fill(LmState *st)
{
    if (intern_strings(st) < 0) {
        return -1;
    }
    /* Now, not when it is first needed: that may be when the interpreter goes down. */
    st->support = lm_state_import("loopmod._support", "__dict__");
    st->run_once =
        st->support != NULL ? lm_state_import("loopmod._support", "_run_once") : NULL;
    return st->run_once != NULL ? 0 : -1;
}
