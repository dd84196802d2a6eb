/* Sending many datagrams at once: see burst.h. */
#include "net/burst.h"

#include "base/sys_many.h"

#define MOST_MESSAGES 16
#define MOST_VECTORS 64
/* The kernel's bounds of a message that it cuts up: of older kernels, and with room for the
   headers. */
#define MOST_CUT 64
#define MOST_CUT_BYTES ((size_t)65000)

/* Messages as they are built. */
typedef struct {
    struct mmsghdr messages[MOST_MESSAGES];
    struct iovec vectors[MOST_VECTORS];
    LmAddr names[MOST_MESSAGES];
    LmSysCut cuts[MOST_MESSAGES];
    unsigned count;        /* of messages */
    unsigned vectors_used; /* of datagrams */
    PyObject *to;          /* of the last message: its address, */
    size_t size;           /* ... the size of its datagrams, */
    size_t bytes;          /* ... how much it has */
    int is_full;           /* ... whether it takes more */
} Messages;

static void
learn(LmDatagram *d)
{
    d->knows_segments = 1;
    d->most_segment = lm_sys_cuts_datagrams(d->base.fd) ? UINT16_MAX : 0;
    /* An error that came back ends sendmmsg, which does not say so. */
    d->lacks_send_many |= d->is_connected || lm_sys_tells_errors(d->base.fd, d->family);
}

static int
is_same_destination(const LmDatagram *d, const Messages *m, PyObject *to)
{
    LmAddr room;
    if (d->is_connected || to == m->to) {
        return 1;
    }
    const LmAddr *name = lm_datagram_name(d, to, &room);
    return name != NULL && lm_addr_same(name, &m->names[m->count - 1]);
}

/* Whether the datagram goes into the last message. */
static int
fits(const LmDatagram *d, const Messages *m, const LmPiece *piece)
{
    return m->count > 0 && !m->is_full && piece->left > 0 && piece->left <= m->size &&
           m->size <= d->most_segment && m->bytes + piece->left <= MOST_CUT_BYTES &&
           m->messages[m->count - 1].msg_hdr.msg_iovlen < MOST_CUT &&
           is_same_destination(d, m, piece->to);
}

static void
put_in(Messages *m, const LmPiece *piece)
{
    m->vectors[m->vectors_used++] = (struct iovec){(void *)piece->data, piece->left};
    m->messages[m->count - 1].msg_hdr.msg_iovlen++;
    m->bytes += piece->left;
    m->is_full |= piece->left < m->size;
}

/* 0 where the address is not plain. */
static int
begin_message(const LmDatagram *d, Messages *m, const LmPiece *piece)
{
    LmAddr *name = &m->names[m->count];
    struct msghdr *message = &m->messages[m->count].msg_hdr;
    *message = (struct msghdr){.msg_iov = &m->vectors[m->vectors_used]};
    if (!d->is_connected) {
        const LmAddr *known = lm_datagram_name(d, piece->to, name);
        if (known == NULL) {
            return 0;
        }
        if (known != name) {
            *name = *known;
        }
        message->msg_name = name;
        message->msg_namelen = name->length;
    }
    m->count++;
    m->to = piece->to;
    m->size = piece->left;
    m->bytes = 0;
    m->is_full = 0;
    return 1;
}

/* Of the first `most` datagrams as many as go by one call. */
static void
fill(const LmDatagram *d, Messages *m, size_t most, const LmBurst *burst)
{
    const LmOutbuf *out = &d->base.out;
    unsigned most_messages = d->lacks_send_many ? 1 : MOST_MESSAGES;
    m->count = m->vectors_used = 0;
    for (size_t i = 0; i < most && i < out->count && i < MOST_VECTORS; i++) {
        const LmPiece *piece = &out->pieces[out->first + i];
        if (i < burst->singles || !fits(d, m, piece)) {
            if (m->count == most_messages || !begin_message(d, m, piece)) {
                break;
            }
            m->is_full = i < burst->singles;
        }
        put_in(m, piece);
    }
    for (unsigned i = 0; i < m->count; i++) {
        struct msghdr *message = &m->messages[i].msg_hdr;
        if (message->msg_iovlen > 1) {
            lm_sys_cut(message, &m->cuts[i], (uint16_t)message->msg_iov[0].iov_len);
        }
    }
}

static void
drop_sent(LmDatagram *d, size_t count, LmBurst *burst)
{
    burst->singles -= count < burst->singles ? count : burst->singles;
    while (count-- > 0 && !lm_outbuf_is_empty(&d->base.out)) {
        lm_outbuf_drop(&d->base.out, LM_DATAGRAM_OVERHEAD);
    }
}

/* What was not taken merged went out singly: so it is from now on, and that of its size. */
static void
note_blame(LmDatagram *d, LmBurst *burst)
{
    if (burst->singles > 0 && burst->blamed != 0) {
        if (burst->at_most < d->most_segment) {
            d->most_segment = burst->at_most;
        }
        burst->blamed = 0;
    }
}

/* Whether errno may be about the cutting: the device cannot (EIO), or the way takes no
   datagrams of the size but in fragments. */
static int
is_about_cutting(void)
{
    return errno == EIO || errno == EINVAL || errno == EMSGSIZE || errno == EOPNOTSUPP;
}

static size_t
datagrams_of(const Messages *m, int messages)
{
    size_t count = 0;
    for (int i = 0; i < messages; i++) {
        count += m->messages[i].msg_hdr.msg_iovlen;
    }
    return count;
}

int
lm_burst_send(LmDatagram *d, size_t most, LmBurst *burst)
{
    Messages m;
    int sent;
    if (!d->knows_segments) {
        learn(d);
    }
    for (;;) {
        fill(d, &m, most, burst);
        if (m.count == 0) {
            return LM_BURST_ODD;
        }
        sent = lm_sys_send_many(d->base.fd, m.messages, m.count, &d->lacks_send_many);
        size_t merged = m.messages[0].msg_hdr.msg_iovlen;
        if (sent >= 0 || merged == 1 || !is_about_cutting()) {
            break;
        }
        burst->singles = merged;
        burst->blamed = (uint16_t)m.vectors[0].iov_len;
        burst->at_most = errno == EIO ? 0 : (uint16_t)(burst->blamed - 1);
    }
    if (sent < 0) {
        return lm_sys_is_not_ready() ? 0 : -1;
    }
    size_t count = datagrams_of(&m, sent);
    note_blame(d, burst);
    drop_sent(d, count, burst);
    return (int)count;
}

int
lm_burst_may(const LmDatagram *d, PyObject *addr)
{
    const LmOutbuf *out = &d->base.out;
    LmAddr room;
    if (d->is_connected) {
        return 1;
    }
    /* All that is joined has such addresses. */
    return (d->base.is_joined && !lm_outbuf_is_empty(out) &&
            out->pieces[out->first + out->count - 1].to == addr) ||
           lm_datagram_name(d, addr, &room) != NULL;
}

void
lm_burst_drop_first(LmDatagram *d, LmBurst *burst)
{
    drop_sent(d, 1, burst);
}
