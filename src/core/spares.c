/* The end of what a loop keeps for reuse: see spares.h. */
#include "core/spares.h"

#include "core/handle.h"

void
lm_spares_close(LmSpares *spares)
{
    LmFreelist *handles[] = {&spares->handles, &spares->timer_handles,
                             &spares->safe_handles};
    LmFreelist *others[] = {&spares->future_iters, &spares->futures, &spares->tasks,
                            &spares->sock_ops, &spares->coros};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        lm_freelist_close(handles[i], lm_handle_free);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        lm_freelist_close(others[i], lm_free_instance);
    }
    Py_CLEAR(spares->blank_context);
    Py_CLEAR(spares->stop);
}

int
lm_spares_traverse(const LmSpares *spares, visitproc visit, void *arg)
{
    const LmFreelist *lists[] = {&spares->handles,      &spares->timer_handles,
                                 &spares->safe_handles, &spares->future_iters,
                                 &spares->futures,      &spares->tasks,
                                 &spares->sock_ops,     &spares->coros};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        int failed = lm_freelist_traverse(lists[i], visit, arg);
        if (failed) {
            return failed;
        }
    }
    Py_VISIT(spares->blank_context);
    Py_VISIT(spares->stop);
    return 0;
}
