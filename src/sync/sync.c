/* The room's types, in order: see sync.h. */
#include "sync/sync.h"

#include "sync/coro.h"
#include "sync/fields.h"
#include "sync/method.h"
#include "sync/plain.h"

int
lm_sync_init(PyObject *module, LmState *st)
{
    if (lm_coro_init(module, st) < 0 || lm_method_init(module, st) < 0 ||
        lm_plain_init(st) < 0 || lm_fields_init(st) < 0) {
        return -1;
    }
    if (lm_event_init(module, st) < 0 || lm_lock_init(module, st) < 0 ||
        lm_semaphore_init(module, st) < 0 || lm_queue_init(module, st) < 0) {
        return -1;
    }
    return lm_plain_note_types(st);
}
