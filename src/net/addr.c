/* Raw socket addresses to Python objects and back: see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <stddef.h>

static PyObject *
tuple_of_in6(const struct sockaddr_in6 *in6)
{
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("siII", text, (int)ntohs(in6->sin6_port),
                         (unsigned int)ntohl(in6->sin6_flowinfo),
                         (unsigned int)in6->sin6_scope_id);
}

static char *
write_byte(char *at, unsigned value)
{
    if (value >= 100) {
        *at++ = (char)('0' + value / 100);
    }
    if (value >= 10) {
        *at++ = (char)('0' + value / 10 % 10);
    }
    *at++ = (char)('0' + value % 10);
    return at;
}

/* A server makes one for each datagram of another peer: no formatting by directives. */
static PyObject *
tuple_of_in(const struct sockaddr_in *in)
{
    const unsigned char *bytes = (const unsigned char *)&in->sin_addr;
    char text[INET_ADDRSTRLEN];
    char *end = write_byte(text, bytes[0]);
    for (int i = 1; i < 4; i++) {
        *end++ = '.';
        end = write_byte(end, bytes[i]);
    }
    PyObject *host = PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, text, end - text);
    PyObject *port = PyLong_FromLong(ntohs(in->sin_port));
    PyObject *tuple = host != NULL && port != NULL ? PyTuple_New(2) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(host);
        Py_XDECREF(port);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, host);
    PyTuple_SET_ITEM(tuple, 1, port);
    return tuple;
}

/* Abstract names begin with a zero byte and are bytes; paths are str, and "" for a socket
   without a name. The kernel counts the zero byte that ends a path, or leaves it out. */
static PyObject *
name_of_un(const LmAddr *addr)
{
    const char *name = addr->un.sun_path;
    size_t start = offsetof(struct sockaddr_un, sun_path);
    size_t length = addr->length > start ? addr->length - start : 0;
    if (length > sizeof(addr->un.sun_path)) {
        length = sizeof(addr->un.sun_path);
    }
    if (length > 0 && name[0] == '\0') {
        return PyBytes_FromStringAndSize(name, (Py_ssize_t)length);
    }
    return PyUnicode_DecodeFSDefaultAndSize(name, (Py_ssize_t)strnlen(name, length));
}

PyObject *
lm_addr_show(const LmAddr *addr)
{
    switch (addr->any.sa_family) {
    case AF_UNIX:
        return name_of_un(addr);
    case AF_INET6:
        return tuple_of_in6(&addr->in6);
    default:
        return tuple_of_in(&addr->in);
    }
}

/* The i-th item of the tuple as a number up to `most`; 0 where it is missing. -1 where it
   is anything else. */
static long long
number_at(PyObject *tuple, Py_ssize_t i, long long most)
{
    if (i >= PyTuple_GET_SIZE(tuple)) {
        return 0;
    }
    PyObject *item = PyTuple_GET_ITEM(tuple, i);
    int overflow = 1;
    long long value =
        PyLong_CheckExact(item) ? PyLong_AsLongLongAndOverflow(item, &overflow) : -1;
    return overflow == 0 && value >= 0 && value <= most ? value : -1;
}

int
lm_addr_parse(PyObject *address, int family, LmAddr *addr)
{
    Py_ssize_t most = family == AF_INET ? 2 : family == AF_INET6 ? 4 : 0;
    if (!PyTuple_CheckExact(address) || PyTuple_GET_SIZE(address) < 2 ||
        PyTuple_GET_SIZE(address) > most) {
        return 0;
    }
    PyObject *host = PyTuple_GET_ITEM(address, 0);
    long long port = number_at(address, 1, 65535);
    long long flow = number_at(address, 2, 0xfffff);
    long long scope = number_at(address, 3, UINT32_MAX);
    if (!PyUnicode_CheckExact(host) || !PyUnicode_IS_ASCII(host) || port < 0 ||
        flow < 0 || scope < 0) {
        return 0;
    }
    const char *text = (const char *)PyUnicode_1BYTE_DATA(host);
    if (strlen(text) != (size_t)PyUnicode_GET_LENGTH(host)) {
        return 0;
    }
    memset(addr, 0, sizeof(*addr));
    addr->any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        addr->in.sin_port = htons((uint16_t)port);
        addr->length = sizeof(struct sockaddr_in);
        return inet_pton(AF_INET, text, &addr->in.sin_addr) == 1;
    }
    addr->in6.sin6_port = htons((uint16_t)port);
    addr->in6.sin6_flowinfo = htonl((uint32_t)flow);
    addr->in6.sin6_scope_id = (uint32_t)scope;
    addr->length = sizeof(struct sockaddr_in6);
    return inet_pton(AF_INET6, text, &addr->in6.sin6_addr) == 1;
}

static size_t
size_of(const LmAddr *addr)
{
    size_t length = addr->length <= LM_ADDR_ROOM ? addr->length : LM_ADDR_ROOM;
    return lm_addr_is_known(addr) ? length : 0;
}

LmEnds *
lm_ends_new(const LmAddr *local, const LmAddr *peer)
{
    size_t local_size = size_of(local), peer_size = size_of(peer);
    LmEnds *ends = PyMem_Malloc(sizeof(*ends) + local_size + peer_size);
    if (ends == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    ends->local_size = (uint8_t)local_size;
    ends->peer_size = (uint8_t)peer_size;
    memcpy(ends->bytes, local, local_size);
    memcpy(ends->bytes + local_size, peer, peer_size);
    return ends;
}

static void
unpack(const char *bytes, size_t size, LmAddr *addr)
{
    memset(addr, 0, sizeof(*addr)); /* AF_UNSPEC is 0 */
    memcpy(addr, bytes, size);
    addr->length = (socklen_t)size;
}

void
lm_ends_local(const LmEnds *ends, LmAddr *addr)
{
    unpack(ends->bytes, ends->local_size, addr);
}

void
lm_ends_peer(const LmEnds *ends, LmAddr *addr)
{
    unpack(ends->bytes + ends->local_size, ends->peer_size, addr);
}
