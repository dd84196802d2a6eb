/* What the bodies of methods and getters, and the tables that name them, are written with.
   Relies on lm.h. */
#ifndef LM_BASE_TYPE_HELP_H
#define LM_BASE_TYPE_HELP_H

#include "base/lm.h"

/* What a method returns of a borrowed value that may lack, or of a call that returned 0 or
   -1. New reference; NULL with the exception of that call. */
static inline PyObject *
lm_none_or(PyObject *value)
{
    return Py_NewRef(value != NULL ? value : Py_None);
}

static inline PyObject *
lm_none_if(int failed)
{
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

/* In a setter: -1 with AttributeError where the attribute is to be deleted. */
static inline int
lm_check_not_deleted(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    return 0;
}

/* A getter of the struct that `declaration` finds in `self`; of one file, or shared by the
   tables of several. */
#define LM_GETTER(name, declaration, expression) \
    static LM_SHARED_GETTER(name, declaration, expression)
#define LM_SHARED_GETTER(name, declaration, expression)     \
    PyObject *name(PyObject *self, void *closure LM_UNUSED) \
    {                                                       \
        declaration;                                        \
        return expression;                                  \
    }

/* In tables of methods: the docstring with its signature, and a function that takes its
   arguments as a vector, with keywords or without. */
#define LM_DOC(signature, text) signature "\n--\n\n" text
#define LM_FASTCALL(function) \
    (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
#define LM_POSITIONAL(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

#endif
