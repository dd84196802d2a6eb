/* The methods of the room's types: descriptors that find the module's state in themselves,
   decide whether C does the work (plain.h), and give a coroutine where asyncio's method is a
   coroutine function, which inspect and mock can tell by a mark. */
#ifndef LM_SYNC_METHOD_H
#define LM_SYNC_METHOD_H

#include "sync/op.h"

int lm_method_init(PyObject *module, LmState *st);

/* Gives the type a method for each table, up to one without a name. -1 with an exception. */
int lm_method_add(LmState *st, PyObject *type, const LmOp *ops);

#endif
