/* Exceptions that no caller is there to take: they go to the loop's exception handler.

   Each call but those that say so takes the exception that is set. It returns 0 where the
   handler has had it, and -1 with an exception set where one has to leave run_forever:
   SystemExit, KeyboardInterrupt, or what escaped the handler itself. All of them run
   Python. */
#ifndef LM_CORE_FAULT_H
#define LM_CORE_FAULT_H

#include "core/loop.h"

/* The callback of a handle raised: asyncio's message and context keys. */
int lm_fault_in_callback(LmLoop *loop, PyObject *handle);

/* call_exception_handler of any loop object with {"message": message, "exception": the
   one that is set} and the key-value pairs that follow, at most four, ended by NULL; pairs
   with a NULL value are left out. Loop and values need not be held by the caller. */
int lm_fault_report(PyObject *loop, LmState *st, const char *message, ...);

/* Whether the exception that is set, and stays so, is about what there may be enough of
   later (memory, descriptors, the kernel's watches), and not about who asks. */
int lm_fault_is_shortage(void);

/* What there was not enough of is asked for again: calls `callback` after the time that
   asyncio's servers take for that. Takes no exception: none may be set. -1 with one set
   where it failed. */
int lm_fault_retry_later(LmLoop *loop, PyObject *callback);

/* A transport is dropped without being closed: asyncio's ResourceWarning, from the place and
   with the class name that filters written for asyncio know. For finalizers: leaves no
   exception; none may be set. */
void lm_fault_unclosed(LmState *st, PyObject *transport);

#endif
