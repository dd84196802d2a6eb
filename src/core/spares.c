/* The end of what a loop keeps for reuse: see spares.h. */
#include "core/spares.h"

#include "core/handle.h"

static void
free_spare(PyObject *obj)
{
    Py_TYPE(obj)->tp_free(obj);
}

void
lm_spares_close(LmSpares *spares)
{
    LmFreelist *handles[] = {&spares->handles, &spares->timer_handles,
                             &spares->safe_handles};
    LmFreelist *others[] = {&spares->future_iters, &spares->tasks, &spares->sock_ops};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        lm_freelist_close(handles[i], lm_handle_free);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        lm_freelist_close(others[i], free_spare);
    }
    Py_CLEAR(spares->blank_context);
}
