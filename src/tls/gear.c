/* Finding OpenSSL and a connection's SSL: see gear.h. Relies on dlopen. */
#include "tls/gear.h"

#include "base/state.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

/* Without a GIL it is not the layout alone: see knows_guard. */
#define LEAST_VERSION (LM_FREE_THREADED ? 0x030E0000 : 0)
#define FIRST_UNKNOWN (LM_FREE_THREADED ? 0x030F0000 : 0x03100000)

#ifdef Py_TRACE_REFS
#define KNOWS_LAYOUT 0
#else
#define KNOWS_LAYOUT (PY_VERSION_HEX >= LEAST_VERSION && PY_VERSION_HEX < FIRST_UNKNOWN)
#endif

/* OpenSSL's SSL_ERROR_WANT_READ: part of its ABI. */
#define ERROR_WANT_READ 2

/* How `_ssl._SSLSocket` and `_ssl._SSLContext` begin, from 3.11 to 3.15. */
typedef struct {
    PyObject_HEAD
    PyObject *socket; /* NULL in an SSLObject's */
    void *ssl;
    PyObject *context;
} SslSocketHead;

typedef struct {
    PyObject_HEAD
    void *context;
} SslContextHead;

#if LM_FREE_THREADED
/* All of an `_ssl._SSLSocket` of 3.14. */
typedef struct {
    SslSocketHead head;
    char has_seen_zero;
    int end;
    PyObject *owner;
    PyObject *server_hostname;
    int last_errors[2];
    PyObject *exc;
} SslSocket;

/* 1 where the SSL has no guard but the critical section of its object, which is ours to
   take. For a while the ssl module had a mutex beside it, within the object: one of another
   size may have it once more. */
static int
knows_guard(void)
{
    PyObject *type = lm_state_import("_ssl", "_SSLSocket");
    int is_known = type != NULL && PyType_Check(type) &&
                   (size_t)((PyTypeObject *)type)->tp_basicsize == sizeof(SslSocket);
    Py_XDECREF(type);
    PyErr_Clear();
    return is_known;
}
#else
#define knows_guard() 1
#endif

static int
is_wanted(void)
{
    const char *said = getenv("LOOPMOD_NATIVE_TLS");
    return said == NULL || strcmp(said, "0") != 0;
}

/* The extension module, which is loaded: through it, what it is linked to is found and no
   other OpenSSL of the process. NULL where it is built into the interpreter. */
static void *
open_ssl_module(void)
{
    PyObject *path = lm_state_import("_ssl", "__file__");
    PyObject *name = NULL;
    void *library = NULL;
    if (path != NULL && PyUnicode_FSConverter(path, &name)) {
        library = dlopen(PyBytes_AS_STRING(name), RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    }
    PyErr_Clear(); /* what cannot be found is done without */
    Py_XDECREF(name);
    Py_XDECREF(path);
    return library;
}

void
lm_tls_gear_load(LmTlsGear *gear)
{
    static const struct {
        const char *name;
        size_t offset;
    } wanted[] = {
        {"SSL_read", offsetof(LmTlsGear, read)},
        {"SSL_write", offsetof(LmTlsGear, write)},
        {"SSL_get_error", offsetof(LmTlsGear, get_error)},
        {"SSL_get_SSL_CTX", offsetof(LmTlsGear, get_context)},
        {"SSL_get_ex_data", offsetof(LmTlsGear, get_data)},
        {"ERR_clear_error", offsetof(LmTlsGear, clear_errors)},
    };
    memset(gear, 0, sizeof(*gear));
    void *library =
        KNOWS_LAYOUT && is_wanted() && knows_guard() ? open_ssl_module() : NULL;
    if (library == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *symbol = dlsym(library, wanted[i].name);
        if (symbol == NULL) {
            memset(gear, 0, sizeof(*gear));
            break;
        }
        memcpy((char *)gear + wanted[i].offset, &symbol, sizeof(symbol));
    }
    dlclose(library); /* extension modules stay loaded */
}

/* 1 where `obj` is an instance of a type of `_ssl`, at least as large as what is read. */
static int
is_instance_of(PyObject *obj, const char *name, size_t size)
{
    PyObject *type = lm_state_import("_ssl", name);
    int is_instance = type != NULL && PyType_Check(type) &&
                      PyObject_TypeCheck(obj, (PyTypeObject *)type) &&
                      (size_t)((PyTypeObject *)type)->tp_basicsize >= size;
    Py_XDECREF(type);
    PyErr_Clear();
    return is_instance;
}

/* A message callback's exceptions come out of the public methods alone. */
static int
has_message_callback(PyObject *context)
{
    PyObject *callback = PyObject_GetAttrString(context, "_msg_callback");
    int has_one = callback != Py_None;
    Py_XDECREF(callback);
    PyErr_Clear();
    return has_one;
}

static void *
look_into(const LmTlsGear *gear, PyObject *sslobj, PyObject *context)
{
    const SslSocketHead *head = (const SslSocketHead *)sslobj;
    if (head->socket != NULL || head->context != context || head->ssl == NULL) {
        return NULL; /* another layout: the word in between is not touched */
    }
    if (gear->get_context(head->ssl) != ((const SslContextHead *)context)->context ||
        gear->get_data(head->ssl, 0) != sslobj) {
        return NULL;
    }
    return head->ssl;
}

void *
lm_tls_gear_find(const LmTlsGear *gear, PyObject *sslobj, PyObject *context)
{
    if (gear->read == NULL ||
        !is_instance_of(sslobj, "_SSLSocket", sizeof(SslSocketHead)) ||
        !is_instance_of(context, "_SSLContext", sizeof(SslContextHead)) ||
        has_message_callback(context)) {
        return NULL;
    }
    void *ssl;
    LM_BEGIN_SECTION(sslobj)
    ssl = look_into(gear, sslobj, context);
    LM_END_SECTION
    return ssl;
}

Py_ssize_t
lm_tls_gear_read(const LmTlsGear *gear, void *ssl, char *into, size_t room)
{
    gear->clear_errors(); /* SSL_get_error looks at what others left */
    int got = gear->read(ssl, into, room < INT_MAX ? (int)room : INT_MAX);
    if (LM_LIKELY(got > 0)) {
        return got;
    }
    return gear->get_error(ssl, got) == ERROR_WANT_READ ? 0 : -1;
}

Py_ssize_t
lm_tls_gear_write(const LmTlsGear *gear, void *ssl, const char *data, size_t size)
{
    if (LM_UNLIKELY(size == 0)) {
        return -1;
    }
    gear->clear_errors();
    int taken = gear->write(ssl, data, size < INT_MAX ? (int)size : INT_MAX);
    return taken > 0 ? taken : -1;
}
