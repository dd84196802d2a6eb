/* The facts of a poll: see facts.h. Relies on libev. */
#include "poll/facts.h"

#include "poll/evh.h"

static const char *
backend_name(unsigned backend)
{
    switch (backend) {
    case EVBACKEND_EPOLL:
        return "epoll";
    case EVBACKEND_POLL:
        return "poll";
    case EVBACKEND_SELECT:
        return "select";
    default:
        return "other";
    }
}

void
lm_poll_facts(LmPoll *poll, LmPollFacts *facts)
{
    *facts = (LmPollFacts)
    {
        .libev_major = ev_version_major(), .libev_minor = ev_version_minor(),
#if LM_LIBEV_EMBEDDED
        .is_embedded = 1,
#endif
        .backend = backend_name(ev_backend(poll->ev)), .has_alarm = poll->alarm.fd >= 0,
        .has_once = poll->once.watch.fd >= 0, .knows_set = lm_poll_set(poll) >= 0,
        .has_eventfd = poll->wake_fd == poll->wake.fd,
    };
}
