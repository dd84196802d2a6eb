/* What transports over sockets have beyond the life of all: they own their number in the
   loop's eyes, a server may count them, and they have addresses. */
#ifndef LM_NET_TRANSPORT_SOCKET_H
#define LM_NET_TRANSPORT_SOCKET_H

#include "net/transport_make.h"

/* Of a new transport, by its kind's `prepare`. -1 with an exception set. Runs Python. */
int lm_transport_prepare_socket(PyObject *self, const LmTransportParts *parts);

#endif
