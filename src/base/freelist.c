/* Growth and end of the lists of spare instances: see freelist.h. */
#include "base/freelist.h"

#include <stdlib.h>

static int
resize_freelist(LmFreelist *list, int capacity)
{
    PyObject **items = realloc(list->items, (size_t)capacity * sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    list->items = items;
    list->capacity = capacity;
    return 0;
}

int
lm_freelist_grow(LmFreelist *list)
{
    if (list->is_closed) {
        return -1;
    }
    return resize_freelist(list,
                           list->capacity ? list->capacity * 2 : LM_FREELIST_SIZE);
}

int
lm_freelist_traverse(const LmFreelist *list, visitproc visit, void *arg)
{
    for (int i = 0; i < list->size; i++) {
        Py_VISIT(Py_TYPE(list->items[i]));
    }
    return 0;
}

void
lm_freelist_close(LmFreelist *list, void (*release)(PyObject *))
{
    while (list->size > 0) {
        release(list->items[--list->size]);
    }
    free(list->items);
    *list = (LmFreelist){.is_closed = 1};
}
