/* The load of the server cases: the client side of a benchmark, as one C program.
 *
 *   load -m MODE -w PORT|PATH -f tcp|unix|udp -P PID [-c CONNECTIONS] [-s SIZE]
 *        [-a ANSWER] [-d IN_FLIGHT] [-t SECONDS] [-k CORE] [-g HTTP_PATH] [-T] [-n COUNT]
 *        [-i DUE -o TIMES]
 *
 * Connects to the server at 127.0.0.1, runs the mode (modes.c) for a quarter of SECONDS
 * unmeasured and then for SECONDS, and prints one line of JSON: the operations of that
 * time, the CPU seconds that process PID (the server) spent in it, system time included,
 * the seconds themselves, and the latency of a message in microseconds. Mode idle opens the
 * connections, sends one message on each, and prints the bytes that the server
 * grew by for each. With COUNT it runs for so many operations instead, and prints how many
 * those were: for who counts what the server does. Mode open (open.c) sends at times that
 * the file DUE holds. Reading the server's clocks from here leaves the server's loop alone.
 *
 * Relies on Linux (epoll, affinity, /proc) and on nothing else of this repository; runner.py
 * compiles it.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void
die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

void
give_up(const char *reason)
{
    fprintf(stderr, "load: %s\n", reason);
    exit(1);
}

static double
seconds_of(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0) {
        die("clock_gettime");
    }
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
stay_on(int core)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (core >= 0 && sched_setaffinity(0, sizeof(cores), &cores) < 0) {
        die("sched_setaffinity");
    }
}

/* Connections */

static int
connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("connect");
    }
    return fd;
}

static int
connect_inet(const Options *options, int index)
{
    int on = 1, is_tcp = options->family == OVER_TCP;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        die("socket");
    }
    if (is_tcp) {
        /* Many source addresses: one would run out of ports that are not in TIME_WAIT. */
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)index % 250);
        if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
            die("bind");
        }
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)atoi(options->where));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("connect");
    }
    return fd;
}

void
open_connection(Load *load, Connection *conn)
{
    const Options *options = &load->options;
    conn->fd = options->family == OVER_UNIX ? connect_unix(options->where)
                                            : connect_inet(options, conn->index);
    conn->tls = options->use_tls ? tls_open(conn->fd) : NULL;
    conn->wants_out = 0;
    if (fcntl(conn->fd, F_SETFL, O_NONBLOCK) < 0) {
        die("fcntl");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(load->poll, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        die("epoll_ctl");
    }
}

void
close_connection(Connection *conn)
{
    if (conn->tls != NULL) {
        tls_close(conn->tls);
    }
    close(conn->fd);
}

void
want_out(Load *load, Connection *conn, int wanted)
{
    if (conn->wants_out != wanted) {
        struct epoll_event event = {.data.ptr = conn};
        event.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN;
        conn->wants_out = wanted;
        if (epoll_ctl(load->poll, EPOLL_CTL_MOD, conn->fd, &event) < 0) {
            die("epoll_ctl");
        }
    }
}

static size_t
moved(ssize_t bytes, const char *what)
{
    if (bytes < 0 && errno != EAGAIN && errno != EINTR) {
        die(what);
    }
    return bytes > 0 ? (size_t)bytes : 0;
}

size_t
try_send(Load *load, Connection *conn, const char *data, size_t size)
{
    (void)load;
    return moved(conn->tls != NULL ? tls_send(conn->tls, data, size)
                                   : send(conn->fd, data, size, MSG_NOSIGNAL),
                 "send");
}

size_t
try_recv(Load *load, Connection *conn, char *data, size_t size)
{
    (void)load;
    ssize_t got = conn->tls != NULL ? tls_recv(conn->tls, data, size)
                                    : recv(conn->fd, data, size, 0);
    if (got == 0) {
        give_up("the server closed a connection");
    }
    return moved(got, "recv");
}

/* Messages */

/* The length of the answer to `request`, asked once over a connection of its own. */
static size_t
http_answer(Load *load, const char *request, size_t size)
{
    char text[65536];
    size_t got = 0;
    int fd = connect_inet(&load->options, 0);
    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) {
        die("send");
    }
    for (;;) {
        ssize_t part = recv(fd, text + got, sizeof(text) - 1 - got, 0);
        if (part <= 0) {
            give_up("no answer to an HTTP request");
        }
        got += (size_t)part;
        text[got] = 0;
        char *end = strstr(text, "\r\n\r\n");
        char *length = strcasestr(text, "content-length:");
        if (end != NULL && length != NULL) {
            size_t whole = (size_t)(end - text) + 4 + (size_t)atol(length + 15);
            if (got >= whole) {
                close(fd);
                return whole;
            }
        }
    }
}

static void
make_messages(Load *load)
{
    Options *options = &load->options;
    char request[512];
    if (options->http_path != NULL) {
        options->size = (size_t)snprintf(request, sizeof(request),
                                         "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                         options->http_path);
        options->answer = http_answer(load, request, options->size);
    }
    for (int i = 0; i < options->connections; i++) {
        Connection *conn = &load->connections[i];
        conn->index = i;
        conn->message = malloc(options->size);
        if (conn->message == NULL) {
            die("malloc");
        }
        for (size_t j = 0; j < options->size; j++) {
            /* Lines are what some servers read, so the last byte ends one, and no other. */
            conn->message[j] = j + 1 < options->size
                                   ? (char)('0' + (j * 31 + (size_t)i * 7) % 70)
                                   : '\n';
        }
        if (options->http_path != NULL) {
            memcpy(conn->message, request, options->size);
        }
    }
}

/* Running */

static void
take_events(Load *load, const Mode *mode)
{
    struct epoll_event events[BATCH];
    int ready = epoll_wait(load->poll, events, BATCH, PATIENCE_MS);
    if (ready < 0 && errno != EINTR) {
        die("epoll_wait");
    }
    if (ready == 0) {
        give_up("the server does not answer");
    }
    for (int i = 0; i < ready; i++) {
        mode->on_ready(load, events[i].data.ptr, events[i].events);
    }
}

static void
run_until(Load *load, const Mode *mode, double deadline)
{
    do {
        take_events(load, mode);
    } while (seconds_of(CLOCK_MONOTONIC) < deadline);
}

static void
measure(Load *load, const Mode *mode)
{
    double seconds = load->options.seconds;
    clockid_t server;
    if (clock_getcpuclockid(load->options.server, &server) != 0) {
        give_up("no such server process");
    }
    mode->begin(load);
    run_until(load, mode, seconds_of(CLOCK_MONOTONIC) + seconds / 4);
    load->operations = 0;
    latency_reset();
    double cpu = seconds_of(server);
    double wall = seconds_of(CLOCK_MONOTONIC);
    run_until(load, mode, wall + seconds);
    cpu = seconds_of(server) - cpu;
    wall = seconds_of(CLOCK_MONOTONIC) - wall;
    printf("{\"operations\": %lu, \"cpu\": %.9f, \"wall\": %.9f, \"p50\": %.2f, "
           "\"p99\": %.2f}\n",
           (unsigned long)load->operations, cpu, wall, latency_us(0.5),
           latency_us(0.99));
}

static void
run_count(Load *load, const Mode *mode)
{
    mode->begin(load);
    while (load->operations < load->options.count) {
        take_events(load, mode);
    }
    printf("{\"operations\": %lu}\n", (unsigned long)load->operations);
}

/* What is the server's alone and written to, in bytes. */
static double
memory_of(pid_t pid)
{
    char line[256];
    long kib = 0, sum = 0;
    snprintf(line, sizeof(line), "/proc/%ld/smaps_rollup", (long)pid);
    FILE *file = fopen(line, "r");
    if (file == NULL) {
        die(line);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Private_Dirty: %ld kB", &kib) == 1) {
            sum += kib;
        }
    }
    fclose(file);
    return (double)sum * 1024;
}

/* Opens connections, and returns when the server has answered each: it knows them all. */
static void
say_hello(Load *load, int from, int to, size_t size)
{
    for (int i = from; i < to; i++) {
        Connection *conn = &load->connections[i];
        open_connection(load, conn);
        fcntl(conn->fd, F_SETFL, 0);
        try_send(load, conn, conn->message, size);
        for (size_t got = 0; got < size;) {
            got += try_recv(load, conn, load->scratch, size - got);
        }
        fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    }
}

/* The first fifth pays for what the server makes once. */
static void
measure_idle(Load *load)
{
    int count = load->options.connections, first = count / 5;
    say_hello(load, 0, first, load->options.size);
    double before = memory_of(load->options.server);
    say_hello(load, first, count, load->options.size);
    double each = (memory_of(load->options.server) - before) / (count - first);
    printf("{\"value\": %.1f}\n", each);
}

static Options
parse(int argc, char **argv)
{
    Options options = {.mode = "exchange",
                       .connections = 64,
                       .size = 1024,
                       .in_flight = 1,
                       .seconds = 0.3,
                       .core = -1};
    int option;
    while ((option = getopt(argc, argv, "m:w:f:P:c:s:a:d:t:k:g:n:i:o:T")) != -1) {
        switch (option) {
        case 'm':
            options.mode = optarg;
            break;
        case 'w':
            options.where = optarg;
            break;
        case 'f':
            options.family = !strcmp(optarg, "unix")  ? OVER_UNIX
                             : !strcmp(optarg, "udp") ? OVER_UDP
                                                      : OVER_TCP;
            break;
        case 'P':
            options.server = (pid_t)atol(optarg);
            break;
        case 'c':
            options.connections = atoi(optarg);
            break;
        case 's':
            options.size = (size_t)atol(optarg);
            break;
        case 'a':
            options.answer = (size_t)atol(optarg);
            break;
        case 'd':
            options.in_flight = atoi(optarg);
            break;
        case 't':
            options.seconds = atof(optarg);
            break;
        case 'k':
            options.core = atoi(optarg);
            break;
        case 'g':
            options.http_path = optarg;
            break;
        case 'n':
            options.count = strtoul(optarg, NULL, 10);
            break;
        case 'i':
            options.due_path = optarg;
            break;
        case 'o':
            options.times_path = optarg;
            break;
        case 'T':
            options.use_tls = 1;
            break;
        default:
            exit(2);
        }
    }
    if (options.where == NULL || options.server == 0 ||
        options.in_flight > MOST_IN_FLIGHT) {
        give_up("-w and -P are needed, and -d is at most 64");
    }
    return options;
}

int
main(int argc, char **argv)
{
    Load load = {.options = parse(argc, argv), .scratch_size = 256 * 1024};
    const Mode *mode = modes;

    stay_on(load.options.core);
    load.poll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = calloc((size_t)load.options.connections, sizeof(Connection));
    load.scratch = calloc(1, load.scratch_size);
    if (load.poll < 0 || load.connections == NULL || load.scratch == NULL) {
        die("set-up");
    }
    make_messages(&load);
    if (!strcmp(load.options.mode, "idle")) {
        measure_idle(&load);
        return 0;
    }
    if (!strcmp(load.options.mode, "open")) {
        run_open(&load);
        return 0;
    }
    while (mode->name != NULL && strcmp(mode->name, load.options.mode) != 0) {
        mode++;
    }
    if (mode->name == NULL) {
        give_up("no such mode");
    }
    if (!strcmp(mode->name, "fanout")) {
        say_hello(&load, 0, load.options.connections, 1);
    }
    else {
        for (int i = 0; i < load.options.connections; i++) {
            open_connection(&load, &load.connections[i]);
        }
    }
    (load.options.count > 0 ? run_count : measure)(&load, mode);
    return 0;
}
