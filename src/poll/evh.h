/* The one way to libev's header: its settings first, then ev.h.
 *
 * Relies on evconf.h and on the ev.h of the system or of LOOPMOD_LIBEV_SRC, whichever
 * the build put first on the include path. Only the poll room may include this.
 */
#ifndef LM_POLL_EVH_H
#define LM_POLL_EVH_H

#include "poll/evconf.h"

#include <ev.h>

#endif
