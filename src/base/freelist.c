/* Growth and release of the lists of spare instances: see freelist.h. */
#include "base/freelist.h"

#include <stdlib.h>

static int
resize(LmFreelist *list, int capacity)
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
    return resize(list, list->capacity ? list->capacity * 2 : LM_FREELIST_SIZE);
}

void
lm_freelist_trim(LmFreelist *list, void (*release)(PyObject *))
{
    if (list->capacity <= LM_FREELIST_SIZE) {
        return;
    }
    while (list->size > LM_FREELIST_SIZE) {
        release(list->items[--list->size]);
    }
    resize(list, LM_FREELIST_SIZE);
}
