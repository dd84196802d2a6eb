/* The wake-up and the alarm of a poll: see wake.h. Relies on base/sys.h and on an LmWatch for
   each. */
#include "poll/wake.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "base/threads.h"
#include "poll/poll.h"

#include <sys/stat.h>

/* Reading quiets the descriptor. What a thread adds after this finds the loop awake. */
static void
on_wake(LmWatch *watch)
{
    LmPoll *poll = LM_CONTAINER_OF(watch, LmPoll, wake);
    char bytes[64];
    if (!lm_poll_is_parents(poll)) {
        ssize_t count = read(watch->fd, bytes, sizeof(bytes));
        (void)count;
        LM_STORE(poll->is_woken, 0);
    }
}

void
lm_alarm_close(LmPoll *poll)
{
    lm_watch_stop(poll, &poll->alarm);
    if (poll->alarm.fd >= 0) {
        close(poll->alarm.fd);
        poll->alarm.fd = -1;
    }
    poll->alarm_at_ns = 0;
}

static void
on_alarm(LmWatch *watch)
{
    LmPoll *poll = LM_CONTAINER_OF(watch, LmPoll, alarm);
    uint64_t expirations;
    if (!watch->is_active) {
        lm_alarm_close(poll); /* refused: deadlines are kept without it */
    }
    /* Nothing is lost where it was set anew in between. */
    else if (!lm_poll_is_parents(poll) &&
             read(watch->fd, &expirations, sizeof(expirations)) > 0) {
        poll->alarm_at_ns = 0;
    }
}

void
lm_wake_init(LmPoll *poll)
{
    lm_watch_init(&poll->wake, -1, LM_WATCH_READ, on_wake);
    lm_watch_init(&poll->alarm, -1, LM_WATCH_READ, on_alarm);
    poll->wake_fd = -1;
}

void
lm_wake_close(LmPoll *poll)
{
    lm_watch_stop(poll, &poll->wake);
    if (poll->wake_fd >= 0 && poll->wake_fd != poll->wake.fd) {
        close(poll->wake_fd);
    }
    if (poll->wake.fd >= 0) {
        close(poll->wake.fd);
    }
    poll->wake.fd = poll->wake_fd = -1;
    poll->is_woken = 0;
}

int
lm_wake_open(LmPoll *poll)
{
    int fds[2];
    if (lm_sys_wake_open(fds) < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    lm_wake_close(poll);
    poll->wake.fd = fds[0];
    poll->wake_fd = fds[1];
    struct stat file = {.st_ino = 0};
    fstat(fds[0], &file);
    poll->wake_dev = file.st_dev;
    poll->wake_ino = file.st_ino;
    return 0;
}

int
lm_alarm_set(LmPoll *poll, int64_t deadline_ns)
{
    if (poll->alarm.fd < 0) {
        return -1;
    }
    if (!poll->alarm.is_active && lm_watch_start(poll, &poll->alarm) < 0) {
        PyErr_Clear();
        return -1;
    }
    if (poll->alarm_at_ns != deadline_ns) {
        if (lm_sys_alarm_set(poll->alarm.fd, deadline_ns) < 0) {
            return -1;
        }
        poll->alarm_at_ns = deadline_ns;
    }
    return 0;
}
