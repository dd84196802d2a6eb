/* The floor: the same work as some cases do, in C on bare libev, for what no Python loop
 * can go below.
 *
 *   floor CASE SECONDS
 *
 * Server cases print where they listen, as sample.py does, and serve until they are
 * killed; the others do operations for at least SECONDS of CPU time and print how many.
 * Exit status 3 where there is no floor for the case. Relies on libev. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SCRATCH = 256 * 1024, SERVER_LIFE = 300, NO_FLOOR = 3, TIMERS = 1000 };

static char scratch[SCRATCH];
static struct ev_loop *loop;

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static double
cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Servers. A connection that cannot take an answer whole keeps the rest of it. */

typedef struct {
    ev_io io;
    char *rest;
    size_t size, capacity;
} Connection;

static void
forget(Connection *conn)
{
    ev_io_stop(loop, &conn->io);
    close(conn->io.fd);
    free(conn->rest);
    free(conn);
}

static void
await_events(Connection *conn, int events)
{
    if (conn->io.events != events) {
        ev_io_stop(loop, &conn->io);
        ev_io_set(&conn->io, conn->io.fd, events);
        ev_io_start(loop, &conn->io);
    }
}

static void
keep(Connection *conn, const char *data, size_t size)
{
    if (conn->size + size > conn->capacity) {
        conn->capacity = (conn->size + size) * 2;
        conn->rest = realloc(conn->rest, conn->capacity);
        if (conn->rest == NULL) {
            die("realloc");
        }
    }
    memmove(conn->rest + conn->size, data, size);
    conn->size += size;
    await_events(conn, EV_READ | EV_WRITE);
}

static int
send_rest(Connection *conn)
{
    ssize_t sent = send(conn->io.fd, conn->rest, conn->size, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN ? 0 : -1;
    }
    conn->size -= (size_t)sent;
    memmove(conn->rest, conn->rest + sent, conn->size);
    if (conn->size == 0) {
        await_events(conn, EV_READ);
    }
    return 0;
}

static void
on_connection(struct ev_loop *l, ev_io *io, int events)
{
    (void)l;
    Connection *conn = (Connection *)io;
    if ((events & EV_WRITE) && send_rest(conn) < 0) {
        forget(conn);
        return;
    }
    if (!(events & EV_READ)) {
        return;
    }
    ssize_t got = recv(io->fd, scratch, SCRATCH, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        forget(conn);
        return;
    }
    ssize_t sent =
        conn->size > 0 ? 0 : send(io->fd, scratch, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        forget(conn);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < got) {
        keep(conn, scratch + sent, (size_t)(got - sent));
    }
}

static void
on_listener(struct ev_loop *l, ev_io *io, int events)
{
    (void)l, (void)events;
    int on = 1;
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof(on)); /* fails on a Unix socket */
    Connection *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        die("calloc");
    }
    ev_io_init(&conn->io, on_connection, fd, EV_READ);
    ev_io_start(loop, &conn->io);
}

static void
on_datagram(struct ev_loop *l, ev_io *io, int events)
{
    (void)l, (void)events;
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    ssize_t got =
        recvfrom(io->fd, scratch, SCRATCH, 0, (struct sockaddr *)&from, &length);
    if (got >= 0) {
        sendto(io->fd, scratch, (size_t)got, 0, (struct sockaddr *)&from, length);
    }
}

static void
serve(int type, int is_unix)
{
    static ev_io io;
    int on = 1;
    int fd =
        socket(is_unix ? AF_UNIX : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (is_unix) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/floor-%d.sock",
                 getenv("BENCH_DIR") ? getenv("BENCH_DIR") : "/tmp", (int)getpid());
        unlink(address.sun_path);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
            die("bind");
        }
        printf("{\"where\": \"%s\", \"family\": \"unix\"}\n", address.sun_path);
    }
    else {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof(address);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
            die("bind");
        }
        printf("{\"where\": \"%d\", \"family\": \"%s\"}\n", ntohs(address.sin_port),
               type == SOCK_STREAM ? "tcp" : "udp");
    }
    if (type == SOCK_STREAM && listen(fd, 1024) < 0) {
        die("listen");
    }
    ev_io_init(&io, type == SOCK_STREAM ? on_listener : on_datagram, fd, EV_READ);
    ev_io_start(loop, &io);
    fflush(stdout);
    alarm(SERVER_LIFE);
    ev_run(loop, 0);
}

/* Timers: each is allocated, as a loop has to, and counted where it fires. */

static void
on_timer(struct ev_loop *l, ev_timer *timer, int events)
{
    (void)l, (void)events;
    free(timer);
}

static ev_timer *
new_timer(double after)
{
    ev_timer *timer = malloc(sizeof(*timer));
    if (timer == NULL) {
        die("malloc");
    }
    ev_timer_init(timer, on_timer, after, 0.);
    ev_timer_start(loop, timer);
    return timer;
}

static void
fire_timers(void)
{
    for (int i = 0; i < TIMERS; i++) {
        new_timer((double)(i * 7 % 10) * 1e-4);
    }
    ev_run(loop, 0);
}

static void
cancel_timers(void)
{
    for (int i = 0; i < TIMERS; i++) {
        ev_timer *timer = new_timer(60.);
        ev_timer_stop(loop, timer);
        free(timer);
    }
}

static void
repeat(void (*batch)(void), double seconds)
{
    long operations = 0;
    double cpu = cpu_seconds(), spent;
    do {
        batch();
        operations += TIMERS;
        spent = cpu_seconds() - cpu;
    } while (spent < seconds);
    printf("{\"operations\": %ld, \"cpu\": %.9f, \"wall\": 0}\n", operations, spent);
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: floor CASE SECONDS\n");
        return 2;
    }
    loop = ev_default_loop(0);
    if (!strcmp(argv[1], "echo_protocol") || !strcmp(argv[1], "accept")) {
        serve(SOCK_STREAM, 0);
    }
    else if (!strcmp(argv[1], "echo_unix")) {
        serve(SOCK_STREAM, 1);
    }
    else if (!strcmp(argv[1], "echo_udp")) {
        serve(SOCK_DGRAM, 0);
    }
    else if (!strcmp(argv[1], "timers_fired")) {
        repeat(fire_timers, atof(argv[2]));
    }
    else if (!strcmp(argv[1], "call_later_cancel")) {
        repeat(cancel_timers, atof(argv[2]));
    }
    else {
        return NO_FLOOR;
    }
    return 0;
}
