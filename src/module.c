/* The module: per-interpreter state and the initialisation of every room in order.

   Multi-phase and free of process-wide state, so that each interpreter may import it. The
   module keeps a pointer to the state, which may outlive it: see base/life.h. */
#include "base/state.h"

#include "base/life.h"
#include "base/type_help.h"
#include "core/handle.h"
#include "core/patched.h"
#include "face/loop_type.h"
#include "net/datagram.h"
#include "net/listener.h"
#include "net/pipe.h"
#include "net/server.h"
#include "net/sockops.h"
#include "net/stream.h"
#include "net/transport_type.h"
#include "os/resolver.h"
#include "poll/facts.h"
#include "sync/sync.h"
#include "task/factory.h"
#include "task/future.h"
#include "task/future_iter.h"
#include "task/mirror.h"
#include "task/task.h"
#include "tls/tls.h"

static int
module_exec(PyObject *module)
{
    static int (*const rooms[])(PyObject *, LmState *) = {
        lm_patched_init, lm_handle_init,    lm_future_init,    lm_future_iter_init,
        lm_task_init,    lm_transport_init, lm_stream_init,    lm_datagram_init,
        lm_pipe_init,    lm_server_init,    lm_listener_init,  lm_sockop_init,
        lm_tls_init,     lm_factory_init,   lm_loop_type_init, lm_sync_init,
    };
    LmState *st = lm_state_new();
    if (st == NULL) {
        return -1;
    }
    *(LmState **)PyModule_GetState(module) = st;
    /* asyncio before _asyncio: the other order leaves Python twins of its functions in
       place on 3.12 and 3.13. */
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    if (asyncio == NULL) {
        return -1;
    }
    Py_DECREF(asyncio);
    if (lm_state_fill(st) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        if (rooms[i](module, st) < 0) {
            return -1;
        }
    }
    return PyModule_AddStringConstant(module, "__version__", LOOPMOD_VERSION);
}

static PyObject *
allow_nested_runs(PyObject *module, PyObject *unused LM_UNUSED)
{
    LM_STORE(lm_state_of_module(module)->shared->nesting_allowed, 1);
    Py_RETURN_NONE;
}

/* Asked of a poll made for the purpose: what the system gives is known when it was asked. */
static PyObject *
facts(PyObject *module, PyObject *unused LM_UNUSED)
{
    LmPoll poll;
    LmPollFacts facts;
    lm_poll_init(&poll);
    if (lm_poll_open(&poll) < 0) {
        return NULL;
    }
    lm_poll_facts(&poll, &facts);
    lm_poll_close(&poll);
    LmTlsGear gear;
    lm_tls_gear_load(&gear);
    return Py_BuildValue(
        "{s(ii)sNsssNsNsNsNsNsN}", "libev", facts.libev_major, facts.libev_minor,
        "is_embedded", PyBool_FromLong(facts.is_embedded), "backend", facts.backend,
        "has_alarm", PyBool_FromLong(facts.has_alarm), "has_once",
        PyBool_FromLong(facts.has_once), "knows_set", PyBool_FromLong(facts.knows_set),
        "has_eventfd", PyBool_FromLong(facts.has_eventfd), "shows_tasks",
        PyBool_FromLong(lm_mirror_is_known(lm_state_of_module(module))),
        "reaches_openssl", PyBool_FromLong(gear.read != NULL));
}

static PyMethodDef module_methods[] = {
    {"_allow_nested_runs", allow_nested_runs, METH_NOARGS,
     LM_DOC("_allow_nested_runs($module)",
            "Let loops run within a running loop from now on.")},
    {"_own_methods", lm_loop_own_methods, METH_O,
     LM_DOC("_own_methods($module, loop_class, /)",
            "Give a subclass of Loop its methods in descriptors of its own, and "
            "return it.")},
    {"_watch_patches", LM_POSITIONAL(lm_patched_watch),
     LM_DOC(
         "_watch_patches($module, owners, opens, settle, make_handle, note_own, own_names, /)",
         "Notice from now on what is patched, for loopmod/patched.py.")},
    {"_settle_patches", lm_patched_settle_now, METH_NOARGS,
     LM_DOC("_settle_patches($module)", "Look anew where anything was patched.")},
    {"_run_due", lm_patched_run_due, METH_O,
     LM_DOC("_run_due($module, due, /)",
            "Run an item of the ready queue that was taken out of it.")},
    {"_end_idle_lookups", lm_resolver_end_idle, METH_NOARGS,
     LM_DOC("_end_idle_lookups($module)",
            "End the threads of look-ups that have nothing to do.")},
    {"_facts", facts, METH_NOARGS,
     LM_DOC("_facts($module)", "What the loop runs on, for loopmod/info.py.")},
    {NULL, NULL, 0, NULL}};

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    LmState *st = lm_state_of_module(module);
    return st != NULL ? lm_state_traverse(st, visit, arg) : 0;
}

/* There is no m_clear: types own the module, and give it up when they are cleared. */
static void
module_free(void *module)
{
    LmState *st = lm_state_of_module(module);
    if (st != NULL) {
        lm_patched_end(st);
        lm_state_drop(st);
    }
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};

PyMODINIT_FUNC
PyInit__loopmod(void)
{
    /* The same in every interpreter. */
    lm_module.m_methods = module_methods;
    lm_module.m_slots = module_slots;
    lm_module.m_traverse = module_traverse;
    lm_module.m_free = module_free;
    return PyModuleDef_Init(&lm_module);
}
