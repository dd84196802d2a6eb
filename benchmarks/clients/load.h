/* What the parts of the load share: its options, its connections, its measuring.
 *
 * The load is one thread that drives connections with epoll. main (load.c) opens them and
 * runs the mode asked for until its time is over; a mode (modes.c) is what happens when a
 * connection is ready. Every call ends the program with a message where it fails: there is
 * nothing to save. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    BATCH = 256,         /* events taken from one epoll_wait */
    PATIENCE_MS = 20000, /* with no event at all for so long the server hangs */
    MOST_IN_FLIGHT = 64, /* messages on one connection */
};

typedef enum { OVER_TCP, OVER_UNIX, OVER_UDP } Family;

typedef struct {
    const char *mode;
    const char *where; /* port, or path of a Unix socket */
    Family family;
    int use_tls;
    pid_t server;
    int connections;
    size_t size;   /* bytes of a message */
    size_t answer; /* bytes of the answer to it; 0: the message itself comes back */
    int in_flight; /* messages on a connection at once */
    double seconds;
    uint64_t count;         /* 0, or the operations to do, whatever time that takes */
    int core;               /* -1: anywhere */
    const char *http_path;  /* the message is a GET request for it */
    const char *due_path;   /* mode open: when messages are due */
    const char *times_path; /* and where their times go */
} Options;

typedef struct {
    int fd;
    int index;
    int wants_out;     /* registered for EPOLLOUT */
    void *tls;         /* SSL *, or NULL */
    char *message;     /* bytes of its own, so that another connection's answer shows */
    uint64_t sent;     /* bytes */
    uint64_t received; /* bytes */
    uint64_t began[MOST_IN_FLIGHT]; /* ns when each message in flight was sent */
    uint64_t arrival;               /* mode open: the message that is on its way */
} Connection;

typedef struct {
    Options options;
    int poll;
    Connection *connections;
    char *scratch; /* for one read */
    size_t scratch_size;
    uint64_t operations; /* done since the measured window opened */
    uint64_t waiting;    /* fan-out: bytes that are still to come */
} Load;

/* A mode: `begin` once all connections are open, `on_ready` for one with events. */
typedef struct {
    const char *name;
    void (*begin)(Load *load);
    void (*on_ready)(Load *load, Connection *conn, uint32_t events);
} Mode;

extern const Mode modes[];

size_t answer_size(const Load *load);
/* Reads what has come; where it is the message itself, each byte is compared. */
size_t take_bytes(Load *load, Connection *conn);

/* open.c */
void run_open(Load *load);

_Noreturn void die(const char *what);       /* with errno's text */
_Noreturn void give_up(const char *reason); /* without */
uint64_t now_ns(void);

/* Opens `conn` and registers it; blocks until it is established. */
void open_connection(Load *load, Connection *conn);
void close_connection(Connection *conn);
/* Bytes moved; 0 where the socket is not ready. End of stream ends the program. */
size_t try_send(Load *load, Connection *conn, const char *data, size_t size);
size_t try_recv(Load *load, Connection *conn, char *data, size_t size);
void want_out(Load *load, Connection *conn, int wanted);

/* latency.c: a histogram of nanoseconds, about 3 % wide a bucket. */
void latency_note(uint64_t ns);
void latency_reset(void);
double latency_us(double share); /* the latency below which `share` of them lie */

/* tls.c */
void *tls_open(int fd);
void tls_close(void *tls);
ssize_t tls_send(void *tls, const char *data, size_t size); /* as send, with EAGAIN */
ssize_t tls_recv(void *tls, char *data, size_t size);

#endif
