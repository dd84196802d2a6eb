/* Judging of classes, and the loop that an operation waits on: see plain.h. Relies on
   loopmod/sync_methods.py. */
#include "sync/plain.h"

static PyObject *
names_of_bits(void)
{
#define LM_QUOTED(name) #name,
    static const char *const names[] = {LM_SYNC_NAMES(LM_QUOTED)};
#undef LM_QUOTED
    PyObject *tuple = PyTuple_New(LM_SYNC_NAME_COUNT);
    for (int i = 0; tuple != NULL && i < LM_SYNC_NAME_COUNT; i++) {
        PyObject *name = PyUnicode_InternFromString(names[i]);
        if (name == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, name);
    }
    return tuple;
}

int
lm_plain_init(LmState *st)
{
    const struct {
        const char *module, *name;
        PyObject **place;
    } classes[] = {
        {"asyncio.locks", "Event", &st->asyncio_Event},
        {"asyncio.locks", "Lock", &st->asyncio_Lock},
        {"asyncio.locks", "Semaphore", &st->asyncio_Semaphore},
        {"asyncio.locks", "BoundedSemaphore", &st->asyncio_BoundedSemaphore},
        {"asyncio.queues", "Queue", &st->asyncio_Queue},
        {"asyncio.queues", "PriorityQueue", &st->asyncio_PriorityQueue},
        {"asyncio.queues", "LifoQueue", &st->asyncio_LifoQueue},
    };
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        *classes[i].place = lm_state_import(classes[i].module, classes[i].name);
        if (*classes[i].place == NULL) {
            return -1;
        }
    }
    return 0;
}

int
lm_plain_note_types(LmState *st)
{
    PyObject *names = names_of_bits();
    PyObject *found =
        names == NULL ? NULL
                      : lm_state_support(st, "note_sync_types", "NOOOOOOO", names,
                                         st->EventType, st->LockType, st->SemaphoreType,
                                         st->BoundedSemaphoreType, st->QueueType,
                                         st->PriorityQueueType, st->LifoQueueType);
    if (found == NULL) {
        return -1;
    }
    st->sync_hooks = found;
    return 0;
}

/* Its bits, and those of what is patched, as (int, int). */
static int
ask_for_bits(LmState *st, PyTypeObject *type, unsigned long *bits)
{
    PyObject *found = lm_state_support(st, "judge_sync_class", "O", type);
    unsigned long patched = 0;
    int failed = found == NULL || !PyArg_ParseTuple(found, "kk", bits, &patched);
    Py_XDECREF(found);
    if (!failed) {
        LM_STORE(st->shared->sync_patched, (uint32_t)patched);
    }
    return failed ? -1 : 0;
}

int64_t
lm_plain_judge(LmState *st, PyTypeObject *type)
{
    /* The look-up gives it a version, if it can still have one. */
    PyObject *name = PyObject_GetAttr((PyObject *)type, st->str._loop);
    Py_XDECREF(name);
    PyErr_Clear();
    uint32_t version = LM_LOAD(type->tp_version_tag);
    if (version == 0) {
        return UINT32_MAX;
    }
    unsigned long bits;
    if (ask_for_bits(st, type, &bits) < 0) {
        return -1;
    }
    if (LM_LOAD(type->tp_version_tag) == version) {
        LM_STORE(st->shared->sync_verdicts[version % LM_SYNC_VERDICTS],
                 (uint64_t)version << 32 | (uint32_t)bits);
    }
    return (int64_t)(uint32_t)bits;
}

int
lm_plain_has_own(PyObject *self)
{
    const LmSync *s = lm_sync(self);
    if (LM_LOAD(s->may_hide) == LM_SYNC_HIDES) {
        return 1;
    }
    /* Somebody has its dict, and may put in anything. */
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    if (dict == NULL) {
        PyErr_Clear();
        return 1;
    }
    int has_any = PyDict_Size(dict) != 0;
    Py_DECREF(dict);
    return has_any;
}

static int
is_plain_loop(const LmLoop *loop)
{
    return LM_LIKELY(LM_LOAD(loop->is_plain) && !LM_LOAD(loop->is_slow) &&
                     !LM_LOAD(loop->has_own_future));
}

/* As asyncio says. */
static LmLoop *
ask_for_loop(LmState *st)
{
    PyObject *found = PyObject_CallNoArgs(st->get_running_loop_or_none);
    if (found != NULL && (PyObject *)Py_TYPE(found) == st->patch_plain_class &&
        is_plain_loop((LmLoop *)found)) {
        return (LmLoop *)found;
    }
    Py_XDECREF(found);
    return NULL;
}

#if LM_FREE_THREADED
LmLoop *
lm_plain_loop(LmState *st)
{
    return ask_for_loop(st);
}
#else
/* Asking costs as much as a coroutine does; so the last answer is kept until a run of that
   loop ends. It is this thread's while the loop says that this thread runs it. */
LmLoop *
lm_plain_loop(LmState *st)
{
    LmLoop *loop = st->shared->running;
    unsigned long me = PyThread_get_thread_ident();
    if (LM_LIKELY(loop != NULL && loop->thread_id == me)) {
        return is_plain_loop(loop) ? (LmLoop *)Py_NewRef(loop) : NULL;
    }
    loop = ask_for_loop(st);
    if (loop != NULL && loop->thread_id == me) {
        st->shared->running = loop;
    }
    return loop;
}
#endif

LmLoop *
lm_plain_bound_loop(LmState *st, PyObject *self)
{
    LmLoop *loop = ask_for_loop(st);
    if (loop == NULL) {
        return NULL;
    }
    LmSync *s = lm_sync(self);
    if (s->loop == NULL || s->loop == Py_None) {
        lm_sync_set(&s->loop, (PyObject *)loop);
    }
    else if (LM_UNLIKELY(s->loop != (PyObject *)loop)) {
        Py_CLEAR(loop);
    }
    return loop;
}
