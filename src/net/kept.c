/* The list of what a loop keeps alive: see kept.h. Letting go may run Python
   (finalizers). */
#include "net/kept.h"

void
lm_kept_init(LmKept *kept, PyObject *obj, void (*let_go)(PyObject *obj))
{
    lm_list_init(&kept->link);
    kept->obj = obj;
    kept->let_go = let_go;
}

void
lm_kept_add(LmLoop *loop, LmKept *kept)
{
    if (lm_list_is_empty(&kept->link)) {
        lm_list_push_back(&loop->kept, &kept->link);
        Py_INCREF(kept->obj);
    }
}

void
lm_kept_remove(LmKept *kept)
{
    if (!lm_list_is_empty(&kept->link)) {
        lm_list_remove(&kept->link);
        Py_DECREF(kept->obj);
    }
}

int
lm_kept_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    if (loop->kept.next == NULL) {
        return 0; /* visited before lm_loop_init */
    }
    for (LmList *link = loop->kept.next; link != &loop->kept; link = link->next) {
        Py_VISIT(LM_CONTAINER_OF(link, LmKept, link)->obj);
    }
    return 0;
}

void
lm_kept_close(LmLoop *loop)
{
    while (!lm_list_is_empty(&loop->kept)) {
        LmKept *kept = LM_CONTAINER_OF(loop->kept.next, LmKept, link);
        PyObject *obj = Py_NewRef(kept->obj);
        kept->let_go(obj);
        lm_kept_remove(kept);
        Py_DECREF(obj);
    }
}
