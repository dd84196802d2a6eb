/* Making and end of the state: see life.h. Its end may run Python (finalizers). */
#include "base/life.h"

LmState *
lm_state_new(void)
{
    LmState *st = PyMem_RawCalloc(1, sizeof(*st));
    if (st == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    return lm_state_hold(st);
}

int
lm_state_traverse(LmState *st, visitproc visit, void *arg)
{
#define LM_VISIT(name) Py_VISIT(st->name);
    LM_STATE_OBJECTS(LM_VISIT)
#undef LM_VISIT
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
    PyMem_RawFree(st);
}
