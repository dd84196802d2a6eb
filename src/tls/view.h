/* A buffer over memory of ours, for one call: the same object every time, pointed at what
   is to be read or filled, in place of a new memoryview per call. Relies on state.h. */
#ifndef LM_TLS_VIEW_H
#define LM_TLS_VIEW_H

#include "base/state.h"

typedef struct {
    PyObject_HEAD
    char *data;
    Py_ssize_t size;
} LmView;

int lm_view_init(PyObject *module, LmState *st);

/* A view of nothing. New reference, NULL with an exception set. */
PyObject *lm_view_new(LmState *st);

/* Points the view at memory that outlives the call it is given to. */
static inline PyObject *
lm_view_at(PyObject *view, const char *data, size_t size)
{
    ((LmView *)view)->data = (char *)data;
    ((LmView *)view)->size = (Py_ssize_t)size;
    return view;
}

#endif
