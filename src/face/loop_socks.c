/* Methods of Loop that start an operation on a socket: the coroutines sock_* of loopmod's
   Python side await what they return. Relies on the net room. */
#include "face/loop_type.h"

#include "base/args.h"
#include "net/sockops.h"

/* A method of so many arguments, the socket first. */
#define SOCK_METHOD(name, kind, count)                                     \
    PyObject *lm_loop_method_##name(PyObject *self, PyObject *const *args, \
                                    Py_ssize_t nargs)                      \
    {                                                                      \
        if (lm_args_count("_" #name, nargs, count, count) < 0) {           \
            return NULL;                                                   \
        }                                                                  \
        return lm_sockop_start((LmLoop *)self, kind, args[0],              \
                               (count) > 1 ? args[1] : NULL,               \
                               (count) > 2 ? args[2] : NULL);              \
    }

SOCK_METHOD(start_recv, LM_SOCK_RECV, 2)
SOCK_METHOD(start_recv_into, LM_SOCK_RECV_INTO, 2)
SOCK_METHOD(start_recvfrom, LM_SOCK_RECVFROM, 2)
SOCK_METHOD(start_recvfrom_into, LM_SOCK_RECVFROM_INTO, 3)
SOCK_METHOD(start_accept, LM_SOCK_ACCEPT, 1)
SOCK_METHOD(start_sendall, LM_SOCK_SENDALL, 2)
SOCK_METHOD(start_sendto, LM_SOCK_SENDTO, 3)
SOCK_METHOD(start_connect, LM_SOCK_CONNECT, 2)
