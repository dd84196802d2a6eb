/* The part of CPython that the proven files use, as a model: an object is a reference count and
   a type, nothing fails but where a proof says so.

   Stands for the real Python.h in tests/proofs alone, which says in its README.md what the
   model promises. Made to agree with what CPython documents, no more. */
#ifndef PROOFS_PYTHON_H
#define PROOFS_PYTHON_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define PY_VERSION_HEX 0x030E00F0

typedef ssize_t Py_ssize_t;
typedef struct PyTypeObject PyTypeObject;

typedef struct {
    Py_ssize_t ob_refcnt;
    PyTypeObject *ob_type;
} PyObject;

struct PyTypeObject {
    const char *tp_name;
    Py_ssize_t tp_basicsize;
    Py_ssize_t tp_weaklistoffset;
    unsigned long tp_flags;
    PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t);
    void (*tp_free)(void *);
};

typedef int (*visitproc)(PyObject *, void *);

/* What a reference's end may do: a proof may let it call back. */
static void on_release(PyObject *obj);

static inline void
Py_INCREF(PyObject *obj)
{
    obj->ob_refcnt++;
}

static inline void
drop_reference(PyObject *obj)
{
    assert(obj->ob_refcnt > 0);
    obj->ob_refcnt--;
    on_release(obj);
}

#define Py_DECREF(obj) drop_reference((PyObject *)(obj))

static inline void
Py_XDECREF(PyObject *obj)
{
    if (obj != NULL) {
        Py_DECREF(obj);
    }
}

static inline PyObject *
Py_NewRef(PyObject *obj)
{
    Py_INCREF(obj);
    return obj;
}

static inline PyObject *
Py_XNewRef(PyObject *obj)
{
    return obj != NULL ? Py_NewRef(obj) : NULL;
}

#define Py_TYPE(obj) ((obj)->ob_type)
#define Py_SET_TYPE(obj, type) ((void)((obj)->ob_type = (type)))
#define Py_VISIT(obj)                                      \
    do {                                                   \
        if ((obj) != NULL) {                               \
            int visited = visit((PyObject *)(obj), (arg)); \
            if (visited != 0) {                            \
                return visited;                            \
            }                                              \
        }                                                  \
    } while (0)

/* A type that nobody counts. */
static PyTypeObject PyBaseObject_Type;

static inline PyObject *
PyObject_Init(PyObject *obj, PyTypeObject *type)
{
    obj->ob_refcnt = 1;
    obj->ob_type = type;
    return obj;
}

/* Whether the object is tracked is nothing that is proven. */
static inline void
PyObject_GC_UnTrack(void *obj)
{
    (void)obj;
}

static int memory_errors;

static inline PyObject *
PyErr_NoMemory(void)
{
    memory_errors++;
    return NULL;
}

/* What compat.h writes with and no proof calls. */
void PyObject_ClearWeakRefs(PyObject *);
int Py_IsFinalizing(void);
int _PyBytes_Resize(PyObject **, Py_ssize_t);

/* Exact bytes, of which a proof looks at where they lie and how many they are. */
#define MOST_BYTES 4

typedef struct {
    PyObject ob_base;
    Py_ssize_t ob_size;
    char ob_sval[MOST_BYTES];
} PyBytesObject;

extern PyTypeObject PyBytes_Type;

#define PyBytes_CheckExact(obj) (Py_TYPE(obj) == &PyBytes_Type)
#define PyBytes_AS_STRING(obj) (((PyBytesObject *)(obj))->ob_sval)
#define PyBytes_GET_SIZE(obj) (((PyBytesObject *)(obj))->ob_size)

static PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size);

/* A view, of which a proof looks at what it shows: NULL where that is nobody's. */
typedef struct {
    PyObject ob_base;
    PyObject *shown;
} PyMemoryViewObject;

extern PyTypeObject PyMemoryView_Type;

#define PyMemoryView_Check(obj) (Py_TYPE(obj) == &PyMemoryView_Type)
#define PyMemoryView_GET_BASE(obj) (((PyMemoryViewObject *)(obj))->shown)

/* An iterable of bytes-like objects. */
typedef struct {
    void *buf;
    Py_ssize_t len;
    PyObject *obj;
} Py_buffer;

#define PyBUF_SIMPLE 0

static int PyObject_GetBuffer(PyObject *obj, Py_buffer *view, int flags);
static void PyBuffer_Release(Py_buffer *view);
static PyObject *PySequence_Fast(PyObject *pieces, const char *complaint);
static Py_ssize_t PySequence_Fast_GET_SIZE(PyObject *list);
static PyObject *PySequence_Fast_GET_ITEM(PyObject *list, Py_ssize_t i);

#endif
