/* Parsing of vectorcall arguments for the methods that are too hot or too odd for
   PyArg_*.

   Relies on Python.h only; may set TypeError, runs no Python but where said. */
#ifndef LM_BASE_ARGS_H
#define LM_BASE_ARGS_H

#include "base/state.h"

/* 0, or -1 with TypeError set where the number of positional arguments is out of
   [least, most]. */
int lm_args_count(const char *function, Py_ssize_t nargs, Py_ssize_t least,
                  Py_ssize_t most);

/* The one keyword `context`: borrowed into *context (NULL where it is absent or None).
   -1 with TypeError. */
int lm_args_context(LmState *st, const char *function, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames, PyObject **context);

/* What call_soon(callback, *args, context=None) and its like take: up to `most_lead` named
   arguments, then any number of positional ones, then the one keyword. */
typedef struct {
    PyObject *const *args; /* as given, or `room` where leading ones came by keyword */
    Py_ssize_t nargs;
    PyObject *context; /* borrowed, or NULL */
    PyObject *room[3];
} LmCallArgs;

/* The rest of lm_args_call: something came by keyword or is missing. */
int lm_args_call_named(LmState *st, const char *function, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames, const char *const *lead,
                       LmCallArgs *call);

/* Fills `call`; `lead` names the leading arguments, ended by NULL, all required. -1 with
   TypeError set. */
static inline int
lm_args_call(LmState *st, const char *function, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, const char *const *lead, LmCallArgs *call)
{
    call->args = args;
    call->nargs = nargs;
    call->context = NULL;
    if (LM_LIKELY(kwnames == NULL && nargs >= (lead[1] == NULL ? 1 : 2))) {
        return 0;
    }
    return lm_args_call_named(st, function, args, nargs, kwnames, lead, call);
}

/* Positional and keyword arguments into `values` by the order of `names` (ended by
   NULL): the first `most_positional` may be positional, the first `required` must be
   given. Absent ones keep their value. All borrowed. -1 with TypeError set. */
int lm_args_parse(const char *function, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, Py_ssize_t most_positional, Py_ssize_t required,
                  const char *const *names, PyObject **values);

/* The rest of lm_args_only: it came by keyword, or not alone. */
PyObject *lm_args_only_named(const char *function, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames, const char *name);

/* The only argument of a method that names it, by position or keyword. Borrowed; NULL
   with TypeError set. */
static inline PyObject *
lm_args_only(const char *function, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, const char *name)
{
    return LM_LIKELY(nargs == 1 && kwnames == NULL)
               ? args[0]
               : lm_args_only_named(function, args, nargs, kwnames, name);
}

/* The descriptor of an int or of an object with fileno(). -1 with asyncio's ValueError
   set. Runs Python. */
int lm_args_fd(PyObject *obj);

#endif
