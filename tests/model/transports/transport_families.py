"""The families of programs: what each plays, by which name a seed of it is called.

A seed of the pairs (`transport_program.py`) is called by its number, one of the others by name and
number: `streams:7`.
"""

import transport_children
import transport_datagrams
import transport_program
import transport_servers
import transport_socks
import transport_streams
import transport_tls_peer
import transport_watches
from transport_play import play as play_pair
from transport_stage import make_scenario, play_stage

PAIRS = "pairs"
MODULES = (
    transport_streams,
    transport_socks,
    transport_watches,
    transport_tls_peer,
    transport_datagrams,
    transport_servers,
    transport_children,
)
STAGES = {module.NAME: module for module in MODULES}
FAMILIES = [PAIRS, *STAGES]
PAIR_KINDS = transport_program.KINDS
KINDS = PAIR_KINDS + [kind for family in STAGES.values() for kind in family.KINDS]
# What a loop may join the writes of: plain streams.
JOINED = transport_program.STREAMS + transport_streams.PLAIN


def make(family, seed):
    """The program of a seed."""
    return transport_program.make_program(seed) if family == PAIRS else make_scenario(seed, STAGES[family])


def name_of(program):
    return str(program.seed) if program.family == PAIRS else f"{program.family}:{program.seed}"


def by_name(name):
    """The program of a seed that is called so."""
    family, _, seed = name.rpartition(":")
    return make(family or PAIRS, int(seed))


def play(program, factory, is_joined=False):
    """Play a program on a loop of this factory; return what was noted."""
    if program.family == PAIRS:
        return play_pair(program, factory, is_joined)
    return play_stage(STAGES[program.family].STAGE, program, factory, is_joined)
