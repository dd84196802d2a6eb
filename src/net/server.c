/* ServerCore: see server.h. loopmod.Server combines it with asyncio's own Server class,
   whose semantics by version it keeps; what runs per connection is here. */
#include "net/server.h"

#include "base/held.h"
#include "base/type_help.h"
#include "net/transport.h"

typedef struct {
    PyObject_HEAD
    /* Both within a critical section of the server's: transports die in any thread. */
    LmList clients;   /* transports by their server_link; borrowed */
    Py_ssize_t count; /* with those of other kinds, which are only counted */
} ServerCore;

static ServerCore *
core_of(LmState *st, PyObject *server)
{
    return PyObject_TypeCheck(server, lm_type(st->ServerCoreType))
               ? (ServerCore *)server
               : NULL;
}

/* asyncio's convention by version, for servers of other classes. */
static int
call_foreign(PyObject *server, const char *name, PyObject *transport)
{
#if PY_VERSION_HEX >= 0x030D0000
    return lm_done(PyObject_CallMethod(server, name, "O", transport));
#else
    (void)transport;
    return lm_done(PyObject_CallMethod(server, name, NULL));
#endif
}

/* Whether close() was called. -1 with an exception set. */
static int
is_closed(LmState *st, PyObject *server)
{
    PyObject *sockets = PyObject_GetAttr(server, st->str._sockets);
    Py_XDECREF(sockets);
    return sockets != NULL ? sockets == Py_None : -1;
}

/* asyncio asserts the same: a closed server may have told its waiters that all is over. */
static int
check_server_open(LmState *st, PyObject *server)
{
    int closed = is_closed(st, server);
    if (closed > 0) {
        PyErr_SetString(PyExc_AssertionError, "the server is closed");
    }
    return closed == 0 ? 0 : -1;
}

int
lm_server_attach(LmState *st, PyObject *server, PyObject *transport, LmList *link)
{
    ServerCore *core = core_of(st, server);
    if (core == NULL) {
        return call_foreign(server, "_attach", transport);
    }
    if (check_server_open(st, server) < 0) {
        return -1;
    }
    lm_note_borrowed(transport);
    LM_BEGIN_SECTION(server)
    lm_list_push_back(&core->clients, link);
    core->count++;
    LM_END_SECTION
    return 0;
}

static Py_ssize_t
count_down(ServerCore *core, LmList *link)
{
    Py_ssize_t left;
    LM_BEGIN_SECTION(core)
    if (link != NULL) {
        lm_list_remove(link);
    }
    core->count -= core->count > 0;
    left = core->count;
    LM_END_SECTION
    return left;
}

void
lm_server_forget(PyObject *server, LmList *link)
{
    if (!lm_list_is_empty(link)) {
        count_down((ServerCore *)server, link);
    }
}

static int
wake_if_over(LmState *st, ServerCore *core, Py_ssize_t left)
{
    if (left > 0) {
        return 0;
    }
    PyObject *server = (PyObject *)core;
    int closed = is_closed(st, server);
    if (closed <= 0) {
        return closed;
    }
    return lm_done(PyObject_CallMethodNoArgs(server, st->str._wakeup));
}

int
lm_server_detach(LmState *st, PyObject *server, PyObject *transport, LmList *link)
{
    ServerCore *core = core_of(st, server);
    if (core == NULL) {
        return call_foreign(server, "_detach", transport);
    }
    return wake_if_over(st, core, count_down(core, link));
}

static PyObject *
core_new(PyTypeObject *type, PyObject *args LM_UNUSED, PyObject *kwargs LM_UNUSED)
{
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        lm_list_init(&((ServerCore *)self)->clients);
    }
    return self;
}

static int
core_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void
core_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    /* Transports own their server: none is left in the list. */
    lm_free_instance(self);
}

static PyObject *
core_attach(PyObject *self, PyObject *const *args LM_UNUSED, Py_ssize_t nargs LM_UNUSED)
{
    LmState *st = lm_state_of_type(Py_TYPE(self));
    if (st == NULL || check_server_open(st, self) < 0) {
        return NULL;
    }
    LM_BEGIN_SECTION(self)
    ((ServerCore *)self)->count++;
    LM_END_SECTION
    Py_RETURN_NONE;
}

static PyObject *
core_detach(PyObject *self, PyObject *const *args LM_UNUSED, Py_ssize_t nargs LM_UNUSED)
{
    ServerCore *core = (ServerCore *)self;
    LmState *st = lm_state_of_type(Py_TYPE(self));
    if (st == NULL || wake_if_over(st, core, count_down(core, NULL)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Those that live, into a list. */
static int
collect_clients(ServerCore *core, PyObject *list)
{
    int failed = 0;
    for (LmList *link = core->clients.next; failed == 0 && link != &core->clients;
         link = link->next) {
        PyObject *client = lm_transport_of_server_link(link);
        if (lm_try_hold(client)) {
            failed = PyList_Append(list, client);
            Py_DECREF(client);
        }
    }
    return failed;
}

static PyObject *
get_clients(PyObject *self, void *closure LM_UNUSED)
{
    PyObject *list = PyList_New(0);
    int failed = list != NULL ? 0 : -1;
    if (failed == 0) {
        LM_BEGIN_SECTION(self)
        failed = collect_clients((ServerCore *)self, list);
        LM_END_SECTION
    }
    PyObject *set = failed == 0 ? PySet_New(list) : NULL;
    Py_XDECREF(list);
    return set;
}

static PyObject *
get_active_count(PyObject *self, void *closure LM_UNUSED)
{
    Py_ssize_t count;
    LM_BEGIN_SECTION(self)
    count = ((ServerCore *)self)->count;
    LM_END_SECTION
    return PyLong_FromSsize_t(count);
}

/* asyncio's __init__ sets its own registers of connections; ours is kept here. */
static int
ignore_value(PyObject *self LM_UNUSED, PyObject *value LM_UNUSED,
             void *closure LM_UNUSED)
{
    return 0;
}

static PyMethodDef core_methods[] = {
    {"_attach", LM_POSITIONAL(core_attach),
     "_attach($self, transport=None, /)\n--\n\nCount a connection."},
    {"_detach", LM_POSITIONAL(core_detach),
     "_detach($self, transport=None, /)\n--\n\nA counted connection is over."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef core_getset[] = {
    {"_clients", get_clients, ignore_value, NULL, NULL},
    {"_active_count", get_active_count, ignore_value, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot core_slots[] = {{Py_tp_doc, "The C part of loopmod.Server."},
                                   {Py_tp_new, core_new},
                                   {Py_tp_dealloc, core_dealloc},
                                   {Py_tp_traverse, core_traverse},
                                   {Py_tp_methods, core_methods},
                                   {Py_tp_getset, core_getset},
                                   {0, NULL}};

static PyType_Spec core_spec = {
    .name = "loopmod._loopmod.ServerCore",
    .basicsize = sizeof(ServerCore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = core_slots,
};

int
lm_server_init(PyObject *module, LmState *st)
{
    st->ServerCoreType = PyType_FromModuleAndSpec(module, &core_spec, NULL);
    if (st->ServerCoreType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "ServerCore", st->ServerCoreType);
}
