/* Preparing transports over sockets: see transport_socket.h. */
#include "net/transport_socket.h"

#include "base/held.h"
#include "net/readers.h"
#include "net/server.h"
#include "net/transport_extra.h"

#include <sys/socket.h>

/* A callback that was left on an earlier descriptor of that number ends. */
static int
take_number(PyObject *self, int fd)
{
    LmLoop *loop = lm_transport(self)->loop;
    return lm_readers_forget(loop, fd) < 0 ? -1 : lm_readers_set_owner(loop, fd, self);
}

static int
join_server(PyObject *self, PyObject *server)
{
    LmTransport *t = lm_transport(self);
    if (server == NULL) {
        return 0;
    }
    if (lm_server_attach(t->st, server, self, &t->server_link) < 0) {
        return -1;
    }
    t->server = Py_NewRef(server);
    return lm_transport_check_lives(t);
}

/* Of an object with methods of its own they are what its methods say. */
static int
ask_addresses(LmTransport *t, const LmAddr *known_peer)
{
    LmAddr local, peer;
    local.length = peer.length = LM_ADDR_ROOM;
    if (!lm_transport_owns_fd(t)) {
        local.any.sa_family = peer.any.sa_family = AF_UNSPEC;
        t->ends = lm_ends_new(&local, &peer);
        return t->ends != NULL ? 0 : -1;
    }
    if (getsockname(t->fd, &local.any, &local.length) < 0) {
        local.any.sa_family = AF_UNSPEC;
    }
    if (known_peer == NULL && getpeername(t->fd, &peer.any, &peer.length) < 0) {
        peer.any.sa_family = AF_UNSPEC;
    }
    t->ends = lm_ends_new(&local, known_peer != NULL ? known_peer : &peer);
    return t->ends != NULL ? 0 : -1;
}

/* Asked for at once, as asyncio does, where somebody's own methods are called. */
static int
show_all(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    return lm_transport_owns_fd(t) ? 0 : lm_done(lm_transport_get_extra(self, NULL));
}

/* The server comes last, as in asyncio: one of another class is shown the transport. */
int
lm_transport_prepare_socket(PyObject *self, const LmTransportParts *parts)
{
    return take_number(self, parts->fd) < 0 ||
                   ask_addresses(lm_transport(self), parts->peer) < 0 ||
                   show_all(self) < 0
               ? -1
               : join_server(self, parts->server);
}
