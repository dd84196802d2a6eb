/* What every room would have to know of CPython's versions: later public API by its name on
   older Pythons, and what the end of an instance takes. What differs for one file alone (the
   registers of tasks, dict watchers) stands there.

   Relies on Python.h only. Everything here is a few lines over public calls; no
   behaviour of ours. */
#ifndef LM_BASE_COMPAT_H
#define LM_BASE_COMPAT_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030B0000
#error "loopmod needs CPython 3.11 or newer"
#endif

#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb != NULL) {
        PyException_SetTraceback(value, tb);
        Py_DECREF(tb);
    }
    Py_DECREF(type);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    PyErr_Restore(Py_NewRef(Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}
#endif

#if PY_VERSION_HEX < 0x030D0000
static inline int
PyObject_GetOptionalAttr(PyObject *obj, PyObject *name, PyObject **result)
{
    *result = PyObject_GetAttr(obj, name);
    if (*result != NULL) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}
#endif

#if PY_VERSION_HEX < 0x030D0000
static inline int
PyObject_GetOptionalAttrString(PyObject *obj, const char *name, PyObject **result)
{
    PyObject *key = PyUnicode_FromString(name);
    *result = NULL;
    int found = key != NULL ? PyObject_GetOptionalAttr(obj, key, result) : -1;
    Py_XDECREF(key);
    return found;
}

static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result)
{
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

static inline int
PyDict_GetItemStringRef(PyObject *dict, const char *name, PyObject **result)
{
    PyObject *key = PyUnicode_FromString(name);
    *result = key != NULL ? Py_XNewRef(PyDict_GetItemWithError(dict, key)) : NULL;
    Py_XDECREF(key);
    return *result != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

static inline int
PyWeakref_GetRef(PyObject *ref, PyObject **object)
{
    PyObject *found = PyWeakref_GetObject(ref);
    *object = found != NULL && found != Py_None ? Py_NewRef(found) : NULL;
    return found == NULL ? -1 : *object != NULL;
}
#endif

/* Instances of the type keep attributes of their own in a dict made on demand, where
   CPython (3.14 and later) would put their values behind the struct. What is kept for reuse
   is sent through the deallocator, which marks that place as not to be used any more: from
   then on the interpreter looks up each attribute of the instance at length. Subclasses in
   Python get that place again, which a debug build asserts to be as in the base: there the
   type keeps it. Before the first instance. */
static inline void
lm_type_drop_inline_values(PyObject *type)
{
#if defined(Py_TPFLAGS_INLINE_VALUES) && !defined(Py_DEBUG)
    ((PyTypeObject *)type)->tp_flags &= ~(unsigned long)Py_TPFLAGS_INLINE_VALUES;
#else
    (void)type;
#endif
}

/* Most objects have no weak reference when they die. For types that allow them. */
static inline void
lm_clear_weakrefs(PyObject *self)
{
    if (*(PyObject **)((char *)self + Py_TYPE(self)->tp_weaklistoffset) != NULL) {
        PyObject_ClearWeakRefs(self);
    }
}

/* Deallocation of an instance of a heap type that has finished with its own fields. */
static inline void
lm_free_instance(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Around a deallocator's releases: a long chain of objects is freed without using up the
   C stack. From 3.14 on CPython does that for every collected type by itself. */
#if PY_VERSION_HEX < 0x030E0000
#define LM_TRASHCAN_BEGIN(self, dealloc) Py_TRASHCAN_BEGIN(self, dealloc)
#define LM_TRASHCAN_END Py_TRASHCAN_END
#else
#define LM_TRASHCAN_BEGIN(self, dealloc) {
#define LM_TRASHCAN_END }
#endif

/* The last part of a type's name, as `type.__name__` gives it for C types. */
static inline const char *
lm_type_name(PyTypeObject *type)
{
    const char *dot = strrchr(type->tp_name, '.');
    return dot != NULL ? dot + 1 : type->tp_name;
}

/* 1 while the interpreter goes down: Python code may fail in any way then. */
static inline int
lm_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* clang-format off */
/* Makes an instance dict visible to the cycle collector where the struct itself holds it. */
#define LM_DICT_MEMBERS(Struct, dict_field, weak_field, base_size)                       \
    {"__dictoffset__", T_PYSSIZET, (base_size) + offsetof(Struct, dict_field), READONLY, \
     NULL},                                                                              \
    {                                                                                    \
        "__weaklistoffset__", T_PYSSIZET, (base_size) + offsetof(Struct, weak_field),    \
            READONLY, NULL                                                               \
    }
/* clang-format on */

/* Words of an asyncio.TimerHandle behind the slots of Handle: two slots; until 3.11 the
   list of weak references too, which later stands before the object. */
#if PY_VERSION_HEX < 0x030C0000
#define LM_HANDLE_UNUSED 3
#else
#define LM_HANDLE_UNUSED 2
#endif

/* Documented, in spite of its name. On failure *bytes is NULL, with an exception set. */
static inline int
lm_bytes_resize(PyObject **bytes, Py_ssize_t size)
{
    return _PyBytes_Resize(bytes, size);
}

#endif
