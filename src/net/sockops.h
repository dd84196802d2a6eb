/* Operations on a user's socket: what the loop's sock_* coroutines await. Each is one
   awaitable object that is its own iterator; its states are drawn beside their names. */
#ifndef LM_NET_SOCKOPS_H
#define LM_NET_SOCKOPS_H

#include "core/loop.h"

typedef enum {
    LM_SOCK_RECV,
    LM_SOCK_RECV_INTO,
    LM_SOCK_RECVFROM,
    LM_SOCK_RECVFROM_INTO,
    LM_SOCK_ACCEPT,
    LM_SOCK_SENDALL, /* from here on what waits to write */
    LM_SOCK_SENDTO,
    LM_SOCK_CONNECT,
} LmSockKind;

/*     NEW --the call succeeds at once--> DONE -----------------------.
        |                                                             |
        '--it would block--> WAITING --ready and the call succeeds, --+--awaited--> OVER
                                |      or fails: its future is done  |
                                '------throw, close, dealloc---------'

   While it is WAITING it stands in its direction of the descriptor (readers.h), and the task
   waits for its future. Whoever takes that place leaves the future as it is, as in
   asyncio: it is never done then. */
enum { LM_SOCKOP_NEW, LM_SOCKOP_DONE, LM_SOCKOP_WAITING, LM_SOCKOP_OVER };

typedef struct {
    PyObject_HEAD
    LmState *st;
    LmLoop *loop; /* owned, as all objects here; NULL where cleared */
    PyObject *sock;
    PyObject *args[2]; /* of the call, by kind */
    PyObject *outcome; /* DONE: the result; WAITING: the future */
    PyObject *context; /* to run the call in later, where it may be Python code */
    Py_buffer data;    /* sendall: data.obj is NULL where the bytes are not at hand */
    Py_ssize_t sent;   /* sendall: bytes sent so far */
    int fd;            /* WAITING */
    uint8_t kind;
    uint8_t state;
    uint8_t is_retry; /* the call was tried before */
    uint8_t is_ours;  /* the socket is a plain one: the call runs no user's code */
} LmSockOp;

int lm_sockop_init(PyObject *module, LmState *st);

/* Makes asyncio's checks of the socket, tries the call, and waits where it would block.
   `first` and `second` are the call's arguments, or NULL. A new operation to be awaited at
   once, or NULL with an exception set. May run Python. */
PyObject *lm_sockop_start(LmLoop *loop, LmSockKind kind, PyObject *sock,
                          PyObject *first, PyObject *second);

#endif
