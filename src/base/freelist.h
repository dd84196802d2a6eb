/* Instances that wait for reuse: allocated, untracked, with no references but that to their
   type, which they keep: so what is taken and given back counts nothing that threads share.

   Relies on the caller for the objects: their type has the collector's header. Runs no
   Python. */
#ifndef LM_BASE_FREELIST_H
#define LM_BASE_FREELIST_H

#include "base/threads.h"

/* What a list keeps in any case, and where few are in use at a time. */
#define LM_FREELIST_SIZE 256

typedef struct {
    PyObject **items;
    int size;
    int capacity;
    int is_closed; /* takes no more */
} LmFreelist;

/* 0, or -1 where memory is out or the list is closed (no exception is set). */
int lm_freelist_grow(LmFreelist *list);

/* Frees all that is there, each with its type by `release`, for good. */
void lm_freelist_close(LmFreelist *list, void (*release)(PyObject *));

/* Visits the types. */
int lm_freelist_traverse(const LmFreelist *list, visitproc visit, void *arg);

/* New reference to an instance, which is of the type, NULL where none waits. Fields are as
   they were.
   Without a GIL a thread that has no list gives NULL for it, here and below. */
static inline PyObject *
lm_freelist_take(LmFreelist *list, PyTypeObject *type)
{
    if (LM_UNLIKELY((LM_FREE_THREADED && list == NULL) || list->size == 0)) {
        return NULL;
    }
    PyObject *obj = list->items[--list->size];
    if (list->size >= LM_AHEAD) {
        lm_prefetch(list->items[list->size - LM_AHEAD]);
    }
    /* It has its type: one that nobody counts is what it is begun as. */
    PyObject_Init(obj, &PyBaseObject_Type);
    Py_SET_TYPE(obj, type);
    return obj;
}

/* New reference to an instance whose fields are zero; NULL with MemoryError set. The caller
   tracks it once it is whole: a debug interpreter traverses what begins to be tracked. */
static inline PyObject *
lm_freelist_alloc(LmFreelist *list, PyTypeObject *type)
{
    PyObject *obj = lm_freelist_take(list, type);
    if (LM_UNLIKELY(obj == NULL)) {
        obj = type->tp_alloc(type, 0);
        if (obj != NULL) {
            PyObject_GC_UnTrack(obj);
        }
        return obj;
    }
    memset(obj + 1, 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    return obj;
}

/* 1 where the dead object was kept, with its type, 0 where the caller has to free both. */
static inline int
lm_freelist_give(LmFreelist *list, PyObject *obj, int most)
{
    if (LM_FREE_THREADED && LM_UNLIKELY(list == NULL)) {
        return 0;
    }
    if (LM_UNLIKELY(list->size == list->capacity) &&
        (list->size >= most || lm_freelist_grow(list) < 0)) {
        return 0;
    }
    list->items[list->size++] = obj;
    return 1;
}

#endif
