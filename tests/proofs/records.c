/* TLS framing: whole records and no others are handed on, whatever the peer sends, and the
   buffer of what waits keeps every byte.

   Nothing is read beyond what has come: the memory is exactly as long as it is said to be. */
#include "proof.h"

#include "tls/rawbuf.h"
#include "tls/records.h"

static void
on_release(PyObject *obj)
{
    (void)obj;
}

#ifndef MOST
#define MOST 2 /* records */
#endif

#define LONGEST (16384 + 1024 + 320)

/* Any byte; by chance often one of these. */
static unsigned char
any_byte(unsigned least, unsigned most)
{
    return (unsigned char)(any_truth() ? any_between(least, most)
                                       : any_between(0, UCHAR_MAX));
}

/* On its own: any five bytes, by chance often such as are nearly a header. */
static void
prove_size(void)
{
    size_t length =
        any_truth() ? any_size(LONGEST - 8, LONGEST + 8) : any_size(0, 0xFFFF);
    unsigned char raw[LM_RECORD_HEADER] = {
        any_byte(19, 25),      any_byte(3, 3),
        any_byte(0, 4),        (unsigned char)(length >> 8),
        (unsigned char)length,
    };
    size_t size = lm_record_size(raw);
    HOLDS(size == 0 || (size >= LM_RECORD_HEADER && size <= LM_RECORD_LARGEST),
          "a record is between a header and the largest");
    HOLDS(size == 0 || size == LM_RECORD_HEADER + 256u * raw[3] + raw[4],
          "and as long as it says");
    HOLDS((size != 0) == (raw[0] >= 20 && raw[0] <= 24 && raw[1] == 3 && raw[2] <= 3 &&
                          length <= LONGEST),
          "sane is what OpenSSL takes");
}

static void
prove_find(void)
{
    size_t size = any_size(0, MOST * LM_RECORD_LARGEST + LM_RECORD_HEADER);
    size_t room = any_word();
    unsigned most = (unsigned)any_between(0, MOST);
    char *raw = HAVE(size, char);
    LmRecords found = lm_records_find(raw, size, room, most);
    HOLDS(found.bytes <= size && found.bytes <= room,
          "no more than came and than fits");
    HOLDS(found.count <= most, "no more than were asked for");
    HOLDS(found.bytes >= (size_t)found.count * LM_RECORD_HEADER, "each has a header");
    size_t left = size - found.bytes;
    if (found.is_sane && found.count < most && left >= LM_RECORD_HEADER) {
        size_t next = lm_record_size((unsigned char *)raw + found.bytes);
        HOLDS(next > left || next > room - found.bytes, "stopped for a reason");
        HOLDS(next != 0, "what makes no sense is said");
    }
    free(raw);
}

#define BYTES 4

/* What waits, as it was. */
static char was[2 * BYTES];
static size_t was_size;

static LmRawbuf
any_rawbuf(void)
{
    LmRawbuf buf = {NULL, 0, 0, 0};
    was_size = 0;
    if (any_truth()) {
        return buf;
    }
    buf = (LmRawbuf){HAVE(BYTES, char), any_size(0, BYTES - 1), 0, BYTES};
    buf.size = was_size = any_size(1, BYTES - buf.start);
    for (size_t i = 0; i < BYTES; i++) {
        buf.block[i] = (char)any_between(0, 7);
    }
    for (size_t i = 0; i < BYTES && i < buf.size; i++) {
        was[i] = buf.block[buf.start + i];
    }
    return buf;
}

static void
check(LmRawbuf *buf, size_t from, size_t size)
{
    HOLDS(buf->size == size, "the size is that of the model");
    HOLDS(buf->start <= buf->capacity && buf->size <= buf->capacity - buf->start,
          "within the block");
    HOLDS((buf->size == 0) == (buf->block == NULL), "an idle one holds no memory");
    for (size_t i = 0; i < 2 * BYTES && i < size; i++) {
        HOLDS(lm_rawbuf_data(buf)[i] == was[from + i], "each byte in its place");
    }
}

static void
prove_add(void)
{
    LmRawbuf buf = any_rawbuf();
    char fresh[BYTES];
    size_t count = any_size(0, BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        fresh[i] = (char)any_between(0, 7);
    }
    if (lm_rawbuf_add(&buf, fresh, count) < 0) {
        HOLDS(memory_errors == 1, "the failure is told");
        check(&buf, 0, was_size);
    }
    else {
        for (size_t i = 0; i < BYTES && i < count; i++) {
            was[was_size + i] = fresh[i];
        }
        check(&buf, 0, was_size + count);
    }
    lm_rawbuf_clear(&buf);
}

static void
prove_drop(void)
{
    LmRawbuf buf = any_rawbuf();
    SUPPOSE(was_size > 0);
    size_t count = any_size(0, was_size);
    lm_rawbuf_drop(&buf, count);
    check(&buf, count, was_size - count);
    lm_rawbuf_clear(&buf);
}
