/* Questions and answers between a loop and its name threads: see resolver.h. An eventfd that the
   loop watches tells of answers. */
#include "os/resolver.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "core/ready.h"
#include "net/addr.h"
#include "os/name_threads.h"
#include "task/future.h"

#include <stdlib.h>

struct LmResolver {
    LmLoop *loop; /* borrowed: the loop owns this */
    LmNameThreads *threads;
    LmWatch watch;
    int wake_fd;
    LmList asked;        /* lookups whose future (the tag) is not answered */
    unsigned fork_count; /* lm_poll_fork_count when it was made */
};

static PyObject *
show_one(const struct addrinfo *info)
{
    LmAddr addr = {.length = info->ai_addrlen};
    if (info->ai_addrlen > sizeof(struct sockaddr_in6)) {
        return Py_NewRef(Py_None); /* no family that getaddrinfo() is asked for */
    }
    memcpy(&addr.any, info->ai_addr, info->ai_addrlen);
    if (!lm_addr_is_inet(&addr)) {
        return Py_NewRef(Py_None);
    }
    return Py_BuildValue("iiisN", info->ai_family, info->ai_socktype, info->ai_protocol,
                         info->ai_canonname != NULL ? info->ai_canonname : "",
                         lm_addr_show(&addr));
}

static PyObject *
show_found(const struct addrinfo *found)
{
    PyObject *list = PyList_New(0);
    for (const struct addrinfo *info = found; list != NULL && info != NULL;
         info = info->ai_next) {
        PyObject *shown = show_one(info);
        if (shown == NULL || (shown != Py_None && PyList_Append(list, shown) < 0)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(shown);
    }
    return list;
}

static PyObject *
show_answer(const LmLookup *lookup)
{
    return lookup->failure == 0 ? show_found(lookup->found)
                                : Py_BuildValue("iis", lookup->failure, lookup->err,
                                                gai_strerror(lookup->failure));
}

/* Takes the lookup away from its owner: a new reference to its future. */
static PyObject *
take_future(LmLookup *lookup)
{
    PyObject *future = lookup->tag;
    lookup->tag = NULL;
    lm_list_remove(&lookup->asked);
    return future;
}

/* -1 with an exception set. */
static int
finish(LmLookup *lookup)
{
    PyObject *future = take_future(lookup);
    PyObject *answer = NULL;
    int failed = 0;
    if (future != NULL && !lm_future_is_done(future)) {
        answer = show_answer(lookup);
        failed = answer == NULL ? -1 : lm_future_set_result(future, answer);
    }
    lm_lookup_free(lookup);
    Py_XDECREF(answer);
    Py_XDECREF(future);
    return failed;
}

/* Ready-queue function. What one answer fails with does not keep the others; what runs with
   one may close the loop. */
static int
deliver(LmLoop *loop, PyObject *self)
{
    LmList answered;
    PyObject *exc = NULL;
    lm_list_init(&answered);
    if (loop->resolver != NULL) {
        lm_name_threads_take(loop->resolver->threads, &answered);
    }
    while (!lm_list_is_empty(&answered)) {
        LmLookup *lookup = LM_CONTAINER_OF(answered.next, LmLookup, link);
        lm_list_remove(&lookup->link);
        lm_exc_keep_first(&exc, finish(lookup));
    }
    Py_DECREF(self);
    lm_exc_restore(exc);
    return exc != NULL ? -1 : 0;
}

static int
is_parents(const struct LmResolver *resolver)
{
    return resolver->fork_count != lm_poll_fork_count();
}

static void
on_answer(LmWatch *watch)
{
    struct LmResolver *resolver = LM_CONTAINER_OF(watch, struct LmResolver, watch);
    LmLoop *loop = resolver->loop;
    char bytes[64];
    if (is_parents(resolver)) {
        lm_watch_stop(&loop->poll, watch);
        return;
    }
    if (lm_ready_push(loop, deliver, Py_NewRef(loop)) < 0) {
        PyErr_Clear(); /* it stays readable: the next poll tries again */
        return;
    }
    ssize_t count = read(watch->fd, bytes, sizeof(bytes));
    (void)count;
}

static void
free_resolver(struct LmResolver *resolver)
{
    lm_watch_stop(&resolver->loop->poll, &resolver->watch);
    if (resolver->wake_fd != resolver->watch.fd) {
        close(resolver->wake_fd);
    }
    close(resolver->watch.fd);
    free(resolver);
}

static struct LmResolver *
new_resolver(LmLoop *loop)
{
    int fds[2];
    if (lm_sys_wake_open(fds) < 0) {
        return NULL;
    }
    struct LmResolver *resolver = calloc(1, sizeof(*resolver));
    LmNameThreads *threads =
        resolver != NULL ? lm_name_threads_new(fds[1], loop->most_lookups) : NULL;
    if (threads == NULL) {
        free(resolver);
        close(fds[0]);
        if (fds[1] != fds[0]) {
            close(fds[1]);
        }
        return NULL;
    }
    *resolver = (struct LmResolver){.loop = loop,
                                    .threads = threads,
                                    .wake_fd = fds[1],
                                    .fork_count = lm_poll_fork_count()};
    lm_list_init(&resolver->asked);
    lm_watch_init(&resolver->watch, fds[0], LM_WATCH_READ, on_answer);
    return resolver;
}

/* NULL without an exception where there can be none. */
static struct LmResolver *
open_resolver(LmLoop *loop)
{
    if (loop->resolver != NULL && is_parents(loop->resolver)) {
        lm_resolver_close(loop);
    }
    LmPoll *poll = lm_loop_poll(loop);
    if (poll == NULL || loop->most_lookups == 0) {
        PyErr_Clear();
        return NULL;
    }
    struct LmResolver *resolver = loop->resolver;
    if (resolver == NULL && (resolver = new_resolver(loop)) != NULL) {
        loop->resolver = resolver;
    }
    if (resolver != NULL && !resolver->watch.is_active &&
        lm_poll_watch_now(poll, &resolver->watch) < 0) {
        PyErr_Clear();
        return NULL;
    }
    return resolver;
}

PyObject *
lm_resolver_ask(LmLoop *loop, const char *host, const char *service,
                const struct addrinfo *hints)
{
    struct LmResolver *resolver = open_resolver(loop);
    if (resolver == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *future = lm_future_new(loop);
    LmLookup *lookup = future != NULL ? lm_lookup_new(host, service, hints) : NULL;
    if (lookup == NULL) {
        Py_XDECREF(future);
        return PyErr_NoMemory();
    }
    if (lm_name_threads_ask(resolver->threads, lookup) < 0) {
        lm_lookup_free(lookup);
        Py_DECREF(future);
        Py_RETURN_NONE;
    }
    lookup->tag = Py_NewRef(future);
    lm_list_push_back(&resolver->asked, &lookup->asked);
    return future;
}

static void
end_idle_of(LmLoop *loop)
{
    int is_taken = lm_owner_begin(loop);
    if (is_taken < 0) {
        PyErr_Clear();
        return;
    }
    if (loop->resolver != NULL && !is_parents(loop->resolver)) {
        lm_name_threads_end_idle(loop->resolver->threads);
    }
    if (is_taken) {
        lm_owner_end(loop);
    }
}

PyObject *
lm_resolver_end_idle(PyObject *module, PyObject *unused LM_UNUSED)
{
    LmState *st = lm_state_of_module(module);
    lm_lock(&st->shared->loops_lock);
    for (LmList *node = st->shared->loops.next; node != &st->shared->loops;
         node = node->next) {
        end_idle_of(LM_CONTAINER_OF(node, LmLoop, among));
    }
    lm_unlock(&st->shared->loops_lock);
    Py_RETURN_NONE;
}

/* In a child the threads, and who holds their lock, are the parent's: what is shared with them
   is left alone. */
void
lm_resolver_close(LmLoop *loop)
{
    struct LmResolver *resolver = loop->resolver;
    if (resolver == NULL) {
        return;
    }
    loop->resolver = NULL;
    while (!lm_list_is_empty(&resolver->asked)) {
        LmLookup *lookup = LM_CONTAINER_OF(resolver->asked.next, LmLookup, asked);
        Py_XDECREF(take_future(lookup));
    }
    if (!is_parents(resolver)) {
        lm_name_threads_close(resolver->threads);
    }
    free_resolver(resolver);
}

int
lm_resolver_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    struct LmResolver *resolver = loop->resolver;
    if (resolver == NULL) {
        return 0;
    }
    for (LmList *link = resolver->asked.next; link != &resolver->asked;
         link = link->next) {
        Py_VISIT((PyObject *)LM_CONTAINER_OF(link, LmLookup, asked)->tag);
    }
    return 0;
}
