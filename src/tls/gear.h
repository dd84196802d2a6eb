/* The native gear: OpenSSL's SSL_read and SSL_write, called on the SSL that an SSLObject
   holds. The ssl module's methods let go of the GIL for every record, and beside a busy
   thread each time costs a switch interval to get it back; a record takes microseconds.

   Public API gives no way to the SSL: this file, named in the design, is the one that knows
   where CPython keeps it. What it finds there is compared with what public API says before
   it is used; where anything differs, and in every case but plain success, the public
   methods do the work. They raise what there is to raise: OpenSSL's error queue is left to
   them.

   Without a GIL those methods take the critical section of their object, but let go of it
   while OpenSSL reads and writes. Here it is held all the time: whoever reads or writes by
   the gear holds it. */
#ifndef LM_TLS_GEAR_H
#define LM_TLS_GEAR_H

#include "base/lm.h"

/* Of the OpenSSL that the ssl module uses; all NULL where it cannot be reached. */
typedef struct {
    int (*read)(void *ssl, void *into, int room);
    int (*write)(void *ssl, const void *data, int size);
    int (*get_error)(const void *ssl, int result);
    void *(*get_context)(const void *ssl);
    void *(*get_data)(const void *ssl, int index);
    void (*clear_errors)(void);
} LmTlsGear;

/* LOOPMOD_NATIVE_TLS=0 in the environment leaves it empty. */
void lm_tls_gear_load(LmTlsGear *gear);

/* The SSL of an ssl.SSLObject's `_sslobj` that was made of `context` just now. NULL where
   the public methods have to be used: no exception is set. */
void *lm_tls_gear_find(const LmTlsGear *gear, PyObject *sslobj, PyObject *context);

/* Bytes read; 0 where OpenSSL wants more from the peer first; -1 where the public method
   is to be asked. */
Py_ssize_t lm_tls_gear_read(const LmTlsGear *gear, void *ssl, char *into, size_t room);

/* Bytes written; -1 as above. */
Py_ssize_t lm_tls_gear_write(const LmTlsGear *gear, void *ssl, const char *data,
                             size_t size);

#endif
