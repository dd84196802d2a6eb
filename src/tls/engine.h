/* What all TLS connections of a loop share: one pair of MemoryBIO, the buffer that
   sockets are read into and what is needed of the ssl module.

   An SSLObject keeps the pair it was made with, and a MemoryBIO never gives memory back:
   with one pair for all, an idle connection holds nothing there. So the pair is empty
   between operations. An operation is what stands between lm_tls_engine_enter and
   lm_tls_engine_leave; within it run no callbacks but OpenSSL's (SNI, key log, messages).
   One of those may begin another operation: that finds an empty pair, and the outer one
   gets its bytes back. */
#ifndef LM_TLS_ENGINE_H
#define LM_TLS_ENGINE_H

#include "core/loop.h"
#include "tls/gear.h"
#include "tls/records.h"

/* Of the buffer that the socket is read into. */
#define LM_TLS_BUFFER_SIZE (256 * 1024)

typedef struct LmTlsEngine {
    PyObject *incoming;
    PyObject *outgoing;
    PyObject *feed;      /* incoming.write */
    PyObject *drain;     /* incoming.read */
    PyObject *take;      /* outgoing.read */
    PyObject *view;      /* exports whatever memory it is pointed at (view.h) */
    PyObject *ssl_names; /* the ssl module's dict */
    PyObject *SSLObject;
    PyObject *SSLSocket; /* _ssl's type behind each SSLObject */
    PyObject *SSLError;
    PyObject *SSLWantReadError;
    PyObject *SSLSyscallError;
    PyObject *CertificateError;
    LmTlsGear gear;
    char *received; /* what a socket gave, used between a recv and its processing */
    unsigned long busy_thread; /* 0 outside operations */
    uint8_t is_fed;            /* there may be bytes in `incoming` */
} LmTlsEngine;

/* What an operation within another one puts aside. */
typedef struct {
    int is_nested;
    PyObject *incoming;
    PyObject *outgoing;
    const char *viewed; /* what the view was pointed at, and has to be again */
    size_t viewed_size;
} LmTlsOuter;

int lm_tls_engine_init(PyObject *module, LmState *st);

/* The loop's, made when first asked for: imports ssl. NULL with an exception set. */
LmTlsEngine *lm_tls_engine_of(LmLoop *loop);
void lm_tls_engine_free(LmLoop *loop);

/* Visits what the loop's owns: the names of the ssl module lead to the whole program. */
int lm_tls_engine_traverse(LmLoop *loop, visitproc visit, void *arg);

/* -1 with RuntimeError set where another thread is within an operation. */
int lm_tls_engine_enter(LmTlsEngine *engine, LmTlsOuter *outer);

/* `failed`, or -1 where the outer operation could not get its bytes back. What is left in
   the pair is lost. */
int lm_tls_engine_leave(LmTlsEngine *engine, LmTlsOuter *outer, int failed);

/* Puts raw bytes into the pair. -1 with an exception set. */
int lm_tls_engine_feed(LmTlsEngine *engine, const char *raw, size_t size);

/* What OpenSSL wrote, and what it left unread. New reference to bytes, maybe empty; NULL
   with an exception set. None of the calls on the pair runs anybody's code. */
PyObject *lm_tls_engine_take(LmTlsEngine *engine);
PyObject *lm_tls_engine_take_unread(LmTlsEngine *engine);

/* Empties the pair after an error; keeps the exception that is set. */
void lm_tls_engine_empty(LmTlsEngine *engine);

/* `received`, allocated when first asked for. NULL with MemoryError set. */
char *lm_tls_engine_buffer(LmTlsEngine *engine);

/* 1 where the exception that is set only says that OpenSSL has nothing to go on with; it
   is cleared. */
int lm_tls_engine_wants_more(LmTlsEngine *engine);

#endif
