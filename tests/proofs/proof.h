/* What the proofs are written with. Under CBMC `any_*` is every value at once; compiled by an
   ordinary compiler it is one value by chance, of a seed that is given. */
#ifndef PROOFS_PROOF_H
#define PROOFS_PROOF_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The function that is the proof: one operation, or a few, on any state. */
#ifndef PROOF
#error "compile with -DPROOF=prove_push or another of the file's"
#endif
static void PROOF(void);

#ifdef __CPROVER__

#define HOLDS(claim, words) __CPROVER_assert(claim, words)
#define SUPPOSE(condition) __CPROVER_assume(condition)

uint64_t nondet_word(void);
double nondet_double(void);

static inline uint64_t
any_word(void)
{
    return nondet_word();
}

static inline double
any_double(void)
{
    return nondet_double();
}

int
main(void)
{
    PROOF();
    return 0;
}

#else

#include <setjmp.h>
#include <stdio.h>

static jmp_buf is_not_supposed;
static uint64_t chance;

#define HOLDS(claim, words)        \
    do {                           \
        if (!(claim)) {            \
            printf("%s\n", words); \
            exit(1);               \
        }                          \
    } while (0)

#define SUPPOSE(condition)               \
    do {                                 \
        if (!(condition)) {              \
            longjmp(is_not_supposed, 1); \
        }                                \
    } while (0)

/* Often at an end of its range, where faults are. */
static inline uint64_t
any_word(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    uint64_t word = chance * UINT64_C(0x2545F4914F6CDD1D);
    switch (word >> 61) {
    case 0:
        return word & 3;
    case 1:
        return 0 - (word & 3);
    default:
        return word >> (word & 32);
    }
}

static inline double
any_double(void)
{
    uint64_t bits = any_word();
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

int
main(int argc, char **argv)
{
    long times = argc > 1 ? atol(argv[1]) : 1000;
    uint64_t seed = argc > 2 ? (uint64_t)atol(argv[2]) : 1;
    static volatile long played, whole;
    for (played = 0; played < times; played++) {
        chance = (seed + (uint64_t)played) * UINT64_C(0x9E3779B97F4A7C15) | 1;
        if (setjmp(is_not_supposed) == 0) {
            PROOF();
            whole++;
        }
    }
    printf("%ld of %ld\n", whole, times);
    return whole > 0 ? 0 : 2;
}

#endif

/* One of least, ..., most. Bits above those of `most` are known to be 0, so that CBMC does not
   carry them through everything. */
static inline uint64_t
any_between(uint64_t least, uint64_t most)
{
    uint64_t word = any_word();
#ifdef __CPROVER__
    uint64_t bits = most | most >> 1;
    bits |= bits >> 2;
    bits |= bits >> 4;
    bits |= bits >> 8;
    bits |= bits >> 16;
    bits |= bits >> 32;
    word &= bits;
    SUPPOSE(word >= least && word <= most);
    return word;
#else
    return most - least == UINT64_MAX ? word : least + word % (most - least + 1);
#endif
}

static inline size_t
any_size(size_t least, size_t most)
{
    return (size_t)any_between(least, most);
}

static inline int
any_truth(void)
{
    return (int)any_between(0, 1);
}

/* Memory that is there before the operation: only the code's own calls fail. With its type, since
   CBMC then thinks in arrays of it, and not in bytes. */
#ifdef __CPROVER__
#define HAVE(count, Type) __CPROVER_allocate((count) * sizeof(Type), 0)
#else
#define HAVE(count, Type) malloc((count) * sizeof(Type))
#endif

#endif
