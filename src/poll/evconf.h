/* What of libev is compiled when its source is built into the module.
 *
 * The settings change the layout of libev's structs, so ev.c and every includer of ev.h
 * must see the same ones: include evh.h, never <ev.h> itself. With the system's shared
 * library (LM_LIBEV_EMBEDDED unset) nothing is defined here, since that library was
 * built with libev's defaults. Relies on nothing; runs no Python.
 */
#ifndef LM_POLL_EVCONF_H
#define LM_POLL_EVCONF_H

#if LM_LIBEV_EMBEDDED

/* No config.h: everything that libev would ask it is said below. */
#define EV_STANDALONE 1
#define EV_MULTIPLICITY 1
#define EV_COMPAT3 0

/* One backend. epoll is the only one the poll room asks for. */
#define EV_USE_EPOLL 1
#define EV_USE_SELECT 0
#define EV_USE_POLL 0
#define EV_USE_KQUEUE 0
#define EV_USE_PORT 0
#define EV_USE_LINUXAIO 0
#define EV_USE_IOURING 0

/* clock_gettime by libc (the vDSO, not a system call), and none of the helpers that
 * open further descriptors. */
#define EV_USE_MONOTONIC 1
#define EV_USE_REALTIME 1
#define EV_USE_CLOCK_SYSCALL 0
#define EV_USE_NANOSLEEP 1
#define EV_USE_EVENTFD 1
#define EV_USE_SIGNALFD 0
#define EV_USE_TIMERFD 0
#define EV_USE_INOTIFY 0

/* Watchers: ev_io, ev_timer and ev_fork. Without periodics libev also leaves out its
 * wake-up once a minute. */
#define EV_ASYNC_ENABLE 1
#define EV_PERIODIC_ENABLE 0
#define EV_STAT_ENABLE 0
#define EV_EMBED_ENABLE 0
#define EV_FORK_ENABLE 1
#define EV_CLEANUP_ENABLE 0
#define EV_CHILD_ENABLE 0
#define EV_SIGNAL_ENABLE 0
#define EV_IDLE_ENABLE 0
#define EV_PREPARE_ENABLE 0
#define EV_CHECK_ENABLE 0
#define EV_WALK_ENABLE 0
#define EV_MINPRI 0
#define EV_MAXPRI 0

/* In a debug build libev checks its own structures as it goes. */
#if LM_DEBUG
#define EV_VERIFY 2
#else
#define EV_VERIFY 0
#endif

#endif
#endif
