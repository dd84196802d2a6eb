/* The load of the echo cases: keeps one message in flight on each of many connections.
 *
 *   load ADDRESS PID CONNECTIONS SIZE SECONDS CPU
 *
 * Connects to ADDRESS, a port of 127.0.0.1 or `@` and the name of an abstract Unix socket,
 * plays ping-pong for a tenth of SECONDS unmeasured and then for SECONDS, and prints `messages cpu wall`: the messages that came back in that time,
 * the CPU seconds that process PID (the server) spent in it, system time included, and
 * the seconds themselves. Runs on core CPU (-1: anywhere). Every answer is compared with
 * what was sent. Reading the server's clock from here leaves the server's loop alone.
 *
 * Relies on Linux (epoll, affinity) and on nothing else of this repository; compare.py
 * compiles it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 256,         /* events taken from one epoll_wait */
    PATIENCE_MS = 20000, /* with no answer at all for so long the server hangs */
};

typedef struct {
    int fd;
    size_t received; /* of the answer under way */
    unsigned char *message;
} Connection;

typedef struct {
    size_t size;            /* of a message */
    unsigned char *answer;  /* scratch for one read */
    unsigned long messages; /* answered in full so far */
} Load;


static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static double
seconds_of(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0) {
        die("load: clock_gettime");
    }
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void
stay_on(int cpu)
{
    if (cpu < 0) {
        return;
    }
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0) {
        die("load: sched_setaffinity");
    }
}

static void
send_message(const Load *load, const Connection *conn)
{
    /* The socket is blocking and its buffer empty, so one call takes it all. */
    ssize_t sent = send(conn->fd, conn->message, load->size, MSG_NOSIGNAL);
    if (sent < 0) {
        die("load: send");
    }
    if ((size_t)sent != load->size) {
        fprintf(stderr, "load: sent only %zd bytes\n", sent);
        exit(1);
    }
}

static int
connected(int family, const void *address, size_t length)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        die("load: socket");
    }
    if (connect(fd, address, (socklen_t)length) < 0) {
        die("load: connect");
    }
    return fd;
}

static int
connect_unix(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length >= sizeof(address.sun_path)) {
        fprintf(stderr, "load: the name is too long\n");
        exit(1);
    }
    memcpy(address.sun_path + 1, name, length);
    return connected(AF_UNIX, &address,
                     offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static int
connect_inet(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    int fd = connected(AF_INET, &address, sizeof(address));
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
        die("load: TCP_NODELAY");
    }
    return fd;
}

static void
open_connection(const Load *load, Connection *conn, int index, const char *address,
                int poll)
{
    conn->fd =
        address[0] == '@' ? connect_unix(address + 1) : connect_inet(atoi(address));
    conn->message = malloc(load->size);
    if (conn->message == NULL) {
        die("load: malloc");
    }
    /* Each connection has bytes of its own, so that an answer to another one shows. */
    for (size_t i = 0; i < load->size; i++) {
        conn->message[i] = (unsigned char)(i * 31 + (size_t)index * 7 + 1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        die("load: epoll_ctl");
    }
}

static void
take_answer(Load *load, Connection *conn)
{
    ssize_t got = recv(conn->fd, load->answer, load->size, MSG_DONTWAIT);
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return;
        }
        die("load: recv");
    }
    if (got == 0) {
        fprintf(stderr, "load: the server closed a connection\n");
        exit(1);
    }
    if ((size_t)got > load->size - conn->received ||
        memcmp(load->answer, conn->message + conn->received, (size_t)got) != 0) {
        fprintf(stderr, "load: the answer is not what was sent\n");
        exit(1);
    }
    conn->received += (size_t)got;
    if (conn->received == load->size) {
        conn->received = 0;
        load->messages++;
        send_message(load, conn);
    }
}

static void
play_until(Load *load, int poll, double deadline)
{
    struct epoll_event events[BATCH];
    do {
        int ready = epoll_wait(poll, events, BATCH, PATIENCE_MS);
        if (ready < 0 && errno != EINTR) {
            die("load: epoll_wait");
        }
        if (ready == 0) {
            fprintf(stderr, "load: no answer for %d s\n", PATIENCE_MS / 1000);
            exit(1);
        }
        for (int i = 0; i < ready; i++) {
            take_answer(load, events[i].data.ptr);
        }
    } while (seconds_of(CLOCK_MONOTONIC) < deadline);
}

int
main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: load ADDRESS PID CONNECTIONS SIZE SECONDS CPU\n");
        return 2;
    }
    pid_t server = (pid_t)atol(argv[2]);
    int count = atoi(argv[3]);
    Load load = {.size = (size_t)atol(argv[4])};
    double seconds = atof(argv[5]);
    clockid_t server_clock;

    stay_on(atoi(argv[6]));
    if (clock_getcpuclockid(server, &server_clock) != 0) {
        fprintf(stderr, "load: no process %ld\n", (long)server);
        return 1;
    }
    int poll = epoll_create1(EPOLL_CLOEXEC);
    Connection *conns = calloc((size_t)count, sizeof(*conns));
    load.answer = malloc(load.size);
    if (poll < 0 || conns == NULL || load.answer == NULL) {
        die("load: set-up");
    }
    for (int i = 0; i < count; i++) {
        open_connection(&load, &conns[i], i, argv[1], poll);
    }
    for (int i = 0; i < count; i++) {
        send_message(&load, &conns[i]);
    }

    play_until(&load, poll, seconds_of(CLOCK_MONOTONIC) + seconds / 10);
    unsigned long messages = load.messages;
    double cpu = seconds_of(server_clock);
    double wall = seconds_of(CLOCK_MONOTONIC);
    play_until(&load, poll, wall + seconds);
    messages = load.messages - messages;
    cpu = seconds_of(server_clock) - cpu;
    wall = seconds_of(CLOCK_MONOTONIC) - wall;

    printf("%lu %.9f %.9f\n", messages, cpu, wall);
    return 0;
}
