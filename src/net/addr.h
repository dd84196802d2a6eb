/* Socket addresses: kept raw, shown to Python as the socket module shows them, and taken
   from Python where that needs no look-up. Runs no Python. */
#ifndef LM_NET_ADDR_H
#define LM_NET_ADDR_H

#include "base/lm.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address of the internet families or of AF_UNIX, or family AF_UNSPEC for none
   kept. */
typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t length; /* as the kernel gave it: an AF_UNIX name ends there */
} LmAddr;

enum { LM_ADDR_ROOM = sizeof(struct sockaddr_un) };

static inline int
lm_addr_is_inet(const LmAddr *addr)
{
    return addr->any.sa_family == AF_INET || addr->any.sa_family == AF_INET6;
}

static inline int
lm_addr_is_known(const LmAddr *addr)
{
    return lm_addr_is_inet(addr) || addr->any.sa_family == AF_UNIX;
}

/* What socket.getsockname() gives for a known address: a tuple, or the name of a Unix
   socket. New reference. */
PyObject *lm_addr_show(const LmAddr *addr);

/* Takes an address of an internet family in its plainest form: an exact tuple with a
   numeric host. 0 where it is anything else, which the socket module has to look at; sets
   no exception. */
int lm_addr_parse(PyObject *address, int family, LmAddr *addr);

/* The addresses of a socket's two ends, kept in as many bytes as they have; both of family
   AF_UNSPEC where it is not known. */
typedef struct LmEnds {
    uint8_t local_size;
    uint8_t peer_size;
    char bytes[];
} LmEnds;

/* To be freed by PyMem_Free; NULL with MemoryError set. */
LmEnds *lm_ends_new(const LmAddr *local, const LmAddr *peer);

void lm_ends_local(const LmEnds *ends, LmAddr *addr);
void lm_ends_peer(const LmEnds *ends, LmAddr *addr);

static inline int
lm_addr_same(const LmAddr *one, const LmAddr *other)
{
    return one->length == other->length && memcmp(one, other, one->length) == 0;
}

#endif
