/* Receiving many datagrams at once: see datagram_many.h. Any protocol method may close,
   pause or switch the protocol, or send, or run the loop. */
#include "net/datagram_many.h"

#include "base/oserr.h"
#include "base/shared.h"
#include "net/join.h"
#include "net/mail.h"

/* A wake-up that brought so many is a burst. To merge costs the kernel something when it
   is begun, so endpoints that ask a question or two do without. */
#define BURST 4

/* How many times the socket is asked for what has come before it is left to somebody
   else. */
#define MOST_CALLS 64

/* What waits is counted by number alone. */
#define NO_OVERHEAD 0

/* The datagram as two objects: new references, or -1 with an exception set. */
static int
show(LmDatagram *d, const LmLetter *letter, PyObject **data, PyObject **sender)
{
    *data = PyBytes_FromStringAndSize(letter->data, (Py_ssize_t)letter->size);
    *sender = *data != NULL ? lm_datagram_show_sender(d, letter->sender) : NULL;
    if (*sender == NULL) {
        Py_XDECREF(*data);
        return -1;
    }
    return 0;
}

static int
keep(LmDatagram *d, const LmLetter *letter)
{
    PyObject *data, *sender;
    if (show(d, letter, &data, &sender) < 0) {
        return -1;
    }
    int failed = lm_outbuf_add_datagram(&d->left, data, sender, NO_OVERHEAD);
    Py_DECREF(data);
    Py_DECREF(sender);
    return failed;
}

/* What is not delivered now is kept. An exception that is set stays. Without memory it is
   lost, as the kernel loses what there is no room for. */
static void
keep_rest(PyObject *self, LmMail *mail)
{
    LmDatagram *d = lm_datagram(self);
    PyObject *exc = lm_exc_hold();
    LmLetter letter;
    int failed = d->base.lost > 0 || d->base.is_closing;
    while (lm_mail_next(mail, &letter)) {
        if (!failed && keep(d, &letter) < 0) {
            failed = 1;
        }
    }
    PyErr_Clear();
    lm_exc_restore(exc);
}

/* What is left is read in the next turn. An exception that is set stays. */
static void
read_left_soon(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    if (lm_outbuf_is_empty(&d->left) || d->base.loop == NULL) {
        return;
    }
    PyObject *exc = lm_exc_hold();
    d->is_left_due = lm_transport_read_left_soon(self) == 0;
    PyErr_Clear(); /* else it comes with the next datagrams */
    lm_exc_restore(exc);
}

/* -1 with an exception set; *has_failed where that is not the protocol's. */
static int
deliver_mail(PyObject *self, LmMail *mail, int *has_failed)
{
    LmDatagram *d = lm_datagram(self);
    const PyObject *context = d->base.read_context;
    LmLetter letter;
    while (lm_mail_next(mail, &letter)) {
        PyObject *data, *sender;
        if (show(d, &letter, &data, &sender) < 0) {
            *has_failed = 1;
            return -1;
        }
        int failed = lm_datagram_deliver(&d->base, data, sender);
        Py_DECREF(data);
        Py_DECREF(sender);
        if (failed < 0 || !lm_datagram_may_read_on(&d->base, context)) {
            return failed;
        }
    }
    return 0;
}

static int
receive_many(LmDatagram *d, LmMail *mail)
{
    int got = lm_mail_receive(mail, d->base.fd, d->family, d->is_merging,
                              &d->lacks_receive_many);
    if (got >= BURST && !d->knows_merging && d->family != AF_UNIX) {
        d->knows_merging = 1;
        d->is_merging = lm_sys_merge_datagrams(d->base.fd, 1) == 0;
    }
    return got;
}

int
lm_datagram_read_many(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmLoop *loop = d->base.loop;
    LmMail *mail = lm_mail_take(loop);
    if (mail == NULL) {
        return lm_datagram_report(self, LM_DATAGRAM_READ_FAULT);
    }
    int failed = 0, has_failed = 0;
    if (receive_many(d, mail) >= 0) {
        failed = deliver_mail(self, mail, &has_failed);
        keep_rest(self, mail);
        if (d->base.reader.is_active) {
            read_left_soon(self);
        }
    }
    else if (!lm_sys_is_not_ready()) {
        lm_oserr_set(errno);
        failed = -1;
        has_failed = 1;
    }
    lm_mail_put_back(loop, mail);
    return has_failed ? lm_datagram_report(self, LM_DATAGRAM_READ_FAULT) : failed;
}

int
lm_datagram_read_left(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    const PyObject *context = d->base.read_context;
    int failed = 0;
    d->is_left_due = 0;
    while (!lm_outbuf_is_empty(&d->left)) {
        LmPiece piece = lm_outbuf_take(&d->left, NO_OVERHEAD);
        failed = lm_datagram_deliver(&d->base, piece.bytes, piece.to);
        Py_DECREF(piece.bytes);
        Py_DECREF(piece.to);
        if (failed < 0 || !lm_datagram_may_read_on(&d->base, context)) {
            break;
        }
    }
    if (d->base.reader.is_active) {
        read_left_soon(self);
    }
    return failed;
}

/* What has come is taken, and what comes from now on is as any socket receives it. What comes
   in between is not told apart. */
static int
stop_merging(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmLoop *loop = (LmLoop *)Py_NewRef(d->base.loop); /* to make a tuple may end it */
    LmMail *mail = lm_mail_take(loop);
    int calls = 0, got = 0, err = 0;
    while (mail != NULL && calls++ < MOST_CALLS && d->base.lost == 0) {
        got = receive_many(d, mail);
        if (got <= 0) {
            err = got < 0 && !lm_sys_is_not_ready() ? errno : 0;
            break;
        }
        keep_rest(self, mail);
    }
    if (mail != NULL) {
        lm_mail_put_back(loop, mail);
    }
    Py_DECREF(loop);
    if (mail == NULL || d->base.lost > 0) {
        return mail == NULL ? -1 : 0;
    }
    d->is_merging = d->knows_merging = 0;
    (void)lm_sys_merge_datagrams(d->base.fd, 0);
    if (d->base.reader.is_active) {
        read_left_soon(self);
    }
    if (err != 0) {
        lm_oserr_set(err);
        return lm_datagram_report(self, LM_DATAGRAM_READ_FAULT);
    }
    return 0;
}

int
lm_datagram_expose(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    return d->is_merging && d->base.loop != NULL && lm_transport_owns_fd(&d->base)
               ? stop_merging(self)
               : 0;
}

int
lm_datagram_wants_many(PyObject *self)
{
    LmDatagram *d = lm_datagram(self);
    LmTransport *t = &d->base;
    if (t->loop->postpones && d->reads_raw && lm_transport_owns_fd(t) &&
        !lm_join_has_other_users(t) && !LM_LOAD(t->st->shared->nesting_allowed)) {
        return 1;
    }
    return lm_datagram_expose(self) < 0 ? -1 : 0;
}

int
lm_datagram_may_read(PyObject *self)
{
    read_left_soon(self);
    return 1;
}
