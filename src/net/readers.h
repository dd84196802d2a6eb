/* Who is told when a descriptor of the user's is ready: a callback of add_reader or
   add_writer, each time, or an operation on a socket (sockops.h), once. Each direction has
   one of them at most, the last that came. And which descriptors are a transport's. */
#ifndef LM_NET_READERS_H
#define LM_NET_READERS_H

#include "core/loop.h"
#include "core/ready.h"

/* The same of something watched, which may have been closed since. -1 with ValueError
   set. */
int lm_readers_find(LmLoop *loop, PyObject *obj);

/* Watches the descriptor, named by `fileobj`, in one direction (LM_WATCH_READ,
   LM_WATCH_WRITE) with a handle, whose predecessor is cancelled. -1 with an exception
   set. */
int lm_readers_add(LmLoop *loop, PyObject *fileobj, int fd, int direction,
                   PyObject *handle);

/* Runs the handle once, when the descriptor is readable. For one that the caller has just
   opened and closes afterwards: what was left on its number ends, and once that is known
   the kernel is asked nothing else. Once more in the next run where something that leaves
   the loop came out of it (lm_handle_run_last_item). -1 with an exception set. */
int lm_readers_add_once(LmLoop *loop, int fd, PyObject *handle);

/* Calls `run` with the operation, once, when the descriptor is ready; a handle or other
   operation that was there before is replaced. Asking again is the way to wait on. -1 with
   an exception set. */
int lm_readers_wait(LmLoop *loop, int fd, int direction, LmReadyFn run,
                    PyObject *operation);

/* The operation waits no more; no matter where another has taken its place. `is_last`
   where the next is not expected soon. */
void lm_readers_end_wait(LmLoop *loop, int fd, int direction, PyObject *operation,
                         int is_last);

/* 1 where there was one, 0 where not; -1 with an exception set. */
int lm_readers_remove(LmLoop *loop, int fd, int direction);

/* The descriptor was closed: its callback in that direction is called once more, to find
   out. -1 as above. */
int lm_readers_rouse(LmLoop *loop, int fd, int direction);

/* The descriptor number is a transport's or listener's from now on: a callback that was
   left on it when an earlier descriptor of that number was closed ends. -1 as above. */
int lm_readers_forget(LmLoop *loop, int fd);

/* The handle or operation in that direction, borrowed, or NULL. */
PyObject *lm_readers_handle(LmLoop *loop, int fd, int direction);

/* Notes that a transport owns the descriptor; borrowed: it may be dying in another thread,
   but its memory is there until it was dropped here (lm_try_hold). -1 with MemoryError set. */
int lm_readers_set_owner(LmLoop *loop, int fd, PyObject *transport);

/* Forgets it again, unless another has the number by now. Whether it was there. */
int lm_readers_drop_owner(LmLoop *loop, int fd, PyObject *transport);
PyObject *lm_readers_owner(LmLoop *loop, int fd);

int lm_readers_traverse(LmLoop *loop, visitproc visit, void *arg);

/* Stops everything and frees the table. Idempotent. */
void lm_readers_close(LmLoop *loop);

#endif
