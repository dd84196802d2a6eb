/* Socket addresses: kept raw per connection, shown to Python as the socket module shows
   them. */
#ifndef LM_NET_ADDR_H
#define LM_NET_ADDR_H

#include "base/lm.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* An address of the internet families, or family AF_UNSPEC for none kept. */
typedef union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} LmAddr;

static inline int
lm_addr_is_inet(const LmAddr *addr)
{
    return addr->any.sa_family == AF_INET || addr->any.sa_family == AF_INET6;
}

/* The tuple that socket.getsockname() gives, of an internet address. New reference. */
PyObject *lm_addr_tuple(const LmAddr *addr);

#endif
