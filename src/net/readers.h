/* add_reader and add_writer: callbacks on descriptors of the user's; and which
   descriptors are a transport's. */
#ifndef LM_NET_READERS_H
#define LM_NET_READERS_H

#include "core/loop.h"

/* The descriptor of an int or of an object with fileno(). -1 with asyncio's ValueError
   set. */
int lm_readers_fd(PyObject *obj);

/* The same of something watched, which may have been closed since. -1 with ValueError
   set. */
int lm_readers_find(LmLoop *loop, PyObject *obj);

/* Watches the descriptor, named by `fileobj`, in one direction (LM_WATCH_READ,
   LM_WATCH_WRITE) with a handle, whose predecessor is cancelled. -1 with an exception
   set. */
int lm_readers_add(LmLoop *loop, PyObject *fileobj, int fd, int direction,
                   PyObject *handle);

/* 1 where there was one, 0 where not; -1 with an exception set. */
int lm_readers_remove(LmLoop *loop, int fd, int direction);

/* The descriptor number is a transport's or listener's from now on: a callback that was
   left on it when an earlier descriptor of that number was closed ends. -1 as above. */
int lm_readers_forget(LmLoop *loop, int fd);

/* The handle in that direction, borrowed, or NULL. */
PyObject *lm_readers_handle(LmLoop *loop, int fd, int direction);

/* Notes (or, with NULL, forgets) that a transport owns the descriptor; borrowed. -1
   with MemoryError set. */
int lm_readers_set_owner(LmLoop *loop, int fd, PyObject *transport);
PyObject *lm_readers_owner(LmLoop *loop, int fd);

int lm_readers_traverse(LmLoop *loop, visitproc visit, void *arg);

/* Stops everything and frees the table. Idempotent. */
void lm_readers_close(LmLoop *loop);

#endif
