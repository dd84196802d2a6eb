/* Parsing of vectorcall arguments: see args.h. */
#include "base/args.h"

int
lm_args_count(const char *function, Py_ssize_t nargs, Py_ssize_t least, Py_ssize_t most)
{
    if (nargs >= least && nargs <= most) {
        return 0;
    }
    if (nargs < least) {
        PyErr_Format(PyExc_TypeError, "%s() missing %zd required positional argument%s",
                     function, least - nargs, least - nargs == 1 ? "" : "s");
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %zd positional argument%s (%zd given)",
                     function, most, most == 1 ? "" : "s", nargs);
    }
    return -1;
}

static int
unexpected_keyword(const char *function, PyObject *name)
{
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                 function, name);
    return -1;
}

int
lm_args_context(LmState *st, const char *function, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames, PyObject **context)
{
    *context = NULL;
    if (LM_LIKELY(kwnames == NULL)) {
        return 0;
    }
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(kwnames); i < n; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (name != st->str.context && PyUnicode_Compare(name, st->str.context) != 0) {
            return unexpected_keyword(function, name);
        }
        *context = args[nargs + i] != Py_None ? args[nargs + i] : NULL;
    }
    return 0;
}

static Py_ssize_t
find_name(const char *const *names, PyObject *name)
{
    for (Py_ssize_t i = 0; names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

int
lm_args_parse(const char *function, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames, Py_ssize_t most_positional, Py_ssize_t required,
              const char *const *names, PyObject **values)
{
    if (lm_args_count(function, nargs, 0, most_positional) < 0) {
        return -1;
    }
    uint64_t given = ((uint64_t)1 << nargs) - 1;
    for (Py_ssize_t i = 0; i < nargs; i++) {
        values[i] = args[i];
    }
    for (Py_ssize_t i = 0, n = kwnames ? PyTuple_GET_SIZE(kwnames) : 0; i < n; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t place = find_name(names, name);
        if (place < 0) {
            return unexpected_keyword(function, name);
        }
        if (given & ((uint64_t)1 << place)) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         function, name);
            return -1;
        }
        given |= (uint64_t)1 << place;
        values[place] = args[nargs + i];
    }
    for (Py_ssize_t i = 0; i < required; i++) {
        if (!(given & ((uint64_t)1 << i))) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'",
                         function, names[i]);
            return -1;
        }
    }
    return 0;
}

/* Leading arguments given by keyword leave no place for further ones: all of them are
   in `room` then. */
static int
take_by_keyword(const char *function, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames, const char *const *lead, LmCallArgs *call)
{
    const char *names[5];
    PyObject *values[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t required = 0;
    while (lead[required] != NULL) {
        names[required] = lead[required];
        required++;
    }
    names[required] = "context";
    names[required + 1] = NULL;
    if (lm_args_parse(function, args, nargs, kwnames, required, required, names,
                      values) < 0) {
        return -1;
    }
    memcpy(call->room, values, (size_t)required * sizeof(PyObject *));
    call->args = call->room;
    call->nargs = required;
    call->context = values[required] != Py_None ? values[required] : NULL;
    return 0;
}

int
lm_args_call_named(LmState *st, const char *function, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, const char *const *lead,
                   LmCallArgs *call)
{
    Py_ssize_t required = lead[1] == NULL ? 1 : 2;
    if (LM_LIKELY(nargs >= required)) {
        return lm_args_context(st, function, args, nargs, kwnames, &call->context);
    }
    if (kwnames == NULL) {
        return lm_args_count(function, nargs, required, required);
    }
    return take_by_keyword(function, args, nargs, kwnames, lead, call);
}

PyObject *
lm_args_only_named(const char *function, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames, const char *name)
{
    const char *const names[] = {name, NULL};
    PyObject *value = NULL;
    return lm_args_parse(function, args, nargs, kwnames, 1, 1, names, &value) < 0
               ? NULL
               : value;
}

int
lm_args_fd(PyObject *obj)
{
    PyObject *number = NULL;
    if (PyLong_Check(obj)) {
        number = Py_NewRef(obj);
    }
    else {
        PyObject *fileno = PyObject_CallMethod(obj, "fileno", NULL);
        number = fileno != NULL ? PyNumber_Long(fileno) : NULL;
        Py_XDECREF(fileno);
        if (number == NULL) {
            if (PyErr_ExceptionMatches(PyExc_AttributeError) ||
                PyErr_ExceptionMatches(PyExc_TypeError) ||
                PyErr_ExceptionMatches(PyExc_ValueError)) {
                PyErr_Format(PyExc_ValueError, "Invalid file object: %R", obj);
            }
            return -1;
        }
    }
    long fd = PyLong_AsLong(number);
    if (fd < 0 || fd > INT_MAX) {
        if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", number);
        }
        fd = -1;
    }
    Py_DECREF(number);
    return (int)fd;
}
