/* Raw socket addresses to Python tuples: see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>

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

PyObject *
lm_addr_tuple(const LmAddr *addr)
{
    char text[INET_ADDRSTRLEN];
    if (addr->any.sa_family == AF_INET6) {
        return tuple_of_in6(&addr->in6);
    }
    if (inet_ntop(AF_INET, &addr->in.sin_addr, text, sizeof(text)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("si", text, (int)ntohs(addr->in.sin_port));
}
