/* What the load does with its connections: see load.h.
 *
 *   exchange  messages go out, answers come back, a fixed number in flight on each
 *   accept    connect, one byte there and back, close; an operation is one connection
 *   fanout    one byte to the server, a message to every connection; an operation is one
 *   sink      bytes to the server as fast as it takes them; an operation is 1 MiB
 *   source    bytes from the server as fast as it sends them; the same
 */
#include "load.h"

#include <string.h>
#include <sys/epoll.h>

#define MIB (1024.0 * 1024.0)

size_t
answer_size(const Load *load)
{
    return load->options.answer > 0 ? load->options.answer : load->options.size;
}

/* Exchange */

static void
send_more(Load *load, Connection *conn)
{
    if (load->options.count > 0 && load->operations >= load->options.count) {
        return;
    }
    size_t size = load->options.size;
    uint64_t answered = conn->received / answer_size(load);
    uint64_t limit = (answered + (uint64_t)load->options.in_flight) * size;
    while (conn->sent < limit) {
        size_t offset = conn->sent % size;
        if (offset == 0) {
            conn->began[conn->sent / size % MOST_IN_FLIGHT] = now_ns();
        }
        size_t sent = try_send(load, conn, conn->message + offset, size - offset);
        conn->sent += sent;
        if (sent == 0) {
            want_out(load, conn, 1);
            return;
        }
    }
    want_out(load, conn, 0);
}

static void
check_answer(const Load *load, const Connection *conn, const char *data, size_t got)
{
    size_t size = load->options.size;
    for (size_t at = 0; at < got;) {
        size_t offset = (conn->received + at) % size;
        size_t part = got - at < size - offset ? got - at : size - offset;
        if (memcmp(data + at, conn->message + offset, part) != 0) {
            give_up("the answer is not what was sent");
        }
        at += part;
    }
}

size_t
take_bytes(Load *load, Connection *conn)
{
    size_t got = try_recv(load, conn, load->scratch, load->scratch_size);
    if (load->options.answer == 0) {
        check_answer(load, conn, load->scratch, got);
    }
    return got;
}

static void
exchange(Load *load, Connection *conn, uint32_t events)
{
    if (events & EPOLLIN) {
        size_t got = take_bytes(load, conn);
        size_t answer = answer_size(load);
        uint64_t before = conn->received / answer;
        conn->received += got;
        for (; before < conn->received / answer; before++) {
            latency_note(now_ns() - conn->began[before % MOST_IN_FLIGHT]);
            load->operations++;
        }
    }
    send_more(load, conn);
}

static void
begin_exchange(Load *load)
{
    for (int i = 0; i < load->options.connections; i++) {
        send_more(load, &load->connections[i]);
    }
}

/* Accept */

static void
knock(Load *load, Connection *conn)
{
    conn->began[0] = now_ns();
    open_connection(load, conn);
    try_send(load, conn, conn->message, 1);
}

static void
answered(Load *load, Connection *conn, uint32_t events)
{
    (void)events;
    if (try_recv(load, conn, load->scratch, 1) == 1) {
        close_connection(conn);
        latency_note(now_ns() - conn->began[0]);
        load->operations++;
        knock(load, conn);
    }
}

static void
begin_accept(Load *load)
{
    for (int i = 0; i < load->options.connections; i++) {
        close_connection(&load->connections[i]);
        knock(load, &load->connections[i]);
    }
}

/* Fan-out */

static void
ask_for_all(Load *load)
{
    load->waiting = (uint64_t)load->options.connections * load->options.size;
    load->connections[0].began[0] = now_ns();
    try_send(load, &load->connections[0], "!", 1);
}

static void
take_share(Load *load, Connection *conn, uint32_t events)
{
    (void)events;
    load->waiting -= try_recv(load, conn, load->scratch, load->scratch_size);
    if (load->waiting == 0) {
        latency_note(now_ns() - load->connections[0].began[0]);
        load->operations += (uint64_t)load->options.connections;
        ask_for_all(load);
    }
}

/* Bulk */

static void
count_mib(Load *load, uint64_t before, uint64_t after)
{
    load->operations +=
        (uint64_t)((double)after / MIB) - (uint64_t)((double)before / MIB);
}

static void
pour(Load *load, Connection *conn, uint32_t events)
{
    (void)events;
    uint64_t before = conn->sent;
    conn->sent += try_send(load, conn, load->scratch, load->scratch_size);
    count_mib(load, before, conn->sent);
}

static void
begin_sink(Load *load)
{
    for (int i = 0; i < load->options.connections; i++) {
        want_out(load, &load->connections[i], 1);
    }
}

static void
drain(Load *load, Connection *conn, uint32_t events)
{
    (void)events;
    uint64_t before = conn->received;
    conn->received += try_recv(load, conn, load->scratch, load->scratch_size);
    count_mib(load, before, conn->received);
}

static void
begin_source(Load *load)
{
    for (int i = 0; i < load->options.connections; i++) {
        try_send(load, &load->connections[i], "!", 1);
    }
}

const Mode modes[] = {
    {"exchange", begin_exchange, exchange}, {"accept", begin_accept, answered},
    {"fanout", ask_for_all, take_share},    {"sink", begin_sink, pour},
    {"source", begin_source, drain},        {NULL, NULL, NULL},
};
