/* Where a Python socket keeps the number of its descriptor, so that a look at it costs a
   read and no call.

   A number is not a file: the program may close the socket that a transport was given, or
   take the descriptor out of it (detach), and the number is somebody else's by the next
   call. So whoever keeps a number compares it with the owner's before each system call,
   and calls the socket's own method where they differ, which raises what is to be raised.

   The public API shows the place of the field behind it (`family`, a member descriptor).
   What stands before it is private; it is looked at in sockets of known numbers when the
   module is imported, and in each socket when it is bound. */
#ifndef LM_NET_SOCK_FD_H
#define LM_NET_SOCK_FD_H

#include "base/state.h"

/* Holds -1 for ever: the place of the number where the methods are to be called always. */
extern const int lm_sock_fd_by_method;

/* Where the number of that socket stands, which is `fd` now: to be read while the socket
   is alive. lm_sock_fd_by_method for what is no socket.socket with the methods of the
   system's sockets, or where the place is not known. */
const int *lm_sock_fd_place(const LmState *st, PyObject *sock, int fd);

/* The place for a watch to look at: NULL where only the methods know. */
static inline const int *
lm_sock_fd_known(const int *place)
{
    return place != &lm_sock_fd_by_method ? place : NULL;
}

int lm_sock_fd_init(LmState *st);

#endif
