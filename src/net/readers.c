/* User callbacks on descriptors: see readers.h. One entry per descriptor with a watch
   for each direction; entries are made when first needed and stay for reuse. Callbacks are
   served by watches, operations by the entry's LmOnce. */
#include "net/readers.h"

#include "base/args.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "core/handle.h"

#include <stdlib.h>

typedef struct {
    LmWatch watch;
    PyObject *handle; /* or operation: owned while watched, else NULL */
    LmReadyFn run;    /* one of lm_handle_run_*item, or that of the operation */
} Side;

typedef struct {
    LmLoop *loop;      /* borrowed: the loop owns the table */
    PyObject *fileobj; /* what it was named by, owned while watched: found again once it
                          is closed */
    Side reader;
    Side writer;
    LmOnce once; /* for both sides */
} Entry;

typedef struct {
    Entry *entry;
    PyObject *owner; /* the transport, borrowed */
} Place;

struct LmReaders {
    int size;
    Place *places; /* by number */
};

int
lm_readers_find(LmLoop *loop, PyObject *obj)
{
    int fd = lm_args_fd(obj);
    if (fd >= 0 || PyLong_Check(obj) || loop->readers == NULL ||
        !PyErr_ExceptionMatches(PyExc_ValueError)) {
        return fd;
    }
    for (int i = 0; i < loop->readers->size; i++) {
        Entry *entry = loop->readers->places[i].entry;
        if (entry != NULL && entry->fileobj == obj) {
            PyErr_Clear();
            return i;
        }
    }
    return -1;
}

static Side *
side_of(Entry *entry, int direction)
{
    return direction == LM_WATCH_READ ? &entry->reader : &entry->writer;
}

static Entry *
find_entry(LmLoop *loop, int fd)
{
    struct LmReaders *table = loop->readers;
    return table != NULL && fd < table->size ? table->places[fd].entry : NULL;
}

static int report_unwatched(LmLoop *loop, PyObject *place);

/* A ready item is an object: which side it is, in a number. */
static void
queue_unwatched(Entry *entry, const Side *side)
{
    PyObject *place =
        PyLong_FromLongLong((long long)side->watch.fd * 4 + side->watch.direction);
    if (place == NULL || lm_ready_push(entry->loop, report_unwatched, place) < 0) {
        PyErr_Clear();
    }
}

static void
queue_side(Entry *entry, Side *side)
{
    if (side->handle == NULL) {
        return;
    }
    if (LM_UNLIKELY(side->watch.error != 0)) {
        queue_unwatched(entry, side);
        return;
    }
    if (lm_handle(side->handle)->is_cancelled) {
        /* Cancelled by its own cancel(): as good as removed. Its end, which the queue sees
           to, may run Python: it has kept its context. */
        PyObject *handle = side->handle;
        lm_watch_stop(&entry->loop->poll, &side->watch);
        side->handle = NULL;
        if (lm_ready_push(entry->loop, lm_handle_run_item, handle) < 0) {
            PyErr_Clear();
        }
        return;
    }
    if (lm_ready_push(entry->loop, lm_handle_run_item, Py_NewRef(side->handle)) < 0) {
        PyErr_Clear(); /* level-triggered: the next poll reports it again */
    }
}

static void
on_readable(LmWatch *watch)
{
    Entry *entry = LM_CONTAINER_OF(watch, Entry, reader.watch);
    queue_side(entry, &entry->reader);
}

/* On one descriptor the reader comes first, whichever watch libev named first. */
static void
on_writable(LmWatch *watch)
{
    Entry *entry = LM_CONTAINER_OF(watch, Entry, writer.watch);
    if (!lm_list_is_empty(&entry->reader.watch.fired)) {
        lm_list_remove(&entry->reader.watch.fired);
        queue_side(entry, &entry->reader);
    }
    queue_side(entry, &entry->writer);
}

static int
is_operation(const Side *side)
{
    return side->run != lm_handle_run_item && side->run != lm_handle_run_last_item;
}

/* The operation stays where it is: it may have to wait on. */
static void
queue_operation(Entry *entry, Side *side)
{
    if (side->handle == NULL || side->run == lm_handle_run_item) {
        return;
    }
    if (lm_ready_push(entry->loop, side->run, Py_NewRef(side->handle)) < 0) {
        PyErr_Clear(); /* the next poll reports it again */
        (void)lm_poll_arm(&entry->loop->poll, &entry->once, side->watch.direction);
        PyErr_Clear();
    }
    else if (side->run == lm_handle_run_last_item) {
        Py_CLEAR(side->handle); /* the queue has it */
        lm_once_leave(&entry->once);
    }
}

static void
on_once(LmOnce *once, int directions)
{
    Entry *entry = LM_CONTAINER_OF(once, Entry, once);
    if (directions & LM_WATCH_READ) {
        queue_operation(entry, &entry->reader);
    }
    if (directions & LM_WATCH_WRITE) {
        queue_operation(entry, &entry->writer);
    }
}

static int
grow_table(struct LmReaders *table, int fd)
{
    int size = table->size ? table->size : 64;
    while (size <= fd) {
        size *= 2;
    }
    Place *places = realloc(table->places, (size_t)size * sizeof(*places));
    if (places == NULL) {
        return -1;
    }
    memset(places + table->size, 0, (size_t)(size - table->size) * sizeof(*places));
    table->places = places;
    table->size = size;
    return 0;
}

static struct LmReaders *
table_for(LmLoop *loop, int fd)
{
    if (loop->readers == NULL) {
        loop->readers = calloc(1, sizeof(struct LmReaders));
    }
    if (loop->readers == NULL ||
        (fd >= loop->readers->size && grow_table(loop->readers, fd) < 0)) {
        PyErr_NoMemory();
        return NULL;
    }
    return loop->readers;
}

static Entry *
entry_for(LmLoop *loop, int fd)
{
    struct LmReaders *table = table_for(loop, fd);
    if (table == NULL) {
        return NULL;
    }
    Entry *entry = table->places[fd].entry;
    if (entry == NULL) {
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        entry->loop = loop;
        lm_watch_init(&entry->reader.watch, fd, LM_WATCH_READ, on_readable);
        lm_watch_init(&entry->writer.watch, fd, LM_WATCH_WRITE, on_writable);
        lm_watch_pair(&entry->reader.watch, &entry->writer.watch);
        entry->reader.watch.is_users = entry->writer.watch.is_users = 1;
        lm_once_init(&entry->once, fd, on_once);
        table->places[fd].entry = entry;
    }
    return entry;
}

/* What stands in a side, to be taken out of it; NULL where nothing does. */
typedef struct {
    PyObject *handle;
    PyObject *fileobj;
    int is_operation;
} Retired;

/* Takes what is watched out of its side; whether it is watched on is the caller's. */
static Retired
take_from_table(Entry *entry, Side *side)
{
    Retired old = {.handle = side->handle, .is_operation = is_operation(side)};
    side->handle = NULL;
    if (entry->reader.handle == NULL && entry->writer.handle == NULL) {
        old.fileobj = entry->fileobj;
        entry->fileobj = NULL;
    }
    return old;
}

/* Cancels (no operation: that looks for itself) and drops it. Last: it may free the entry. */
static int
retire(Retired old)
{
    int failed =
        old.handle != NULL && !old.is_operation ? lm_handle_cancel(old.handle) : 0;
    Py_XDECREF(old.handle);
    Py_XDECREF(old.fileobj);
    return failed;
}

/* The kernel lost what it had taken when the callback was added (in a child that goes on
   with the loop, say), and did not take it again. */
static int
report_unwatched(LmLoop *loop, PyObject *place)
{
    long long number = PyLong_AsLongLong(place);
    Entry *entry = find_entry(loop, (int)(number / 4));
    Side *side = entry != NULL ? side_of(entry, (int)(number % 4)) : NULL;
    int failed = 0;
    Py_DECREF(place);
    if (side != NULL && side->handle != NULL && side->watch.error != 0) {
        lm_watch_set_error(&side->watch);
        Retired old = take_from_table(entry, side);
        failed = lm_fault_report((PyObject *)loop, loop->st,
                                 "A descriptor is not watched any more", "handle",
                                 old.handle, NULL);
        if (retire(old) < 0) {
            failed = -1;
        }
    }
    return failed;
}

/* What was there before is not watched either, as in asyncio. Keeps the exception. */
static void
drop_unwatched(Entry *entry, Side *side)
{
    if (side->handle != NULL && side->run == lm_handle_run_item) {
        PyObject *exc = lm_exc_hold();
        if (retire(take_from_table(entry, side)) < 0) {
            PyErr_Clear();
        }
        lm_exc_restore(exc);
    }
}

/* The kernel lets go of a descriptor that is closed. A callback that was left on it in the
   other direction is not to be called for the next owner of the number, whom libev would
   tell the kernel of for both. */
static int
drop_lost(LmPoll *poll, Entry *entry, int direction)
{
    Side *side = side_of(entry, direction);
    if (LM_LIKELY(!lm_watch_is_lost(poll, &side->watch))) {
        return 0;
    }
    lm_watch_stop(poll, &side->watch);
    return retire(take_from_table(entry, side));
}

int
lm_readers_add(LmLoop *loop, PyObject *fileobj, int fd, int direction, PyObject *handle)
{
    LmPoll *poll = lm_loop_poll(loop);
    if (poll == NULL || lm_watch_check_fd(poll, fd) < 0) {
        return -1;
    }
    Entry *entry = entry_for(loop, fd);
    if (entry == NULL ||
        drop_lost(poll, entry, LM_WATCH_READ + LM_WATCH_WRITE - direction) < 0) {
        return -1;
    }
    /* What was dropped may have closed the loop. */
    entry = lm_loop_poll(loop) != NULL ? entry_for(loop, fd) : NULL;
    if (entry == NULL) {
        return -1;
    }
    Side *side = side_of(entry, direction);
    /* A transport that lent its descriptor (sendfile) may watch it too. */
    side->watch.is_users = lm_readers_owner(loop, fd) == NULL;
    if (lm_poll_watch_now(poll, &side->watch) < 0) {
        drop_unwatched(entry, side);
        return -1;
    }
    loop->has_done_io = 1; /* it may be ready */
    Retired old = {.handle = side->handle, .is_operation = is_operation(side)};
    side->handle = Py_NewRef(handle);
    side->run = lm_handle_run_item;
    if (entry->fileobj == NULL) {
        entry->fileobj = Py_NewRef(fileobj);
    }
    lm_once_disarm(poll, &entry->once, direction);
    return retire(old);
}

int
lm_readers_add_once(LmLoop *loop, int fd, PyObject *handle)
{
    if (lm_readers_forget(loop, fd) < 0) {
        return -1;
    }
    loop->has_done_io = 1; /* as above */
    return lm_readers_wait(loop, fd, LM_WATCH_READ, lm_handle_run_last_item, handle);
}

int
lm_readers_wait(LmLoop *loop, int fd, int direction, LmReadyFn run, PyObject *operation)
{
    LmPoll *poll = lm_loop_poll(loop);
    Entry *entry = poll != NULL ? find_entry(loop, fd) : NULL;
    if (LM_UNLIKELY(entry == NULL)) {
        /* Before there is room made for the number, which may be anything. */
        if (poll == NULL || lm_watch_check_fd(poll, fd) < 0) {
            return -1;
        }
        entry = entry_for(loop, fd);
    }
    if (entry == NULL || lm_poll_arm(poll, &entry->once, direction) < 0) {
        return -1;
    }
    Side *side = side_of(entry, direction);
    if (side->handle == operation) {
        return 0;
    }
    Retired old = take_from_table(entry, side);
    side->handle = Py_NewRef(operation);
    side->run = run;
    if (LM_LIKELY(old.handle == NULL)) {
        return 0;
    }
    lm_watch_stop(poll, &side->watch);
    return retire(old);
}

void
lm_readers_end_wait(LmLoop *loop, int fd, int direction, PyObject *operation,
                    int is_last)
{
    Entry *entry = find_entry(loop, fd);
    Side *side = entry != NULL ? side_of(entry, direction) : NULL;
    if (side == NULL || side->handle != operation) {
        return;
    }
    lm_once_disarm(&loop->poll, &entry->once, direction);
    if (is_last) {
        lm_once_forget(&loop->poll, &entry->once);
    }
    (void)retire(take_from_table(entry, side));
}

int
lm_readers_remove(LmLoop *loop, int fd, int direction)
{
    Entry *entry = loop->is_closed ? NULL : find_entry(loop, fd);
    Side *side = entry != NULL ? side_of(entry, direction) : NULL;
    if (side == NULL || side->handle == NULL) {
        return 0;
    }
    lm_watch_stop(&loop->poll, &side->watch);
    lm_once_disarm(&loop->poll, &entry->once, direction);
    return retire(take_from_table(entry, side)) < 0 ? -1 : 1;
}

int
lm_readers_rouse(LmLoop *loop, int fd, int direction)
{
    Entry *entry = fd >= 0 ? find_entry(loop, fd) : NULL;
    Side *side = entry != NULL ? side_of(entry, direction) : NULL;
    if (side == NULL || side->handle == NULL || side->run != lm_handle_run_item) {
        return 0;
    }
    lm_watch_stop(&loop->poll, &side->watch);
    return lm_ready_push(loop, side->run, Py_NewRef(side->handle));
}

int
lm_readers_forget(LmLoop *loop, int fd)
{
    return lm_readers_remove(loop, fd, LM_WATCH_READ) < 0 ||
                   lm_readers_remove(loop, fd, LM_WATCH_WRITE) < 0
               ? -1
               : 0;
}

PyObject *
lm_readers_handle(LmLoop *loop, int fd, int direction)
{
    Entry *entry = find_entry(loop, fd);
    return entry != NULL ? side_of(entry, direction)->handle : NULL;
}

int
lm_readers_set_owner(LmLoop *loop, int fd, PyObject *transport)
{
    struct LmReaders *table = table_for(loop, fd);
    if (table == NULL) {
        return -1;
    }
    lm_note_borrowed(transport);
    table->places[fd].owner = transport;
    return 0;
}

int
lm_readers_drop_owner(LmLoop *loop, int fd, PyObject *transport)
{
    if (fd < 0 || lm_readers_owner(loop, fd) != transport) {
        return 0;
    }
    loop->readers->places[fd].owner = NULL;
    return 1;
}

PyObject *
lm_readers_owner(LmLoop *loop, int fd)
{
    struct LmReaders *table = loop->readers;
    return table != NULL && fd < table->size ? table->places[fd].owner : NULL;
}

int
lm_readers_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    for (int fd = 0; loop->readers != NULL && fd < loop->readers->size; fd++) {
        Entry *entry = loop->readers->places[fd].entry;
        if (entry != NULL) {
            Py_VISIT(entry->fileobj);
            Py_VISIT(entry->reader.handle);
            Py_VISIT(entry->writer.handle);
        }
    }
    return 0;
}

void
lm_readers_close(LmLoop *loop)
{
    struct LmReaders *table = loop->readers;
    if (table == NULL) {
        return;
    }
    loop->readers = NULL;
    for (int fd = 0; fd < table->size; fd++) {
        Entry *entry = table->places[fd].entry;
        if (entry != NULL) {
            lm_watch_stop(&loop->poll, &entry->reader.watch);
            lm_watch_stop(&loop->poll, &entry->writer.watch);
            lm_once_end(&loop->poll, &entry->once);
            Py_CLEAR(entry->fileobj);
            Py_CLEAR(entry->reader.handle);
            Py_CLEAR(entry->writer.handle);
            free(entry);
        }
    }
    free(table->places);
    free(table);
}
