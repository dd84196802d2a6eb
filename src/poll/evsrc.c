/* libev itself, where the build was given its source (LOOPMOD_LIBEV_SRC).
 *
 * Otherwise the file is empty and the system's shared library is linked. The settings
 * come from evconf.h, so that libev sees what the poll room sees. The build names
 * libev's directory as a system one: the warnings of a source that is not ours stay
 * silent, and only those. Runs no Python.
 */

/* Python.h says this elsewhere; -std=c11 hides pipe2 and CLOCK_MONOTONIC without it. */
#define _GNU_SOURCE 1

#include "poll/evconf.h"

#if LM_LIBEV_EMBEDDED

#include "ev.c"

#else

/* ISO C wants at least one declaration in a file. */
typedef int libev_is_linked;

#endif
