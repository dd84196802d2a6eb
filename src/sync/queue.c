/* The types Queue, PriorityQueue and LifoQueue: put, get, put_nowait, get_nowait, task_done,
   qsize, empty and full in C; join, shutdown and what shows a queue are asyncio's. See queue.h;
   put() and get() stand in queue_wait.c. */
#include "sync/queue.h"

#include "base/held.h"
#include "base/type_help.h"
#include "sync/method.h"
#include "sync/plain.h"
#include "sync/sync.h"
#include "sync/waiting.h"

/* --- __init__ */

/* locks.Event(), set. */
static PyObject *
new_finished(LmState *st)
{
    PyObject *event = PyObject_CallNoArgs(st->EventType);
    if (event != NULL && lm_done(PyObject_CallMethodNoArgs(event, st->str.set)) < 0) {
        Py_CLEAR(event);
    }
    return event;
}

/* What asyncio's makes, in its order; each is new. */
static int
fill_queue(LmState *st, PyObject *self, PyObject *maxsize)
{
    PyObject *getters = PyObject_CallNoArgs(st->deque);
    PyObject *putters = getters != NULL ? PyObject_CallNoArgs(st->deque) : NULL;
    PyObject *finished = putters != NULL ? new_finished(st) : NULL;
    PyObject *zero = finished != NULL ? PyLong_FromLong(0) : NULL;
    if (zero != NULL) {
        LmQueue *q = lm_queue(self);
        LM_BEGIN_SECTION(self)
        lm_sync_set(&q->maxsize, maxsize);
        lm_sync_set(&q->getters, getters);
        lm_sync_set(&q->putters, putters);
        lm_sync_set(&q->unfinished, zero);
        lm_sync_set(&q->finished, finished);
        LM_END_SECTION
    }
    Py_XDECREF(getters);
    Py_XDECREF(putters);
    Py_XDECREF(finished);
    Py_XDECREF(zero);
    return zero != NULL ? 0 : -1;
}

/* self._init(maxsize), by the name where it is the program's. */
static int
fill_store(LmState *st, PyObject *self, PyObject *maxsize)
{
    int is_plain = lm_plain_is(st, self, LM_BIT(_init), LM_BIT(_init));
    int store = is_plain > 0 ? lm_plain_store(st, self) : is_plain;
    if (store < 0) {
        return -1;
    }
    if (is_plain == 0 || store == LM_STORE_OWN) {
        return lm_done(PyObject_CallMethod(self, "_init", "O", maxsize));
    }
    PyObject *items =
        store == LM_STORE_FIFO ? PyObject_CallNoArgs(st->deque) : PyList_New(0);
    if (items == NULL) {
        return -1;
    }
    LM_BEGIN_SECTION(self)
    lm_sync_set(&lm_queue(self)->queue, items);
    LM_END_SECTION
    Py_DECREF(items);
    return 0;
}

static int
begin_queue(PyObject *self, PyObject *given)
{
    LmState *st = lm_state_of_type(Py_TYPE(self));
    if (st == NULL) {
        return -1;
    }
    PyObject *maxsize = given != NULL ? Py_NewRef(given) : PyLong_FromLong(0);
    int failed = maxsize == NULL || fill_queue(st, self, maxsize) < 0 ||
                 fill_store(st, self, maxsize) < 0;
    Py_XDECREF(maxsize);
    if (!failed && LM_HAS_SHUTDOWN) {
        LM_BEGIN_SECTION(self)
        lm_sync_set(&lm_queue(self)->is_shutdown, Py_False);
        LM_END_SECTION
    }
    return failed ? -1 : 0;
}

#define QUEUE_INIT(function, cls)                                                  \
    static int function(PyObject *self, PyObject *args, PyObject *kwargs)          \
    {                                                                              \
        PyObject *maxsize;                                                         \
        int is_plain =                                                             \
            lm_init_is_plain(self, args, kwargs, offsetof(LmState, asyncio_##cls), \
                             "maxsize", &maxsize);                                 \
        return is_plain > 0 ? begin_queue(self, maxsize) : is_plain;               \
    }

QUEUE_INIT(queue_init, Queue)
QUEUE_INIT(priority_init, PriorityQueue)
QUEUE_INIT(lifo_init, LifoQueue)

/* --- methods */

static PyObject *
raise_empty_or_full(PyObject *kind)
{
    PyErr_SetNone(kind);
    return NULL;
}

static PyObject *
call_put_nowait(LmState *st, PyObject *self, PyObject *item)
{
    LmQueueLook look;
    if (lm_queue_look(st, self, &look) <= 0) {
        return NULL;
    }
    if (LM_UNLIKELY(look.is_shutdown)) {
        return raise_empty_or_full(st->QueueShutDown);
    }
    if (lm_queue_is_full(&look)) {
        return raise_empty_or_full(st->QueueFull);
    }
    return lm_none_if(lm_queue_put(st, self, &look, item));
}

static PyObject *
call_get_nowait(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmQueueLook look;
    if (lm_queue_look(st, self, &look) <= 0) {
        return NULL;
    }
    if (look.size > 0) {
        return lm_queue_get(st, self, &look);
    }
    return raise_empty_or_full(look.is_shutdown ? st->QueueShutDown : st->QueueEmpty);
}

static PyObject *
call_qsize(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmQueueLook look;
    return lm_queue_look(st, self, &look) > 0 ? PyLong_FromSsize_t(look.size) : NULL;
}

static PyObject *
call_empty(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmQueueLook look;
    return lm_queue_look(st, self, &look) > 0 ? PyBool_FromLong(look.size == 0) : NULL;
}

static PyObject *
call_full(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmQueueLook look;
    return lm_queue_look(st, self, &look) > 0 ? PyBool_FromLong(lm_queue_is_full(&look))
                                              : NULL;
}

/* Of small counts: what else there may be is asyncio's function's. */
static PyObject *
call_task_done(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmQueue *q = lm_queue(self);
    if (q->unfinished == NULL || !PyLong_CheckExact(q->unfinished)) {
        return NULL;
    }
    int overflow;
    long count = PyLong_AsLongAndOverflow(q->unfinished, &overflow);
    if (overflow || count <= 0) {
        return NULL; /* asyncio's raises */
    }
    PyObject *finished = Py_XNewRef(q->finished);
    PyObject *less = finished != NULL ? PyLong_FromLong(count - 1) : NULL;
    int failed = less != NULL ? 0 : -1;
    if (less != NULL) {
        lm_sync_set(&q->unfinished, less);
        failed =
            count > 1 ? 0 : lm_done(PyObject_CallMethodNoArgs(finished, st->str.set));
    }
    Py_XDECREF(finished);
    Py_XDECREF(less);
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

/* --- the types */

/* Of each class by itself: what of it is patched is asked of that. */
/* clang-format off */
#define QUEUE_OP(cls, function)                                                    \
    .stock = offsetof(LmState, asyncio_##cls), .name = #function,                  \
    .qualname = "Queue." #function, .own = LM_BIT(function)
#define QUEUE_OPS(cls)                                                             \
    {QUEUE_OP(cls, put), .args = 1,                                                \
     .doc = LM_DOC("put($self, item)",                                             \
                   "Wait until there is room, and put the item in.\n\n"            \
                   "Raises QueueShutDown once it is shut down.\n"                  \
                   "Implements asyncio.Queue.put."),                               \
     .inner = LM_BIT(put_nowait) | LM_BIT(_get_loop) | LM_QUEUE_PUTS,              \
     .step = lm_queue_step_put},                                                   \
    {QUEUE_OP(cls, get),                                                           \
     .doc = LM_DOC("get($self)",                                                   \
                   "Wait until there is an item, take it out and return it.\n\n"   \
                   "Raises QueueShutDown once it is shut down and empty.\n"        \
                   "Implements asyncio.Queue.get."),                               \
     .inner = LM_BIT(get_nowait) | LM_BIT(_get_loop) | LM_QUEUE_GETS,              \
     .step = lm_queue_step_get},                                                   \
    {QUEUE_OP(cls, put_nowait), .args = 1,                                         \
     .doc = LM_DOC("put_nowait($self, item)",                                      \
                   "Put the item in and wake the first who waits for one.\n\n"     \
                   "Raises QueueFull where there is no room, QueueShutDown once "  \
                   "it is shut down. Loop's thread only.\n"                        \
                   "Implements asyncio.Queue.put_nowait."),                        \
     .inner = LM_QUEUE_PUTS, .call = call_put_nowait},                             \
    {QUEUE_OP(cls, get_nowait),                                                    \
     .doc = LM_DOC("get_nowait($self)",                                            \
                   "Take out an item, return it, and wake the first who waits "    \
                   "for room.\n\n"                                                 \
                   "Raises QueueEmpty where there is none, QueueShutDown once it " \
                   "is shut down and empty. Loop's thread only.\n"                 \
                   "Implements asyncio.Queue.get_nowait."),                        \
     .inner = LM_QUEUE_GETS, .call = call_get_nowait},                             \
    {QUEUE_OP(cls, task_done),                                                     \
     .doc = LM_DOC("task_done($self)",                                             \
                   "Count an item as done; the last one wakes who joins.\n\n"      \
                   "Raises ValueError where there were no more. Loop's thread "    \
                   "only. Implements asyncio.Queue.task_done."),                   \
     .call = call_task_done},                                                      \
    {QUEUE_OP(cls, qsize),                                                         \
     .doc = LM_DOC("qsize($self)", "Return how many items there are."),            \
     .call = call_qsize},                                                          \
    {QUEUE_OP(cls, empty),                                                         \
     .doc = LM_DOC("empty($self)", "Return whether there is no item."),            \
     .call = call_empty},                                                          \
    {QUEUE_OP(cls, full),                                                          \
     .doc = LM_DOC("full($self)", "Return whether there is no room for another."), \
     .inner = LM_BIT(qsize), .call = call_full},                                   \
    {.name = NULL}
/* clang-format on */

static const LmOp queue_ops[] = {QUEUE_OPS(Queue)};
static const LmOp priority_ops[] = {QUEUE_OPS(PriorityQueue)};
static const LmOp lifo_ops[] = {QUEUE_OPS(LifoQueue)};

static const PyMemberDef queue_members[] = {
    {"_maxsize", T_OBJECT_EX, offsetof(LmQueue, maxsize), 0, NULL},
    {"_getters", T_OBJECT_EX, offsetof(LmQueue, getters), 0, NULL},
    {"_putters", T_OBJECT_EX, offsetof(LmQueue, putters), 0, NULL},
    {"_unfinished_tasks", T_OBJECT_EX, offsetof(LmQueue, unfinished), 0, NULL},
    {"_finished", T_OBJECT_EX, offsetof(LmQueue, finished), 0, NULL},
    {"_queue", T_OBJECT_EX, offsetof(LmQueue, queue), 0, NULL},
#if LM_HAS_SHUTDOWN
    {"_is_shutdown", T_OBJECT_EX, offsetof(LmQueue, is_shutdown), 0, NULL},
#endif
    {NULL, 0, 0, 0, NULL}};

/* New reference: `spec` with the rest of what a subclass has. */
static PyObject *
new_subclass(PyObject *module, LmState *st, LmSyncSpec spec, PyObject *stock,
             const LmOp *ops)
{
    spec.bases = PyTuple_Pack(2, st->QueueType, stock);
    if (spec.bases == NULL) {
        return NULL;
    }
    spec.size = sizeof(LmQueue);
    PyObject *type = lm_sync_type_new(module, &spec);
    Py_DECREF(spec.bases);
    if (type != NULL && lm_method_add(st, type, ops) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static int
import_queues(LmState *st)
{
    st->QueueEmpty = lm_state_import("asyncio", "QueueEmpty");
    st->QueueFull = lm_state_import("asyncio", "QueueFull");
    st->heappush = lm_state_import("heapq", "heappush");
    st->heappop = lm_state_import("heapq", "heappop");
#if LM_HAS_SHUTDOWN
    st->QueueShutDown = lm_state_import("asyncio", "QueueShutDown");
#else
    st->QueueShutDown = Py_XNewRef(st->QueueEmpty); /* never raised */
#endif
    return st->QueueEmpty && st->QueueFull && st->QueueShutDown && st->heappush &&
                   st->heappop
               ? 0
               : -1;
}

int
lm_queue_init(PyObject *module, LmState *st)
{
    if (import_queues(st) < 0) {
        return -1;
    }
    LmSyncSpec spec = {.name = "loopmod.Queue",
                       .doc = "Queue(maxsize=0)\n--\n\n"
                              "Items that tasks hand to others, first in, first out. "
                              "Implements asyncio.Queue.",
                       .bases = st->asyncio_Queue,
                       .members = queue_members,
                       .size = sizeof(LmQueue),
                       .init = queue_init};
    st->QueueType = lm_sync_type_new(module, &spec);
    if (st->QueueType == NULL || lm_method_add(st, st->QueueType, queue_ops) < 0) {
        return -1;
    }
    st->PriorityQueueType = new_subclass(
        module, st,
        (LmSyncSpec){.name = "loopmod.PriorityQueue",
                     .doc = "PriorityQueue(maxsize=0)\n--\n\n"
                            "A queue that gives the lowest item first. Implements "
                            "asyncio.PriorityQueue.",
                     .init = priority_init},
        st->asyncio_PriorityQueue, priority_ops);
    st->LifoQueueType = new_subclass(
        module, st,
        (LmSyncSpec){.name = "loopmod.LifoQueue",
                     .doc = "LifoQueue(maxsize=0)\n--\n\n"
                            "A queue that gives the last item first. Implements "
                            "asyncio.LifoQueue.",
                     .init = lifo_init},
        st->asyncio_LifoQueue, lifo_ops);
    return st->PriorityQueueType != NULL && st->LifoQueueType != NULL ? 0 : -1;
}
