/* Preloaded into a child of test_lookups.py: names whose look-up lasts as long as the test says, or
   fails. Relies on nothing of loopmod. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int is_open, waiting, asked;

/* Lets go of those who ask for "slow", from now on or not. */
void
names_open(int open)
{
    pthread_mutex_lock(&lock);
    is_open = open;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int
names_waiting(void)
{
    pthread_mutex_lock(&lock);
    int count = waiting;
    pthread_mutex_unlock(&lock);
    return count;
}

int
names_asked(void)
{
    return asked;
}

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT,
                                                                                                 "getaddrinfo");
    __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    if (host != NULL && strcmp(host, "slow") == 0) {
        pthread_mutex_lock(&lock);
        waiting++;
        while (!is_open) {
            pthread_cond_wait(&changed, &lock);
        }
        waiting--;
        pthread_mutex_unlock(&lock);
        host = "127.0.0.1";
    }
    if (host != NULL && strcmp(host, "again") == 0) {
        return EAI_AGAIN;
    }
    if (host != NULL && strcmp(host, "system") == 0) {
        errno = EMFILE;
        return EAI_SYSTEM;
    }
    if (host != NULL && strcmp(host, "many") == 0) {
        host = NULL;
    }
    struct addrinfo without = hints != NULL ? *hints : (struct addrinfo){0};
    if (host != NULL && strncasecmp(host, "localhost", 9) != 0) {
        without.ai_flags |= AI_NUMERICHOST; /* nobody is asked: that may last */
    }
    return real(host, service, &without, found);
}
