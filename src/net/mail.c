/* Receiving many datagrams at once: see mail.h.

   The messages lie apart by the size that one may have, and a bit more, so that their first
   bytes do not all compete for the same lines of the caches. Pages are touched, and so cost
   memory, only as far as messages fill them. */
#include "net/mail.h"

#define INTERNET_SIZE ((size_t)64 * 1024)
#define APART ((size_t)1280)
#define AREA (LM_MAIL_MOST * (INTERNET_SIZE + APART))
/* What asyncio receives of one message at most: only those of Unix sockets can be so
   large. */
#define UNIX_SIZE ((size_t)LM_SCRATCH_SIZE)
#define UNIX_MOST ((unsigned)(AREA / (UNIX_SIZE + APART)))

struct LmMail {
    struct mmsghdr messages[LM_MAIL_MOST];
    struct iovec vectors[LM_MAIL_MOST];
    LmAddr senders[LM_MAIL_MOST];
    LmSysNote notes[LM_MAIL_MOST];
    size_t size; /* of a message, by which they are laid out */
    unsigned count, next;
    size_t at, step; /* within the next one: of merged datagrams; or 0 */
    char area[];
};

LmMail *
lm_mail_take(LmLoop *loop)
{
    LmMail *mail = loop->mail;
    loop->mail = NULL;
    if (mail == NULL) {
        mail = PyMem_RawMalloc(sizeof(*mail) + AREA);
        if (mail == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        memset(mail, 0, sizeof(*mail));
    }
    return mail;
}

void
lm_mail_put_back(LmLoop *loop, LmMail *mail)
{
    lm_mail_free(loop->mail); /* of a run within this one */
    loop->mail = mail;
}

void
lm_mail_free(LmMail *mail)
{
    PyMem_RawFree(mail);
}

/* What the system writes into a message's header. */
static void
reset(LmMail *mail, unsigned i, int notes)
{
    struct msghdr *message = &mail->messages[i].msg_hdr;
    message->msg_namelen = LM_ADDR_ROOM;
    message->msg_control = notes ? &mail->notes[i] : NULL;
    message->msg_controllen = notes ? sizeof(mail->notes[i]) : 0;
}

static void
lay_out(LmMail *mail, size_t size)
{
    mail->size = size;
    for (unsigned i = 0; i < LM_MAIL_MOST && (i + 1) * (size + APART) <= AREA; i++) {
        mail->vectors[i] = (struct iovec){mail->area + i * (size + APART), size};
        mail->messages[i].msg_hdr = (struct msghdr){.msg_name = &mail->senders[i],
                                                    .msg_iov = &mail->vectors[i],
                                                    .msg_iovlen = 1};
    }
}

int
lm_mail_receive(LmMail *mail, int fd, int family, int notes, uint8_t *lacks)
{
    int is_unix = family == AF_UNIX;
    unsigned most = is_unix ? UNIX_MOST : LM_MAIL_MOST;
    size_t size = is_unix ? UNIX_SIZE : INTERNET_SIZE;
    if (mail->size != size) {
        lay_out(mail, size);
    }
    for (unsigned i = 0; i < most; i++) {
        reset(mail, i, notes);
    }
    int got = lm_sys_receive_many(fd, mail->messages, most, lacks);
    mail->count = got > 0 ? (unsigned)got : 0;
    mail->next = 0;
    mail->at = 0;
    return got;
}

/* The next message is begun. */
static void
open_message(LmMail *mail, struct mmsghdr *message)
{
    LmAddr *sender = &mail->senders[mail->next];
    sender->length = message->msg_hdr.msg_namelen < LM_ADDR_ROOM
                         ? message->msg_hdr.msg_namelen
                         : LM_ADDR_ROOM;
    mail->step = lm_sys_merged_size(&message->msg_hdr);
    if (mail->step == 0) {
        mail->step = message->msg_len;
    }
}

int
lm_mail_next(LmMail *mail, LmLetter *letter)
{
    if (mail->next == mail->count) {
        return 0;
    }
    struct mmsghdr *message = &mail->messages[mail->next];
    if (mail->at == 0) {
        open_message(mail, message);
    }
    size_t left = message->msg_len - mail->at;
    letter->data = (char *)mail->vectors[mail->next].iov_base + mail->at;
    letter->size = left < mail->step ? left : mail->step;
    letter->sender = &mail->senders[mail->next];
    mail->at += letter->size;
    if (mail->at == message->msg_len) {
        mail->next++;
        mail->at = 0;
    }
    return 1;
}
