/* Patches noticed, and turns that are asyncio's own: see patched.h. Relies on
   loopmod/patched.py for what is whose. */
#include "core/patched.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/ready.h"

#define HAS_WATCHERS (PY_VERSION_HEX >= 0x030C0000)

/* Where the interpreter keeps the last state for the watcher, which is told of no module. */
#define STATE_KEY "loopmod._loopmod.patched"

int
lm_patched_init(PyObject *module LM_UNUSED, LmState *st)
{
    lm_list_init(&st->shared->loops);
    st->patch_watcher = -1;
    return 0;
}

void
lm_patched_look_closer(LmLoop *loop)
{
    LM_STORE(loop->is_plain, 0);
    LM_STORE(loop->has_own_time, 1);
    LM_STORE(loop->is_patched, LM_PATCHED_PERHAPS);
    loop->is_first_turn = 1;
    LM_STORE(loop->is_slow, 1);
}

static void
warn_all_loops(LmState *st)
{
    lm_lock(&st->shared->loops_lock);
    for (LmList *node = st->shared->loops.next; node != &st->shared->loops;
         node = node->next) {
        LmLoop *loop = LM_CONTAINER_OF(node, LmLoop, among);
        if (lm_owner_is_home(loop)) {
            lm_patched_look_closer(loop);
        }
        else {
            lm_inbox_warn(loop);
        }
    }
    lm_unlock(&st->shared->loops_lock);
}

#if HAS_WATCHERS

/* NULL with an exception set, or without one where there is none any more. */
static LmState *
state_of_interpreter(void)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *capsule = NULL;
    if (dict == NULL || PyDict_GetItemStringRef(dict, STATE_KEY, &capsule) <= 0) {
        return NULL;
    }
    LmState *st = PyCapsule_IsValid(capsule, STATE_KEY)
                      ? PyCapsule_GetPointer(capsule, STATE_KEY)
                      : NULL;
    Py_DECREF(capsule); /* the dict holds it */
    return st;
}

static void
stop_watching(LmState *st)
{
    if (st->patch_watcher >= 0 && PyDict_ClearWatcher(st->patch_watcher) < 0) {
        PyErr_Clear(); /* the interpreter has forgotten it */
    }
    st->patch_watcher = -1;
}

/* Called when the interpreter gives up its dict, or another state takes the place. To ask
   for that dict once it is gone would make one, which nobody frees, with the interpreter's
   memory around it: so no watcher may be called from now on. */
static void
stop_with_capsule(PyObject *capsule)
{
    LmState *st = PyCapsule_GetPointer(capsule, STATE_KEY);
    PyObject *exc = lm_exc_hold();
    st->patch_capsule = NULL;
    stop_watching(st);
    lm_exc_put_back(exc);
}

/* The capsule is the interpreter's alone: it ends with its dict. */
static int
keep_state_for_watcher(LmState *st)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *capsule =
        dict != NULL ? PyCapsule_New(st, STATE_KEY, stop_with_capsule) : NULL;
    if (capsule == NULL) {
        return -1;
    }
    st->patch_capsule = capsule; /* borrowed */
    int failed = PyDict_SetItemString(dict, STATE_KEY, capsule);
    Py_DECREF(capsule);
    return failed;
}

static void
end_watch(LmState *st)
{
    stop_watching(st);
    if (st->patch_capsule != NULL) {
        PyCapsule_SetDestructor(st->patch_capsule, NULL);
        PyCapsule_SetName(st->patch_capsule, NULL); /* the interpreter keeps it */
        st->patch_capsule = NULL;
    }
}

/* Gives way: each entry is (class, name, own method, forwarder). A method that the program
   has replaced in that class stays as it is. */
static int
open_methods(PyObject *entries)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(entries); i++) {
        PyObject *owner, *name, *own, *forward;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(entries, i), "OUOO", &owner, &name, &own,
                              &forward)) {
            return -1;
        }
        PyObject *dict = PyType_GetDict((PyTypeObject *)owner);
        PyObject *found = PyDict_GetItemWithError(dict, name);
        Py_DECREF(dict);
        if (found == NULL && PyErr_Occurred()) {
            return -1;
        }
        if (found == own && PyObject_SetAttr(owner, name, forward) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What a change of the key opens: a borrowed tuple, or NULL without an exception. */
static PyObject *
opened_by(LmState *st, PyObject *dict, PyObject *key)
{
    PyObject *dicts = st->patch_dicts;
    for (Py_ssize_t i = 0; dicts != NULL && i < PyTuple_GET_SIZE(dicts); i++) {
        if (PyTuple_GET_ITEM(dicts, i) == dict) {
            return PyDict_GetItemWithError(PyTuple_GET_ITEM(st->patch_opens, i), key);
        }
    }
    return NULL;
}

/* Called before the change, by whatever thread makes it, in the midst of it. Our own dicts
   are among the watched: opening comes back here once. None is what an interpreter that
   ends puts into modules. */
static int
on_dict_change(PyDict_WatchEvent event LM_UNUSED, PyObject *dict, PyObject *key,
               PyObject *value)
{
    if (value == Py_None || lm_is_finalizing()) {
        return 0;
    }
    PyObject *exc = lm_exc_hold();
    LmState *st = state_of_interpreter();
    if (st != NULL && key != NULL && PyUnicode_CheckExact(key)) {
        PyObject *entries = opened_by(st, dict, key);
        if (entries != NULL) {
            if (open_methods(entries) < 0) {
                PyErr_WriteUnraisable(key);
            }
            /* Last: from here to the change the dict stays locked (wait_for_changes). */
            LM_STORE(st->shared->is_patch_new, 1);
            warn_all_loops(st);
        }
    }
    if (st == NULL && PyErr_Occurred()) {
        PyErr_WriteUnraisable(key); /* a patch may stay unnoticed */
    }
    PyErr_Clear();
    lm_exc_restore(exc);
    return 0;
}

static PyObject *
dict_of(PyObject *owner)
{
    return PyType_Check(owner) ? PyType_GetDict((PyTypeObject *)owner)
                               : Py_XNewRef(PyModule_GetDict(owner));
}

/* Where all of the interpreter's watchers are in use, it is looked as before 3.12. */
static int
begin_to_watch(LmState *st)
{
    if (keep_state_for_watcher(st) < 0) {
        return -1;
    }
    st->patch_watcher = PyDict_AddWatcher(on_dict_change);
    if (st->patch_watcher < 0) {
        PyErr_Clear();
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(st->patch_dicts); i++) {
        if (PyDict_Watch(st->patch_watcher, PyTuple_GET_ITEM(st->patch_dicts, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Without a watcher every look is a close one. */
static int
is_any_dict_new(LmState *st)
{
    return st->patch_watcher < 0;
}

#else

static PyObject *
dict_of(PyObject *owner)
{
    return Py_XNewRef(PyType_Check(owner) ? lm_type(owner)->tp_dict
                                          : PyModule_GetDict(owner));
}

static uint64_t
dict_version(LmState *st, Py_ssize_t i)
{
    return ((PyDictObject *)PyTuple_GET_ITEM(st->patch_dicts, i))->ma_version_tag;
}

static void
end_watch(LmState *st LM_UNUSED)
{
}

static int
begin_to_watch(LmState *st)
{
    if (PyTuple_GET_SIZE(st->patch_dicts) > LM_MOST_PATCH_DICTS) {
        PyErr_SetString(PyExc_ValueError, "too many dicts");
        return -1;
    }
    return 0;
}

/* The first of the dicts has the clock. */
int
lm_patched_is_clock_new(LmState *st)
{
    return st->patch_dicts != NULL &&
           st->shared->patch_versions[0] != dict_version(st, 0);
}

static int
is_any_dict_new(LmState *st)
{
    int is_new = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(st->patch_dicts); i++) {
        uint64_t version = dict_version(st, i);
        is_new |= st->shared->patch_versions[i] != version;
        st->shared->patch_versions[i] = version;
    }
    return is_new;
}

#endif

static PyObject *
dicts_of(PyObject *owners)
{
    Py_ssize_t count = PyTuple_Size(owners);
    PyObject *dicts = count >= 0 ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; dicts != NULL && i < count; i++) {
        PyObject *dict = dict_of(PyTuple_GET_ITEM(owners, i));
        if (dict == NULL) {
            Py_CLEAR(dicts);
            return NULL;
        }
        PyTuple_SET_ITEM(dicts, i, dict);
    }
    return dicts;
}

PyObject *
lm_patched_watch(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    LmState *st = lm_state_of_module(module);
    if (nargs != 6 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]) ||
        PyTuple_GET_SIZE(args[0]) != PyTuple_GET_SIZE(args[1]) ||
        PyTuple_GET_SIZE(args[0]) == 0 || st->patch_dicts != NULL) {
        PyErr_SetString(PyExc_TypeError, "_watch_patches() is for loopmod.patched");
        return NULL;
    }
    st->patch_dicts = dicts_of(args[0]);
    st->patch_opens = Py_NewRef(args[1]);
    st->patch_settle = Py_NewRef(args[2]);
    st->patch_handle = Py_NewRef(args[3]);
    st->patch_note_own = Py_NewRef(args[4]);
    st->patch_own_names = Py_NewRef(args[5]);
    Py_ssize_t last = PyTuple_GET_SIZE(args[0]) - 1;
    st->patch_plain_class = Py_NewRef(PyTuple_GET_ITEM(args[0], last));
    st->shared->is_patch_new = 1;
    if (st->patch_dicts == NULL || begin_to_watch(st) < 0) {
        return NULL;
    }
    return lm_none_if(lm_patched_settle(st));
}

void
lm_patched_end(LmState *st)
{
    PyObject *exc = lm_exc_hold();
    end_watch(st);
    lm_exc_put_back(exc);
}

static int
is_any_code_new(LmState *st)
{
    lm_lock(&st->shared->loops_lock);
    PyObject *codes = Py_XNewRef(st->shared->patch_codes);
    lm_unlock(&st->shared->loops_lock);
    int is_new = 0;
    for (Py_ssize_t i = 0; codes != NULL && i < PyTuple_GET_SIZE(codes); i += 2) {
        if (PyFunction_GetCode(PyTuple_GET_ITEM(codes, i)) !=
            PyTuple_GET_ITEM(codes, i + 1)) {
            is_new = 1;
        }
    }
    Py_XDECREF(codes);
    return is_new;
}

/* The watcher is told before a change, within the dict's critical section. So once that
   was free, what was told of is there. With the GIL nobody looks in between. */
static void
wait_for_changes(LmState *st)
{
    for (Py_ssize_t i = 0; LM_FREE_THREADED && i < PyTuple_GET_SIZE(st->patch_dicts);
         i++) {
        LM_BEGIN_SECTION(PyTuple_GET_ITEM(st->patch_dicts, i))
        LM_END_SECTION
    }
}

int
lm_patched_settle(LmState *st)
{
    if (st->patch_settle == NULL || !(LM_LOAD(st->shared->is_patch_new) |
                                      is_any_dict_new(st) | is_any_code_new(st))) {
        return 0;
    }
    LM_STORE(st->shared->is_patch_new, 0); /* first: what is patched meanwhile counts */
    wait_for_changes(st);
    PyObject *found = PyObject_CallNoArgs(st->patch_settle);
    PyObject *codes;
    int is_turn_patched, is_run_patched;
    if (found == NULL || !PyArg_ParseTuple(found, "ppO!", &is_turn_patched,
                                           &is_run_patched, &PyTuple_Type, &codes)) {
        LM_STORE(st->shared->is_patch_new, 1);
        Py_XDECREF(found);
        return -1;
    }
    LM_STORE(st->shared->is_turn_patched, is_turn_patched);
    LM_STORE(st->shared->is_run_patched, is_run_patched);
    lm_lock(&st->shared->loops_lock);
    PyObject *old = st->shared->patch_codes;
    st->shared->patch_codes = Py_NewRef(codes);
    lm_unlock(&st->shared->loops_lock);
    Py_XDECREF(old);
    Py_DECREF(found);
    /* Where no watcher told them. */
    warn_all_loops(st);
    return 1;
}

PyObject *
lm_patched_settle_now(PyObject *module, PyObject *unused LM_UNUSED)
{
    LmState *st = lm_state_of_module(module);
    return LM_LOAD(st->shared->is_patch_new) && lm_patched_settle(st) < 0
               ? NULL
               : Py_NewRef(Py_None);
}

static int
has_patched_turn(const LmLoop *loop)
{
    return LM_LOAD(loop->st->shared->is_turn_patched) || loop->has_own_turn ||
           loop->has_own_select;
}

/* What the loop, or the program's class of it, has of its own counts as patched: for all
   loops, since methods give way in the one class of theirs. */
static int
note_own_methods(LmLoop *loop)
{
    LmState *st = loop->st;
    int has_own, is_new;
    PyObject *found = st->patch_note_own != NULL
                          ? PyObject_CallOneArg(st->patch_note_own, (PyObject *)loop)
                          : NULL;
    if (found == NULL || !PyArg_ParseTuple(found, "pp", &has_own, &is_new)) {
        Py_XDECREF(found);
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_DECREF(found);
    loop->has_own_methods = (uint8_t)has_own;
    if (is_new) {
        LM_STORE(st->shared->is_patch_new, 1);
    }
    return 0;
}

int
lm_patched_look_at(LmLoop *loop, PyObject *name)
{
    PyObject *names = loop->st->patch_own_names;
    int is_looked_at = names != NULL ? PySet_Contains(names, name) : 0;
    if (is_looked_at <= 0) {
        return is_looked_at;
    }
    lm_patched_look_closer(loop);
    return note_own_methods(loop) < 0 ? -1 : lm_patched_look(loop);
}

int
lm_patched_look(LmLoop *loop)
{
    /* A warning is among what other threads have sent. */
    if (lm_ready_take_sent(loop) < 0) {
        return -1;
    }
    int is_plain_class = (PyObject *)Py_TYPE(loop) == loop->st->patch_plain_class;
    if (!is_plain_class && note_own_methods(loop) < 0) {
        return -1;
    }
    if (lm_patched_settle(loop->st) < 0 || lm_loop_note_overrides(loop) < 0) {
        return -1;
    }
    if (has_patched_turn(loop) || LM_LOAD(loop->is_patched)) {
        LM_STORE(loop->is_patched, LM_PATCHED);
        loop->is_first_turn = 1;
        LM_STORE(loop->is_slow, 1);
    }
    return 0;
}

/* The timers that the asyncio's way has kept go back to the heap. */
static int
become_plain(LmLoop *loop)
{
    LM_STORE(loop->is_patched, LM_PLAIN);
    LM_STORE(loop->is_slow, LM_LOAD(loop->is_debug));
    return lm_done(PyObject_CallMethod((PyObject *)loop, "_take_back_timers", NULL));
}

int
lm_patched_take_turn(LmLoop *loop)
{
    lm_loop_leave_task(loop);
    if ((LM_LOAD(loop->is_patched) == LM_PATCHED_PERHAPS ||
         LM_LOAD(loop->st->shared->is_patch_new)) &&
        lm_patched_look(loop) < 0) {
        return -1;
    }
    if (!has_patched_turn(loop)) {
        return become_plain(loop);
    }
    PyObject *done =
        PyObject_CallMethodNoArgs((PyObject *)loop, loop->st->str._run_once);
    lm_loop_leave_task(loop);
    Py_XDECREF(done);
    return done != NULL ? 1 : -1;
}
