/* What the Python types of transports share: their slots, and with _Transport, the base of
   those over a socket, most methods. */
#ifndef LM_NET_TRANSPORT_TYPE_H
#define LM_NET_TRANSPORT_TYPE_H

#include "net/transport.h"

int lm_transport_init(PyObject *module, LmState *st);

/* A type of transports, added to the module
   under the last part of its name. `bases` is a type or a tuple. */
typedef struct {
    const char *name;
    const char *doc;
    size_t size; /* of the struct behind the base class's fields */
    PyMethodDef *methods;
    PyGetSetDef *getset;
    reprfunc repr;        /* or NULL: as the base's */
    uint8_t has_our_base; /* which has the dict and the weak references */
    unsigned flags;
} LmTransportTypeSpec;

PyObject *lm_transport_type_new(PyObject *module, const LmTransportTypeSpec *spec,
                                PyObject *bases);

#endif
