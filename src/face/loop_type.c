/* The Loop type: slots and the method table. One line per method; bodies stand in the other
   files here, attributes in loop_fields.c. */
#include "face/loop_type.h"

#include "base/type_help.h"
#include "core/inbox.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/timers.h"
#include "net/kept.h"
#include "net/mail.h"
#include "net/readers.h"
#include "os/resolver.h"
#include "os/signals.h"
#include "tls/engine.h"

static PyObject *
loop_new(PyTypeObject *type, PyObject *args LM_UNUSED, PyObject *kwargs LM_UNUSED)
{
    LmState *st = lm_state_of_type(type);
    PyObject *self = st != NULL ? type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        return NULL;
    }
    lm_loop_init((LmLoop *)self, st);
    ((LmLoop *)self)->most_lookups = LM_LOOKUPS;
    if (lm_patched_look((LmLoop *)self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static int
loop_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmLoop *loop = (LmLoop *)self;
    Py_VISIT(Py_TYPE(self));
    int failed = lm_readers_traverse(loop, visit, arg);
    if (failed == 0) {
        failed = lm_kept_traverse(loop, visit, arg);
    }
    if (failed == 0) {
        failed = lm_tls_engine_traverse(loop, visit, arg);
    }
    if (failed == 0) {
        failed = lm_resolver_traverse(loop, visit, arg);
    }
    return failed ? failed : lm_loop_traverse(loop, visit, arg);
}

static int
loop_clear(PyObject *self)
{
    LmLoop *loop = (LmLoop *)self;
    lm_resolver_close(loop);
    lm_kept_close(loop);
    lm_readers_close(loop);
    lm_loop_clear(loop);
    return 0;
}

static void
loop_dealloc(PyObject *self)
{
    LmLoop *loop = (LmLoop *)self;
    PyObject_GC_UnTrack(self);
    lm_loop_leave_others(loop);
    lm_signals_close(loop);
    loop_clear(self);
    lm_loop_close(loop);
    PyMem_RawFree(loop->scratch);
    lm_mail_free(loop->mail);
    lm_tls_engine_free(loop);
    lm_state_free_instance(loop->st, self);
}

static int
note_attribute(LmLoop *loop, PyObject *name, PyObject *value)
{
    LmState *st = loop->st;
    if (name == st->str.time || name == st->str.call_soon || name == st->str.call_at ||
        name == st->str.is_running) {
        return lm_loop_note_overrides(loop);
    }
    if (name == st->str.create_future && lm_loop_note_overrides(loop) < 0) {
        return -1;
    }
    if (name == st->str._selector) {
        LM_STORE(loop->has_own_select, value != NULL && value != Py_None);
        lm_patched_look_closer(loop);
    }
    else if (name == st->str._run_once) {
        lm_patched_look_closer(loop);
    }
    return lm_patched_look_at(loop, name);
}

/* Some methods may be replaced on the instance: the fast paths ask no attribute, so it
   is noted here; by the loop's own thread. */
static int
loop_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    LmLoop *loop = (LmLoop *)self;
    if (PyObject_GenericSetAttr(self, name, value) < 0) {
        return -1;
    }
    int is_taken = lm_owner_begin(loop);
    if (is_taken < 0) {
        PyErr_Clear();
        lm_inbox_warn(loop);
        return 0;
    }
    int failed = note_attribute(loop, name, value);
    if (is_taken > 0) {
        lm_owner_end(loop);
    }
    return failed;
}

static PyObject *
loop_send_joined(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_loop_run_postponed((LmLoop *)self));
}

#define loop_itself(self) ((LmLoop *)(self))
LM_OWNED_METHOD(lm_loop_method_remove_reader, loop_itself)
LM_OWNED_METHOD(lm_loop_method_remove_writer, loop_itself)
LM_OWNED_METHOD(lm_loop_method_watched, loop_itself)
LM_OWNED_METHOD(lm_loop_method_close_core, loop_itself)
LM_OWNED_METHOD(lm_loop_method_watch_signals, loop_itself)
LM_OWNED_METHOD(lm_loop_method_unwatch_signals, loop_itself)
LM_OWNED_METHOD(lm_loop_method_pop_ready, loop_itself)
LM_OWNED_METHOD(lm_loop_method_take_timers, loop_itself)
LM_OWNED_METHOD(lm_loop_method_put_timer, loop_itself)
LM_OWNED_METHOD(lm_loop_method_poll, loop_itself)
LM_OWNED_METHOD(lm_loop_method_run_once, loop_itself)
LM_OWNED_METHOD(loop_send_joined, loop_itself)
LM_OWNED_METHOD(lm_loop_method_look_up, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_make_handle, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_create_task, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_add_reader, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_add_writer, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_start_serving, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_make_socket_transport, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_watch_once, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_recv, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_recv_into, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_recvfrom, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_recvfrom_into, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_accept, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_sendall, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_sendto, loop_itself)
LM_OWNED_POSITIONAL(lm_loop_method_start_connect, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_make_datagram_transport, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_make_read_pipe_transport, loop_itself)
LM_OWNED_FASTCALL(lm_loop_method_make_write_pipe_transport, loop_itself)

static PyMethodDef loop_methods[] = {
    {"run_forever", lm_loop_method_run_forever, METH_NOARGS,
     LM_DOC("run_forever($self)",
            "Run until stop() is called, in the calling thread.\n\n"
            "Raises RuntimeError if it is closed or running, or if another loop runs "
            "in the thread.\n"
            "Implements AbstractEventLoop.run_forever.")},
    {"run_until_complete", LM_FASTCALL(lm_loop_method_run_until_complete),
     LM_DOC("run_until_complete($self, future)",
            "Run until the future or coroutine is done and return its result.\n\n"
            "Within a running loop it raises RuntimeError, unless nested runs are "
            "allowed: then\n"
            "the loop's other work goes on meanwhile. Implements "
            "AbstractEventLoop.run_until_complete.")},
    {"_run_nested", lm_loop_method_run_nested, METH_O,
     LM_DOC("_run_nested($self, future, /)",
            "Run within a running loop until the future is done.")},
    {"stop", lm_loop_method_stop, METH_NOARGS,
     LM_DOC("stop($self)", "End run_forever() when the running turn is over.\n\n"
                           "Loop's thread only. Implements AbstractEventLoop.stop.")},
    {"is_running", lm_loop_method_is_running, METH_NOARGS,
     LM_DOC("is_running($self)", "Return True while run_forever() runs. Any thread.")},
    {"is_closed", lm_loop_method_is_closed, METH_NOARGS,
     LM_DOC("is_closed($self)", "Return True once close() was called. Any thread.")},
    {"call_soon", LM_FASTCALL(lm_loop_method_call_soon),
     LM_DOC("call_soon($self, callback, *args, context=None)",
            "Call callback(*args) in the next turn; return its Handle.\n\n"
            "context: the contextvars.Context to run in; a copy of the current one by "
            "default.\n"
            "Loop's thread only. Implements AbstractEventLoop.call_soon.")},
    {"call_soon_threadsafe", LM_FASTCALL(lm_loop_method_call_soon_threadsafe),
     LM_DOC("call_soon_threadsafe($self, callback, *args, context=None)",
            "Like call_soon, from any thread; wakes the loop.\n\n"
            "Raises RuntimeError if the loop is closed. Implements "
            "AbstractEventLoop.call_soon_threadsafe.")},
    {"call_later", LM_FASTCALL(lm_loop_method_call_later),
     LM_DOC("call_later($self, delay, callback, *args, context=None)",
            "Call callback(*args) after delay seconds, never earlier; return its "
            "TimerHandle.\n\n"
            "Loop's thread only. Implements AbstractEventLoop.call_later.")},
    {"call_at", LM_FASTCALL(lm_loop_method_call_at),
     LM_DOC("call_at($self, when, callback, *args, context=None)",
            "Call callback(*args) at the moment when, in seconds of time(); return its "
            "TimerHandle.\n\n"
            "Equal moments keep the order of the calls. Loop's thread only. Implements "
            "AbstractEventLoop.call_at.")},
    {"_make_handle", LM_FASTCALL(LM_OWNED(lm_loop_method_make_handle)),
     LM_DOC("_make_handle($self, callback, *args, context=None)",
            "Return a Handle that is not queued.")},
    {"create_task", LM_FASTCALL(LM_OWNED(lm_loop_method_create_task)),
     LM_DOC("create_task($self, coro, *, name=None, context=None, **kwargs)",
            "Schedule a coroutine as a Task and return it.\n\n"
            "Loop's thread only. Implements AbstractEventLoop.create_task.")},
    {"create_future", lm_loop_method_create_future, METH_NOARGS,
     LM_DOC("create_future($self)", "Return a pending Future of this loop.\n\n"
                                    "Implements AbstractEventLoop.create_future.")},
    {"time", lm_loop_method_time, METH_NOARGS,
     LM_DOC("time($self)",
            "Return the loop's clock in seconds: time.monotonic(). Any thread.")},
    {"get_debug", lm_loop_method_get_debug, METH_NOARGS,
     LM_DOC("get_debug($self)", "Return True in debug mode.")},
    {"_add_reader", LM_FASTCALL(LM_OWNED(lm_loop_method_add_reader)),
     LM_DOC("_add_reader($self, fd, callback, *args, context=None)",
            "add_reader without its checks; return the Handle.")},
    {"_add_writer", LM_FASTCALL(LM_OWNED(lm_loop_method_add_writer)),
     LM_DOC("_add_writer($self, fd, callback, *args, context=None)",
            "add_writer without its checks; return the Handle.")},
    {"_watch_once", LM_POSITIONAL(LM_OWNED(lm_loop_method_watch_once)),
     LM_DOC(
         "_watch_once($self, fd, callback, /)",
         "Run the callback once, when a descriptor that the caller has just opened is "
         "readable, and again where KeyboardInterrupt left it; return the Handle.")},
    {"_remove_reader", LM_OWNED(lm_loop_method_remove_reader), METH_O,
     LM_DOC("_remove_reader($self, fd, /)",
            "Stop watching fd for reading; return whether it was.")},
    {"_remove_writer", LM_OWNED(lm_loop_method_remove_writer), METH_O,
     LM_DOC("_remove_writer($self, fd, /)",
            "Stop watching fd for writing; return whether it was.")},
    {"_watched", LM_OWNED(lm_loop_method_watched), METH_O,
     LM_DOC("_watched($self, fd, /)",
            "Return (reader handle, writer handle, owning transport) of fd, each or "
            "None.")},
    {"_start_serving_native", LM_FASTCALL(LM_OWNED(lm_loop_method_start_serving)),
     LM_DOC("_start_serving_native($self, protocol_factory, sock, server, backlog, "
            "context=None)",
            "Accept connections of a listening socket; return the listener.")},
    {"_make_socket_transport",
     LM_FASTCALL(LM_OWNED(lm_loop_method_make_socket_transport)),
     LM_DOC("_make_socket_transport($self, sock, protocol, waiter=None, *, extra=None, "
            "server=None, context=None)",
            "Return a transport over a connected, non-blocking stream socket.")},
    {"_start_recv", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_recv)),
     LM_DOC("_start_recv($self, sock, size, /)",
            "Start sock_recv; return what to await.")},
    {"_start_recv_into", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_recv_into)),
     LM_DOC("_start_recv_into($self, sock, buffer, /)",
            "Start sock_recv_into; return what to await.")},
    {"_start_recvfrom", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_recvfrom)),
     LM_DOC("_start_recvfrom($self, sock, size, /)",
            "Start sock_recvfrom; return what to await.")},
    {"_start_recvfrom_into",
     LM_POSITIONAL(LM_OWNED(lm_loop_method_start_recvfrom_into)),
     LM_DOC("_start_recvfrom_into($self, sock, buffer, size, /)",
            "Start sock_recvfrom_into; return what to await.")},
    {"_start_accept", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_accept)),
     LM_DOC("_start_accept($self, sock, /)",
            "Start sock_accept; return what to await.")},
    {"_start_sendall", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_sendall)),
     LM_DOC("_start_sendall($self, sock, data, /)",
            "Start sock_sendall; return what to await.")},
    {"_start_sendto", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_sendto)),
     LM_DOC("_start_sendto($self, sock, data, address, /)",
            "Start sock_sendto; return what to await.")},
    {"_start_connect", LM_POSITIONAL(LM_OWNED(lm_loop_method_start_connect)),
     LM_DOC("_start_connect($self, sock, address, /)",
            "Start sock_connect; return what to await.")},
    {"_make_datagram_transport",
     LM_FASTCALL(LM_OWNED(lm_loop_method_make_datagram_transport)),
     LM_DOC(
         "_make_datagram_transport($self, sock, protocol, address=None, waiter=None, "
         "extra=None)",
         "Return a transport over a non-blocking datagram socket.")},
    {"_make_read_pipe_transport",
     LM_FASTCALL(LM_OWNED(lm_loop_method_make_read_pipe_transport)),
     LM_DOC("_make_read_pipe_transport($self, pipe, protocol, waiter=None, extra=None)",
            "Return a transport that reads from a file object and owns it.")},
    {"_make_write_pipe_transport",
     LM_FASTCALL(LM_OWNED(lm_loop_method_make_write_pipe_transport)),
     LM_DOC(
         "_make_write_pipe_transport($self, pipe, protocol, waiter=None, extra=None)",
         "Return a transport that writes to a file object and owns it.")},
    {"_close_core", LM_OWNED(lm_loop_method_close_core), METH_NOARGS,
     LM_DOC("_close_core($self)",
            "Drop everything scheduled and watched and close the poll.")},
    {"_watch_signals", LM_OWNED(lm_loop_method_watch_signals), METH_NOARGS,
     LM_DOC("_watch_signals($self)",
            "Take the signal wakeup descriptor until _unwatch_signals().")},
    {"_unwatch_signals", LM_OWNED(lm_loop_method_unwatch_signals), METH_NOARGS,
     LM_DOC("_unwatch_signals($self)", "Give the signal wakeup descriptor back.")},
    {"_pop_ready", LM_OWNED(lm_loop_method_pop_ready), METH_NOARGS,
     LM_DOC("_pop_ready($self)", "Return what is ready first as a handle, or None.")},
    {"_push_ready", lm_loop_method_push_ready, METH_O,
     LM_DOC("_push_ready($self, handle, /)",
            "Append a handle to what is ready. Any thread.")},
    {"_take_timers", LM_OWNED(lm_loop_method_take_timers), METH_NOARGS,
     LM_DOC("_take_timers($self)",
            "Return the timers, which are no longer waited for.")},
    {"_put_timer", LM_OWNED(lm_loop_method_put_timer), METH_O,
     LM_DOC("_put_timer($self, handle, /)", "Wait for a timer that was taken.")},
    {"_poll", LM_OWNED(lm_loop_method_poll), METH_O,
     LM_DOC("_poll($self, timeout, /)", "Wait; return handles for what fired.")},
    {"_run_once", LM_OWNED(lm_loop_method_run_once), METH_NOARGS,
     LM_DOC("_run_once($self)",
            "Run one turn: for those who drive a loop by asyncio's private method.")},
    {"_send_joined", LM_OWNED(loop_send_joined), METH_NOARGS,
     LM_DOC("_send_joined($self)", "Send what is joined now.")},
    {"_look_up", LM_OWNED(lm_loop_method_look_up), METH_VARARGS,
     LM_DOC("_look_up($self, host, service, family, type, proto, flags, /)",
            "Return a future of what the system answers, or None where no thread can "
            "ask it.")},
    {NULL, NULL, 0, NULL}};

PyObject *
lm_loop_own_methods(PyObject *module, PyObject *loop_class)
{
    PyTypeObject *type = (PyTypeObject *)loop_class;
    LmState *st = lm_state_of_module(module);
    if (!PyType_Check(loop_class) || !PyType_IsSubtype(type, lm_type(st->LoopType))) {
        PyErr_Format(PyExc_TypeError, "a subclass of Loop was expected, got %R",
                     loop_class);
        return NULL;
    }
    for (PyMethodDef *def = loop_methods; def->ml_name != NULL; def++) {
        PyObject *method = PyDescr_NewMethod(type, def);
        int failed = method == NULL ||
                     PyObject_SetAttrString(loop_class, def->ml_name, method) < 0;
        Py_XDECREF(method);
        if (failed) {
            return NULL;
        }
    }
    return Py_NewRef(loop_class);
}

static PyType_Slot loop_slots[] = {{Py_tp_doc, "The C part of loopmod.Loop."},
                                   {Py_tp_new, loop_new},
                                   {Py_tp_dealloc, loop_dealloc},
                                   {Py_tp_traverse, loop_traverse},
                                   {Py_tp_clear, loop_clear},
                                   {Py_tp_setattro, loop_setattro},
                                   {Py_tp_methods, loop_methods},
                                   {Py_tp_getset, lm_loop_getset},
                                   {0, NULL}};

static PyType_Spec loop_spec = {
    .name = "loopmod._loopmod.Loop",
    .basicsize = sizeof(LmLoop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_slots,
};

int
lm_loop_type_init(PyObject *module, LmState *st)
{
    st->get_running_loop_or_none = lm_state_import("_asyncio", "_get_running_loop");
    st->set_running_loop = lm_state_import("_asyncio", "_set_running_loop");
    st->get_asyncgen_hooks = lm_state_import("sys", "get_asyncgen_hooks");
    st->set_asyncgen_hooks = lm_state_import("sys", "set_asyncgen_hooks");
    if (!st->get_running_loop_or_none || !st->set_running_loop ||
        !st->get_asyncgen_hooks || !st->set_asyncgen_hooks) {
        return -1;
    }
    st->LoopType = PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    if (st->LoopType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Loop", st->LoopType);
}
