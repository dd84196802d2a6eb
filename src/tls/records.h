/* The framing of TLS records: whole ones are handed to OpenSSL and no others, so that no
   read ends in an exception that says there is nothing to read. Relies on lm.h. */
#ifndef LM_TLS_RECORDS_H
#define LM_TLS_RECORDS_H

#include "base/lm.h"

#define LM_RECORD_HEADER 5
#define LM_RECORD_PLAIN 16384
/* What OpenSSL takes at most: compression, cipher and padding. A longer one is refused by
   its header, so it is shown that and not waited for. */
#define LM_RECORD_LARGEST (LM_RECORD_HEADER + LM_RECORD_PLAIN + 1024 + 320)

typedef struct {
    size_t bytes;   /* of whole records at the front */
    unsigned count; /* of these records */
    int is_sane;    /* 0 where what follows is no header of a record */
} LmRecords;

/* The size of the record that begins at `raw`, 0 where its header says nothing that a
   record's may. */
static inline size_t
lm_record_size(const unsigned char *raw)
{
    size_t length = ((size_t)raw[3] << 8) + raw[4];
    int is_sane = raw[0] >= 20 && raw[0] <= 24 && raw[1] == 3 && raw[2] <= 3 &&
                  length <= LM_RECORD_LARGEST - LM_RECORD_HEADER;
    return is_sane ? LM_RECORD_HEADER + length : 0;
}

/* The whole records at the front, at most `most` of them and `room` bytes. */
static inline LmRecords
lm_records_find(const char *raw, size_t size, size_t room, unsigned most)
{
    LmRecords found = {0, 0, 1};
    while (found.count < most && size - found.bytes >= LM_RECORD_HEADER) {
        size_t length = lm_record_size((const unsigned char *)raw + found.bytes);
        if (length == 0) {
            found.is_sane = 0;
            break;
        }
        if (length > size - found.bytes || found.bytes + length > room) {
            break;
        }
        found.bytes += length;
        found.count++;
    }
    return found;
}

#endif
