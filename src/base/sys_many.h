/* The Linux-only system calls for many datagrams at once: see sys.h, whose rules hold here
   too. */
#ifndef LM_BASE_SYS_MANY_H
#define LM_BASE_SYS_MANY_H

#include "base/sys.h"

#include <netinet/in.h>

/* Of UDP sockets, which older C libraries do not name: what is sent is cut into datagrams of
   a size, and what arrives so may stay in one piece. */
#define LM_SYS_CUT 103   /* UDP_SEGMENT */
#define LM_SYS_MERGE 104 /* UDP_GRO */

/* Whether the system cuts up what is sent over a UDP socket. Older ones do not look at what
   they are asked for with a message, and send it whole. */
static inline int
lm_sys_cuts_datagrams(int fd)
{
    int size = 0;
    socklen_t length = sizeof(size);
    return getsockopt(fd, IPPROTO_UDP, LM_SYS_CUT, &size, &length) == 0;
}

/* Whether errors come back to a socket that names no peer. */
static inline int
lm_sys_tells_errors(int fd, int family)
{
    int tells = 0;
    socklen_t length = sizeof(tells);
    int failed = family == AF_INET6
                     ? getsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &tells, &length)
                     : getsockopt(fd, IPPROTO_IP, IP_RECVERR, &tells, &length);
    return failed < 0 || tells;
}

static inline int
lm_sys_merge_datagrams(int fd, int merge)
{
    return setsockopt(fd, IPPROTO_UDP, LM_SYS_MERGE, &merge, sizeof(merge));
}

/* Room for what comes with a message of merged datagrams: time stamps and the like, which
   somebody may have asked for, stand before it. */
typedef union {
    struct cmsghdr first;
    char room[256];
} LmSysNote;

/* Room for what goes with a message that is to be cut. */
typedef union {
    struct cmsghdr first;
    char room[CMSG_SPACE(sizeof(uint16_t))];
} LmSysCut;

/* Asks for a message, whose header is the caller's, to be cut into datagrams of that
   size. */
static inline void
lm_sys_cut(struct msghdr *message, LmSysCut *note, uint16_t size)
{
    message->msg_control = note;
    message->msg_controllen = CMSG_SPACE(sizeof(size));
    note->first.cmsg_level = IPPROTO_UDP;
    note->first.cmsg_type = LM_SYS_CUT;
    note->first.cmsg_len = CMSG_LEN(sizeof(size));
    memcpy(CMSG_DATA(&note->first), &size, sizeof(size));
}

/* The size of the datagrams that a received message is merged of; 0 where it is one. */
static inline size_t
lm_sys_merged_size(struct msghdr *message)
{
    for (struct cmsghdr *note = CMSG_FIRSTHDR(message); note != NULL;
         note = CMSG_NXTHDR(message, note)) {
        if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == LM_SYS_MERGE) {
            int size;
            memcpy(&size, CMSG_DATA(note), sizeof(size));
            return size > 0 ? (size_t)size : 0;
        }
    }
    return 0;
}

/* Receives or sends up to `count` messages at once: how many. Where the system has no such
   call, it is one, and *lacks is set, by which that is not asked again. To be refused
   leave to send may be about what is sent: then a single one is refused too. */
static inline int
lm_sys_receive_many(int fd, struct mmsghdr *messages, unsigned count, uint8_t *lacks)
{
    if (!*lacks) {
        int got = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
        if (got >= 0 || !lm_sys_is_refused()) {
            return got;
        }
    }
    ssize_t size = recvmsg(fd, &messages->msg_hdr, MSG_DONTWAIT);
    if (size < 0) {
        return -1;
    }
    *lacks = 1;
    messages->msg_len = (unsigned)size;
    return 1;
}

static inline int
lm_sys_send_many(int fd, struct mmsghdr *messages, unsigned count, uint8_t *lacks)
{
    if (count > 1 && !*lacks) {
        int sent = sendmmsg(fd, messages, count, MSG_NOSIGNAL);
        if (sent >= 0 || !lm_sys_is_refused()) {
            return sent;
        }
    }
    if (sendmsg(fd, &messages->msg_hdr, MSG_NOSIGNAL) < 0) {
        return -1;
    }
    *lacks |= count > 1;
    return 1;
}

#endif
