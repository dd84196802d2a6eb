/* libev's allocator and what it falls back on: see reserve.h. Relies on ev_set_allocator. */
#include "poll/reserve.h"

#include "base/sys.h"
#include "poll/evh.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* Of most programs: a reserve grows by doubling. */
#define FIRST_LIMIT 256

/* The largest array, by descriptor: what is pending, two watches of 16 bytes, and twice
   that because it grows by doubling. libev rounds up to less than a page more. */
#define SLOT_BYTES_PER_FD 64
#define SLOT_BYTES_MORE 8192

typedef struct LmRegion {
    struct LmRegion *next;
    size_t slot_size;
    unsigned used; /* a bit for each slot */
    max_align_t slots[];
} Region;

_Thread_local LmReserve *lm_reserve_here;

static char *
slot_of(Region *region, int i)
{
    return (char *)region->slots + (size_t)i * region->slot_size;
}

/* The region that the block is a slot of, and its number, or NULL. */
static Region *
region_of(LmReserve *reserve, const char *block, int *slot)
{
    Region *region = reserve != NULL ? reserve->regions : NULL;
    for (; region != NULL; region = region->next) {
        for (int i = 0; i < LM_RESERVE_SLOTS; i++) {
            if (slot_of(region, i) == block) {
                *slot = i;
                return region;
            }
        }
    }
    return NULL;
}

static char *
take_slot(LmReserve *reserve, size_t size)
{
    Region *region = reserve != NULL ? reserve->regions : NULL;
    for (int i = 0; region != NULL && i < LM_RESERVE_SLOTS; i++) {
        if (!(region->used & 1u << i) && size <= region->slot_size) {
            region->used |= 1u << i;
            return slot_of(region, i);
        }
    }
    return NULL;
}

static void
free_block(char *block)
{
    int slot;
    Region *region = region_of(lm_reserve_here, block, &slot);
    if (region == NULL) {
        free(block);
        return;
    }
    region->used &= ~(1u << slot);
}

/* What the block has room for. */
static size_t
room_of(char *block)
{
    int slot;
    Region *region = region_of(lm_reserve_here, block, &slot);
    return region != NULL ? region->slot_size : lm_sys_block_size(block);
}

/* The system gave nothing, or the block is a slot. NULL where there is no way left. */
static void *
allocate_anew(char *block, size_t size)
{
    size_t room = block != NULL ? room_of(block) : 0;
    if (room >= size) {
        return block;
    }
    char *larger = malloc(size);
    if (larger == NULL) {
        larger = take_slot(lm_reserve_here, size);
    }
    if (larger != NULL && block != NULL) {
        memcpy(larger, block, room);
        free_block(block);
    }
    return larger;
}

static void *
allocate(void *block, long size) EV_NOEXCEPT
{
    int slot;
    if (size == 0) {
        if (block != NULL) {
            free_block(block);
        }
        return NULL;
    }
    if (block != NULL && region_of(lm_reserve_here, block, &slot) != NULL) {
        return allocate_anew(block, (size_t)size);
    }
    void *grown = realloc(block, (size_t)size);
    return grown != NULL ? grown : allocate_anew(block, (size_t)size);
}

void
lm_reserve_install(void)
{
    ev_set_allocator(allocate);
}

int
lm_reserve_grow(LmReserve *reserve, int fd)
{
    int limit = reserve->limit ? reserve->limit : FIRST_LIMIT;
    while (limit <= fd && limit <= INT_MAX / 2) {
        limit *= 2;
    }
    size_t slot_size = (size_t)limit * SLOT_BYTES_PER_FD + SLOT_BYTES_MORE;
    Region *region = malloc(sizeof(*region) + LM_RESERVE_SLOTS * slot_size);
    if (region == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Region *last = reserve->regions;
    if (last != NULL && last->used == 0) {
        reserve->regions = last->next;
        free(last);
    }
    region->next = reserve->regions;
    region->slot_size = slot_size;
    region->used = 0;
    reserve->regions = region;
    reserve->limit = limit;
    return 0;
}

void
lm_reserve_release(LmReserve *reserve)
{
    while (reserve->regions != NULL) {
        Region *region = reserve->regions;
        reserve->regions = region->next;
        free(region);
    }
    reserve->limit = 0;
}
