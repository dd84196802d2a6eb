/* What a loop keeps alive: transports that read or write, listeners. Each is linked
   while it has an active watch; the link owns a reference, so that a transport nobody
   names goes on, as in asyncio, and the collector sees it. */
#ifndef LM_NET_KEPT_H
#define LM_NET_KEPT_H

#include "core/loop.h"

typedef struct LmKept {
    LmList link;
    PyObject *obj;                 /* the object this stands in */
    void (*let_go)(PyObject *obj); /* stops its watches; the loop is being closed */
} LmKept;

void lm_kept_init(LmKept *kept, PyObject *obj, void (*let_go)(PyObject *obj));

/* Idempotent, both. Removing may free the object: the caller holds a reference. */
void lm_kept_add(LmLoop *loop, LmKept *kept);
void lm_kept_remove(LmKept *kept);

int lm_kept_traverse(LmLoop *loop, visitproc visit, void *arg);
void lm_kept_close(LmLoop *loop);

#endif
