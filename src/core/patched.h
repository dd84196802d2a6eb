/* What a program has put in the place of asyncio's own functions and classes, and loops that
   take asyncio's own way for it.

   loopmod/patched.py knows what asyncio has of its own and which methods of ours stand for
   it. Where something of that is patched, those methods give way ("open"): Loop's class gets
   forwarders in their place, which lead to asyncio's function, patched or calling what is.
   From 3.12 on dict watchers tell at once, by on_dict_change, which runs no Python; what was
   opened in vain, or may close again, its first use or the next turn of any loop finds out
   by `settle`.
   Before 3.12 it is looked where a loop is made and where a run begins; functions whose code
   alone was exchanged are found there on every version.

   A loop is told by flags that it looks at anyway, or only on its way to the kernel:

       plain --lm_patched_look_closer--> is_patched == LM_PATCHED_PERHAPS
             --lm_patched_take_turn--> LM_PATCHED, and each turn is one call of _run_once(),
                                       or plain again

   While it is_patched, is_first_turn stays set (no turn leaves out the poll, before which
   the flag is looked at) and is_slow (each item is run by _run() of a handle). */
#ifndef LM_CORE_PATCHED_H
#define LM_CORE_PATCHED_H

#include "core/loop.h"

enum { LM_PLAIN, LM_PATCHED, LM_PATCHED_PERHAPS };

int lm_patched_init(PyObject *module, LmState *st);

/* Takes the tables of loopmod/patched.py: see _watch_patches in loopmod/_loopmod.pyi. */
PyObject *lm_patched_watch(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* The module is gone: nothing is watched for it any more. */
void lm_patched_end(LmState *st);

/* Looks anew where anything was patched: 1 where that was so. Runs Python; -1 with an
   exception set. */
int lm_patched_settle(LmState *st);

/* The same from Python, for a forwarder that is about to be used: only where a watcher has
   told of a patch. */
PyObject *lm_patched_settle_now(PyObject *module, PyObject *unused);

/* A loop is made, or a run begins: the same, and the loop's own overrides. */
int lm_patched_look(LmLoop *loop);

/* The same where something of this name, or its class, was set on the loop; else nothing. */
int lm_patched_look_at(LmLoop *loop, PyObject *name);

/* Any thread with the GIL; runs no Python: the loop's next item and turn are careful. */
void lm_patched_look_closer(LmLoop *loop);

/* The turn of a loop that is_patched: 1 where it is over, 0 where the loop is plain again
   and the turn still to be taken; -1 with an exception that leaves the run. */
int lm_patched_take_turn(LmLoop *loop);

/* The item of the ready queue as a handle of asyncio's or ours: steals the item's
   reference, gives a new one, or NULL with an exception set. */
PyObject *lm_patched_show(LmLoop *loop, LmReadyItem item);

/* The item that runs such a handle by its _run() method. Steals the reference. */
LmReadyItem lm_patched_item(LmLoop *loop, PyObject *handle);

/* What loopmod.queues makes such a handle of, called when it is run: runs the item once. */
PyObject *lm_patched_run_due(PyObject *module, PyObject *capsule);

#if PY_VERSION_HEX < 0x030C0000
/* 1 where a module that has the clock was changed since it was last looked at. */
int lm_patched_is_clock_new(LmState *st);
#else
static inline int
lm_patched_is_clock_new(LmState *st)
{
    (void)st;
    return 0;
}
#endif

#endif
