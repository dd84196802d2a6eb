/* What of a poll's kernel objects is still its own, and what libev must not tell the kernel of:
   see poll.h. Relies on base/sys.h; knows no libev. */
#include "poll/poll.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "base/threads.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

/* Counts the forks this process came out of: the child must not share the kernel's set
   with its parent. */
unsigned lm_fork_count;
static pthread_once_t fork_hook_once = PTHREAD_ONCE_INIT;

static void
count_fork(void)
{
    lm_fork_count++;
}

static void
install_fork_hook(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

void
lm_poll_count_forks(void)
{
    pthread_once(&fork_hook_once, install_fork_hook);
}

int
lm_poll_refusal(LmPoll *poll, int fd)
{
    int err = poll->refusal;
    /* libev asks twice about what it believes to be there. */
    if (err == 0 || err == EEXIST || err == ENOENT) {
        err = lm_sys_probe(fd);
    }
    return err ? err : ENOMEM;
}

/* A set that its own is in is watched only by who names it. */
int
lm_poll_fatal_refusal(LmPoll *poll, const LmWatch *watch)
{
    struct stat st;
    if (watch->own_fd != NULL && *watch->own_fd != watch->fd) {
        return EBADF; /* a stranger's by now, who is not to be watched */
    }
    if (watch->fd == poll->set_fd) {
        return EINVAL;
    }
    if (!watch->is_users) {
        return fcntl(watch->fd, F_GETFD) < 0 && errno == EBADF ? EBADF : 0;
    }
    if (fstat(watch->fd, &st) < 0) {
        return errno == EBADF ? EBADF : 0;
    }
    if (S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        return 0;
    }
    int set = lm_poll_set(poll);
    int err = set >= 0 ? lm_sys_try(set, watch->fd) : 0;
    return err == EINVAL || err == ELOOP ? err : 0;
}

int
lm_poll_check_set(LmPoll *poll)
{
    if (LM_UNLIKELY(poll->is_set_guessed)) {
        (void)lm_poll_set(poll);
    }
    if (poll->set_fd >= 0 && !poll->is_set_guessed) {
        int err = lm_sys_try(poll->set_fd, poll->wake.fd);
        if (err != 0 && err != EEXIST && err != ENOMEM && err != ENOSPC) {
            lm_oserr_set(err);
            return -1;
        }
    }
    return 0;
}

int
lm_poll_check_numbers(const LmPoll *poll)
{
    struct stat file;
    if (!lm_poll_is_parents(poll) ||
        (fstat(poll->wake.fd, &file) == 0 && file.st_dev == poll->wake_dev &&
         file.st_ino == poll->wake_ino)) {
        return 0;
    }
    lm_oserr_set(EBADF);
    return -1;
}

int
lm_poll_set(LmPoll *poll)
{
    if (poll->set_fd < 0 || lm_poll_is_parents(poll)) {
        return -1;
    }
    /* The number may be a stranger's by now: only ours has the wake-up in it. */
    int is_ours = lm_sys_try(poll->set_fd, poll->wake.fd) == EEXIST;
    if (poll->is_set_guessed) {
        poll->is_set_guessed = 0;
        if (!is_ours) {
            poll->set_fd = -1;
        }
    }
    return is_ours ? poll->set_fd : -1;
}

void
lm_poll_wake(LmPoll *poll)
{
    uint64_t one = 1;
    if (poll->wake_fd >= 0 && !LM_LOAD(poll->is_woken) && !lm_poll_is_parents(poll)) {
        LM_STORE(poll->is_woken, 1);
        lm_sys_wake(poll->wake_fd, &one, sizeof(one));
    }
}
