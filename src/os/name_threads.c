/* A queue, and the threads that serve it: see name_threads.h. Relies on pthreads alone. */
#include "os/name_threads.h"

#include "base/sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* How long a thread waits for another question. */
#define IDLE_S 10

struct LmNameThreads {
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t has_news;
    pthread_cond_t has_ended;
    LmList asked;
    LmList answered;
    LmList ended; /* threads that the owner has to join */
    LmList running;
    unsigned waiting; /* length of `asked` */
    unsigned most;
    unsigned
        count; /* length of `running`: each of them, and the owner, keep this alive */
    unsigned idle;
    int wake_fd;
    uint8_t ends_idle;
    uint8_t is_closed;
};

typedef struct {
    LmList link; /* of `running` or `ended` */
    pthread_t id;
    LmNameThreads *threads;
} Thread;

LmLookup *
lm_lookup_new(const char *host, const char *service, const struct addrinfo *hints)
{
    size_t host_size = host != NULL ? strlen(host) + 1 : 0;
    size_t service_size = service != NULL ? strlen(service) + 1 : 0;
    LmLookup *lookup = calloc(1, sizeof(*lookup) + host_size + service_size);
    if (lookup != NULL) {
        lm_list_init(&lookup->link);
        lm_list_init(&lookup->asked);
        lookup->hints = *hints;
        lookup->host = host != NULL ? memcpy(lookup->names, host, host_size) : NULL;
        lookup->service = service != NULL
                              ? memcpy(lookup->names + host_size, service, service_size)
                              : NULL;
    }
    return lookup;
}

void
lm_lookup_free(LmLookup *lookup)
{
    if (lookup->found != NULL) {
        freeaddrinfo(lookup->found);
    }
    free(lookup);
}

static void
free_lookups(LmList *lookups)
{
    while (!lm_list_is_empty(lookups)) {
        LmLookup *lookup = LM_CONTAINER_OF(lookups->next, LmLookup, link);
        lm_list_remove(&lookup->link);
        lm_lookup_free(lookup);
    }
}

static void
free_threads(LmNameThreads *threads)
{
    pthread_mutex_destroy(&threads->lock);
    pthread_cond_destroy(&threads->has_news);
    pthread_cond_destroy(&threads->has_ended);
    free(threads);
}

/* 0 where the thread is to end. */
static int
wait_for_question(LmNameThreads *threads)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    int err = 0;
    threads->idle++;
    while (threads->waiting == 0 && err != ETIMEDOUT && !threads->ends_idle) {
        err = pthread_cond_timedwait(&threads->has_news, &threads->lock, &until);
    }
    threads->idle--;
    return threads->waiting > 0;
}

static void
look_up(LmNameThreads *threads, LmLookup *lookup)
{
    pthread_mutex_unlock(&threads->lock);
    lookup->failure =
        getaddrinfo(lookup->host, lookup->service, &lookup->hints, &lookup->found);
    lookup->err = errno;
    pthread_mutex_lock(&threads->lock);
    if (threads->is_closed) {
        lm_lookup_free(lookup);
        return;
    }
    uint64_t one = 1;
    int is_first = lm_list_is_empty(&threads->answered);
    lm_list_push_back(&threads->answered, &lookup->link);
    if (is_first) {
        lm_sys_wake(threads->wake_fd, &one, sizeof(one));
    }
}

/* With the lock held: the calling thread's end. Who is left by a closed owner, which has
   detached it, clears up behind itself. 1 where nobody is there any more. */
static int
leave(LmNameThreads *threads, Thread *self)
{
    lm_list_remove(&self->link);
    threads->count--;
    if (!threads->is_closed) {
        lm_list_push_back(&threads->ended, &self->link);
        pthread_cond_broadcast(&threads->has_ended);
        return 0;
    }
    free(self);
    return threads->count == 0;
}

static void *
serve(void *arg)
{
    Thread *self = arg;
    LmNameThreads *threads = self->threads;
    pthread_mutex_lock(&threads->lock);
    while (threads->waiting > 0 || wait_for_question(threads)) {
        LmLookup *lookup = LM_CONTAINER_OF(threads->asked.next, LmLookup, link);
        lm_list_remove(&lookup->link);
        threads->waiting--;
        look_up(threads, lookup);
    }
    int is_last = leave(threads, self);
    pthread_mutex_unlock(&threads->lock);
    if (is_last) {
        free_threads(threads);
    }
    return NULL;
}

LmNameThreads *
lm_name_threads_new(int wake_fd, unsigned most)
{
    LmNameThreads *threads = calloc(1, sizeof(*threads));
    if (threads == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->has_news, &attributes);
    pthread_cond_init(&threads->has_ended, NULL);
    pthread_condattr_destroy(&attributes);
    lm_list_init(&threads->asked);
    lm_list_init(&threads->answered);
    lm_list_init(&threads->ended);
    lm_list_init(&threads->running);
    threads->wake_fd = wake_fd;
    threads->most = most;
    return threads;
}

/* With the lock held, which is let go of for each. */
static void
join_ended(LmNameThreads *threads)
{
    while (!lm_list_is_empty(&threads->ended)) {
        Thread *thread = LM_CONTAINER_OF(threads->ended.next, Thread, link);
        lm_list_remove(&thread->link);
        pthread_mutex_unlock(&threads->lock);
        pthread_join(thread->id, NULL);
        free(thread);
        pthread_mutex_lock(&threads->lock);
    }
}

/* With the lock held. Signals are for the program's threads. */
static int
start_thread(LmNameThreads *threads)
{
    sigset_t all, before;
    Thread *thread = malloc(sizeof(*thread));
    if (thread == NULL) {
        return -1;
    }
    thread->threads = threads;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread->id, NULL, serve, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        free(thread);
        return -1;
    }
    lm_list_push_back(&threads->running, &thread->link);
    threads->count++;
    return 0;
}

int
lm_name_threads_ask(LmNameThreads *threads, LmLookup *lookup)
{
    pthread_mutex_lock(&threads->lock);
    join_ended(threads);
    int needs_another =
        threads->idle <= threads->waiting && threads->count < threads->most;
    int failed = needs_another && start_thread(threads) < 0 && threads->count == 0;
    if (!failed) {
        lm_list_push_back(&threads->asked, &lookup->link);
        threads->waiting++;
        pthread_cond_signal(&threads->has_news);
    }
    pthread_mutex_unlock(&threads->lock);
    return failed ? -1 : 0;
}

void
lm_name_threads_take(LmNameThreads *threads, LmList *answered)
{
    pthread_mutex_lock(&threads->lock);
    while (!lm_list_is_empty(&threads->answered)) {
        LmList *link = threads->answered.next;
        lm_list_remove(link);
        lm_list_push_back(answered, link);
    }
    pthread_mutex_unlock(&threads->lock);
}

/* With the lock held. */
static void
end_idle(LmNameThreads *threads)
{
    threads->ends_idle = 1;
    pthread_cond_broadcast(&threads->has_news);
    while (threads->idle > 0) {
        pthread_cond_wait(&threads->has_ended, &threads->lock);
    }
    threads->ends_idle = 0;
    join_ended(threads);
}

void
lm_name_threads_end_idle(LmNameThreads *threads)
{
    pthread_mutex_lock(&threads->lock);
    end_idle(threads);
    pthread_mutex_unlock(&threads->lock);
}

void
lm_name_threads_close(LmNameThreads *threads)
{
    pthread_mutex_lock(&threads->lock);
    free_lookups(&threads->asked);
    free_lookups(&threads->answered);
    threads->waiting = 0;
    end_idle(threads);
    threads->is_closed = 1;
    threads->ends_idle = 1; /* for those who come back */
    free_lookups(&threads->answered);
    LmList *link;
    for (link = threads->running.next; link != &threads->running; link = link->next) {
        pthread_detach(LM_CONTAINER_OF(link, Thread, link)->id);
    }
    int is_last = threads->count == 0;
    pthread_mutex_unlock(&threads->lock);
    if (is_last) {
        free_threads(threads);
    }
}
