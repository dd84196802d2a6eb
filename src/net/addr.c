/* Raw socket addresses as Python shows them: see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stddef.h>

static PyObject *
tuple_of_in6(const struct sockaddr_in6 *in6)
{
    char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
    if (inet_ntop(AF_INET6, &in6->sin6_addr, text, INET6_ADDRSTRLEN) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (in6->sin6_scope_id != 0 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)) {
        size_t length = strlen(text);
        char name[IF_NAMESIZE];
        if (if_indextoname(in6->sin6_scope_id, name) != NULL) {
            snprintf(text + length, sizeof(text) - length, "%%%s", name);
        }
    }
    return Py_BuildValue("siII", text, (int)ntohs(in6->sin6_port),
                         (unsigned int)ntohl(in6->sin6_flowinfo),
                         (unsigned int)in6->sin6_scope_id);
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
    char text[INET_ADDRSTRLEN];
    if (addr->any.sa_family == AF_UNIX) {
        return name_of_un(addr);
    }
    if (addr->any.sa_family == AF_INET6) {
        return tuple_of_in6(&addr->in6);
    }
    if (inet_ntop(AF_INET, &addr->in.sin_addr, text, sizeof(text)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("si", text, (int)ntohs(addr->in.sin_port));
}
