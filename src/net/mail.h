/* Where a loop receives many datagrams at once, some of them merged by the system (UDP GRO).

   One for all transports of a loop, and its thread's alone. Who receives takes it out of the
   loop, since a protocol that is called in between may run the loop anew, and puts it back.
   Runs no Python. */
#ifndef LM_NET_MAIL_H
#define LM_NET_MAIL_H

#include "base/sys_many.h"
#include "core/loop.h"
#include "net/addr.h"

/* In one wake-up: a bound that leaves the other descriptors their turn. */
enum { LM_MAIL_MOST = 16 };

typedef struct LmMail LmMail;

/* One received datagram: its bytes are the mail's. */
typedef struct {
    const char *data;
    size_t size;
    const LmAddr *sender;
} LmLetter;

/* NULL with MemoryError set. */
LmMail *lm_mail_take(LmLoop *loop);
void lm_mail_put_back(LmLoop *loop, LmMail *mail);
void lm_mail_free(LmMail *mail);

/* Receives messages into an empty mail, each of up to the size that the family has: how
   many, or -1 with errno set. `notes` where they may be merged; lacks: base/sys_many.h. */
int lm_mail_receive(LmMail *mail, int fd, int family, int notes, uint8_t *lacks);

/* Takes out the next datagram. 0 where there is none: the mail is empty. */
int lm_mail_next(LmMail *mail, LmLetter *letter);

#endif
