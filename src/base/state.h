/* Everything the module holds per interpreter: types, the stdlib objects that C code
   needs, interned names.

   There is no other global state. Objects of ours keep a pointer to it, so hot paths
   never look it up; who keeps it alive stands in life.h. It is written while the package is
   imported, and by the end of the module: what changes in between is in a block of its own
   (shared.h). Each list below is written once and gives the struct's fields. */
#ifndef LM_BASE_STATE_H
#define LM_BASE_STATE_H

#include "base/lm.h"
#include "base/names.h"
#include "base/ring.h"
#include "base/shared.h"

/* clang-format off */
/* Owned references; NULL until the room that owns the entry has been initialised. */
#define LM_STATE_OBJECTS(X)                                                               \
    /* types of ours */                                                                   \
    X(LoopType)                                                                           \
    X(FutureType)                                                                         \
    X(FutureIterType)                                                                     \
    X(TaskType)                                                                           \
    X(HandleType)                                                                         \
    X(TimerHandleType)                                                                    \
    X(SafeHandleType)                                                                     \
    X(TransportType)                                                                      \
    X(SocketTransportType)                                                                \
    X(DatagramTransportType)                                                              \
    X(ReadPipeType)                                                                       \
    X(WritePipeType)                                                                      \
    X(ListenerType)                                                                       \
    X(SockOpType)                                                                         \
    X(ServerCoreType)                                                                     \
    X(SSLProtocolType)                                                                    \
    X(SSLTransportType)                                                                   \
    X(ViewType)                                                                           \
    X(CoroType)                                                                           \
    X(MethodType)                                                                         \
    X(EventType)                                                                          \
    X(LockType)                                                                           \
    X(SemaphoreType)                                                                      \
    X(BoundedSemaphoreType)                                                               \
    X(QueueType)                                                                          \
    X(PriorityQueueType)                                                                  \
    X(LifoQueueType)                                                                      \
    /* asyncio's classes */                                                               \
    X(asyncio_Future)                                                                     \
    X(asyncio_Task)                                                                       \
    X(asyncio_TimerHandle)                                                                \
    X(asyncio_BufferedProtocol)                                                           \
    X(asyncio_FlowControlMixin)                                                           \
    X(asyncio_StreamReader)                                                               \
    X(asyncio_StreamReaderProtocol)                                                       \
    X(asyncio_Event)                                                                      \
    X(asyncio_Lock)                                                                       \
    X(asyncio_Semaphore)                                                                  \
    X(asyncio_BoundedSemaphore)                                                           \
    X(asyncio_Queue)                                                                      \
    X(asyncio_PriorityQueue)                                                              \
    X(asyncio_LifoQueue)                                                                  \
    X(QueueEmpty)                                                                         \
    X(QueueFull)                                                                          \
    X(QueueShutDown)                                                                      \
    X(AbstractEventLoop)                                                                  \
    X(CancelledError)                                                                     \
    X(InvalidStateError)                                                                  \
    /* asyncio's functions and registers, by version (task/registry.c) */                 \
    X(get_running_loop_or_none)                                                           \
    X(set_running_loop)                                                                   \
    X(get_event_loop)                                                                     \
    X(current_tasks)       /* 3.11-3.13: dict {loop: task} */                             \
    X(swap_current_task)   /* 3.14+ */                                                    \
    X(python_tasks)        /* 3.14+ */                                                    \
    X(scheduled_tasks)     /* WeakSet.data, or NULL */                                    \
    X(register_task)                                                                      \
    X(unregister_task)                                                                    \
    X(add_to_awaited_by)   /* 3.14+ */                                                    \
    X(discard_awaited_by)  /* 3.14+ */                                                    \
    X(get_asyncgen_hooks)                                                                 \
    X(set_asyncgen_hooks)                                                                 \
    X(set_origin_depth)                                                                   \
    X(get_origin_depth)                                                                   \
    X(iscoroutine)                                                                        \
    X(eager_factory)       /* a tuple (task/factory.c), or NULL */                        \
    /* the socket module's socket class, asyncio's TransportSocket */                     \
    X(socket_class)                                                                       \
    X(socket_module)                                                                      \
    /* (name, method, ...) of the socket type (net/sock_fd.c) */                           \
    X(socket_methods)                                                                     \
    X(TransportSocket)                                                                    \
    /* the socket type's own methods (net/sock_calls.c), asyncio's check */                \
    X(socket_recv)                                                                        \
    X(socket_recv_into)                                                                   \
    X(socket_send)                                                                        \
    X(check_ssl_socket)                                                                   \
    /* a stdlib future whose result is None, to wake stdlib tasks with (task/waiters.c) */ \
    X(finished_future)                                                                    \
    /* what a program has patched (core/patched.h): dicts that are watched, by each what a change \
       opens; who looks, makes a handle; Loop, who looks at what it has of its own, names */ \
    X(patch_dicts)                                                                        \
    X(patch_opens)                                                                        \
    X(patch_settle)                                                                       \
    X(patch_handle)                                                                       \
    X(patch_plain_class)                                                                  \
    X(patch_note_own)                                                                     \
    X(patch_own_names)                                                                    \
    /* the dict of loopmod._support: what is cold enough to be Python */                  \
    X(support)                                                                            \
    X(run_once) /* its function that does nothing, to be called (core/switch.h) */        \
    /* collections.deque, what instances may hide, marks of coroutine functions (sync/) */\
    X(deque)                                                                              \
    X(heappush)                                                                           \
    X(heappop)                                                                            \
    X(sync_hooks)                                                                         \
    X(coroutine_marks)                                                                    \
    /* keyword-name tuples for vectorcalls */                                             \
    X(kw_context)                                                                         \
    X(kw_hooks)

/* clang-format on */
/* Where a stdlib task keeps what inspectors read (task/mirror.c); offsets in bytes. */
typedef struct {
    Py_ssize_t coro;
    Py_ssize_t name;
    Py_ssize_t awaited_by;
    Py_ssize_t is_task;
    Py_ssize_t thread; /* without a GIL: whose list the task stands in; or 0 */
    int is_known;
} LmMirror;

typedef struct LmState {
    char before[LM_CACHE_LINE]; /* no neighbour's writes beside what all look at */
#define LM_FIELD(name) PyObject *name;
    LM_STATE_OBJECTS(LM_FIELD)
    struct {
        LM_STATE_STRINGS(LM_FIELD)
    } str;
#undef LM_FIELD

    LmShared *shared;
    LmMirror mirror;
    const struct LmNativeProtocol *native_protocol;        /* of SSLProtocolType */
    PyCFunction deque_append, deque_popleft, deque_remove; /* of exact deques */
    int semaphore_loops;       /* how a semaphore's wait ends (sync/semaphore.c) */
    Py_ssize_t sock_fd_offset; /* of a socket's number, or 0: net/sock_fd.h */
    int patch_watcher;         /* the dict watcher, or -1 */
    PyObject *patch_capsule;   /* borrowed: this state, for the watcher; or NULL */
    LmReadyFn step_task;       /* steps a task that is ready: task/step.c */
    PyMethodDef *wake_task; /* the callable that does it for a foreign loop or future */
    char after[LM_CACHE_LINE];
} LmState;

static inline PyTypeObject *
lm_type(PyObject *type)
{
    return (PyTypeObject *)type;
}

/* Where fields of ours begin behind those of a base. */
static inline Py_ssize_t
lm_offset_behind(PyObject *base)
{
    return (lm_type(base)->tp_basicsize + 7) & ~(Py_ssize_t)7;
}

/* Keeps an offset in a word of all interpreters. Each finds the same; the first alone writes
   it, since the others' threads look at it. */
static inline void
lm_offset_keep(Py_ssize_t *place, Py_ssize_t offset)
{
    if (__atomic_load_n(place, __ATOMIC_RELAXED) != offset) {
        __atomic_store_n(place, offset, __ATOMIC_RELAXED);
    }
}

/* The module's definition, by whose address its types are known. module.c completes it. */
extern struct PyModuleDef lm_module;

/* Where our structs begin in the instances of types that derive from asyncio's: set once, at
   import, to the same in every interpreter. */
extern Py_ssize_t lm_handle_offset, lm_future_offset, lm_task_offset,
    lm_transport_offset;

/* That of our module: NULL before it was executed. */
static inline LmState *
lm_state_of_module(PyObject *module)
{
    return *(LmState **)PyModule_GetState(module);
}

/* Sets what no room owns: names and the cold functions. asyncio has been imported. */
int lm_state_fill(LmState *st);

/* That of the module that made `type` or one of its bases; NULL with TypeError set. */
LmState *lm_state_of_type(PyTypeObject *type);

/* An attribute of a module, by name, as a new reference. */
PyObject *lm_state_import(const char *module, const char *name);

/* Calls loopmod._support.<name>(*args): the door to the cold paths that are written in
   Python. New reference. */
PyObject *lm_state_support(LmState *st, const char *name, const char *format, ...);

#endif
