/* Mode open: messages go out at times that were fixed beforehand, whatever the server does.
 *
 * The file -i holds when each is due, in nanoseconds from the start, as a uint64_t each; to
 * the file -o go three for each: when it was seen to be due, sent, and answered. A message
 * that finds no connection free waits for one, and its time runs on from when it was due, so
 * a server that falls behind is not spared the messages of that time. The wait for the next
 * is a busy one: the load has a core of its own, and a sleep would be late by more than what
 * is measured. What follows from the times is for open_loop.py to say. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define BEHIND_NS \
    20000000000u /* so long after the last was due the server does not keep up */

typedef struct {
    uint64_t seen, sent, answered;
} Times;

static struct {
    uint64_t *due;
    Times *times;
    size_t count, seen, taken, answered;
    uint64_t start;
    Connection **idle; /* a ring, so that connections take turns */
    size_t idle_first, idle_count;
} run;

static uint64_t
since_start(void)
{
    return now_ns() - run.start;
}

static void
read_due(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        die(path);
    }
    run.count = (size_t)ftell(file) / sizeof(uint64_t);
    run.due = calloc(run.count + 1, sizeof(uint64_t));
    run.times = calloc(run.count + 1, sizeof(Times));
    rewind(file);
    if (run.due == NULL || run.times == NULL ||
        fread(run.due, sizeof(uint64_t), run.count, file) != run.count) {
        die(path);
    }
    fclose(file);
}

static void
write_times(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL ||
        fwrite(run.times, sizeof(Times), run.count, file) != run.count ||
        fclose(file) != 0) {
        die(path);
    }
}

static void
set_idle(const Load *load, Connection *conn)
{
    size_t slots = (size_t)load->options.connections;
    run.idle[(run.idle_first + run.idle_count++) % slots] = conn;
}

static void
send_rest(Load *load, Connection *conn)
{
    size_t size = load->options.size, offset;
    do {
        offset = conn->sent % size;
        conn->sent += try_send(load, conn, conn->message + offset, size - offset);
    } while (conn->sent % size != 0 && conn->sent % size != offset);
    want_out(load, conn, conn->sent % size != 0);
}

static void
send_due(Load *load)
{
    uint64_t now = since_start();
    while (run.seen < run.count && run.due[run.seen] <= now) {
        run.times[run.seen++].seen = now;
    }
    while (run.taken < run.seen && run.idle_count > 0) {
        Connection *conn = run.idle[run.idle_first];
        run.idle_first = (run.idle_first + 1) % (size_t)load->options.connections;
        run.idle_count--;
        conn->arrival = run.taken++;
        run.times[conn->arrival].sent = since_start();
        send_rest(load, conn);
    }
}

static void
take_answer(Load *load, Connection *conn, uint32_t events)
{
    if (events & EPOLLIN) {
        uint64_t before = conn->received / answer_size(load);
        conn->received += take_bytes(load, conn);
        if (conn->received / answer_size(load) > before) {
            run.times[conn->arrival].answered = since_start();
            run.answered++;
            set_idle(load, conn);
            return;
        }
    }
    if (conn->wants_out) {
        send_rest(load, conn);
    }
}

void
run_open(Load *load)
{
    struct epoll_event events[BATCH];
    const Options *options = &load->options;
    if (options->due_path == NULL || options->times_path == NULL) {
        give_up("mode open needs -i and -o");
    }
    read_due(options->due_path);
    run.idle = calloc((size_t)options->connections, sizeof(Connection *));
    if (run.idle == NULL || run.count == 0) {
        die("set-up");
    }
    for (int i = 0; i < options->connections; i++) {
        open_connection(load, &load->connections[i]);
        set_idle(load, &load->connections[i]);
    }
    uint64_t latest = run.due[run.count - 1] + BEHIND_NS;
    run.start = now_ns();
    while (run.answered < run.count) {
        send_due(load);
        int ready = epoll_wait(load->poll, events, BATCH, 0);
        for (int i = 0; i < ready; i++) {
            take_answer(load, events[i].data.ptr, events[i].events);
        }
        if (ready <= 0 && since_start() > latest) {
            give_up("the server does not keep up");
        }
    }
    write_times(options->times_path);
    printf("{\"operations\": %lu}\n", (unsigned long)run.count);
}
