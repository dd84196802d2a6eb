/* Making and end of the state: see life.h. Its end may run Python (finalizers). */
#include "base/life.h"

LmState *
lm_state_new(void)
{
    LmState *st = PyMem_RawCalloc(1, sizeof(*st));
    LmShared *shared = PyMem_RawCalloc(1, sizeof(*shared));
    if (st == NULL || shared == NULL) {
        PyMem_RawFree(shared);
        PyMem_RawFree(st);
        PyErr_NoMemory();
        return NULL;
    }
    st->shared = shared;
    return lm_state_hold(st);
}

int
lm_state_traverse(LmState *st, visitproc visit, void *arg)
{
#define LM_VISIT(name) Py_VISIT(st->name);
    LM_STATE_OBJECTS(LM_VISIT)
#undef LM_VISIT
    Py_VISIT(st->shared->stream_methods);
    Py_VISIT(st->shared->stream_retired);
    Py_VISIT(st->shared->patch_codes);
    return 0;
}

void
lm_state_free(LmState *st)
{
#define LM_CLEAR(name) Py_CLEAR(st->name);
    LM_STATE_OBJECTS(LM_CLEAR)
#undef LM_CLEAR
#define LM_CLEAR(name) Py_CLEAR(st->str.name);
    LM_STATE_STRINGS(LM_CLEAR)
#undef LM_CLEAR
    Py_CLEAR(st->shared->stream_methods);
    Py_CLEAR(st->shared->stream_retired);
    Py_CLEAR(st->shared->patch_codes);
    PyMem_RawFree(st->shared);
    PyMem_RawFree(st);
}
