"""What a process chooses for all its loops: by `install`, or by words that its children can inherit: see WORDS.

The words are those of `python -m loopmod`, of what it starts anew and of `pytest --loopmod`. Relies on asyncio's
policies where this Python has them (loopmod/policy.py).
"""

import asyncio
import sys
from asyncio import events
from collections.abc import Collection

from . import policy

# Each is an option of `python -m loopmod`, where it is described, without its dashes.
WORDS = ("as-uvloop", "defaults", "children", "debug", "no-notice")


def install(*, as_uvloop: bool = False) -> None:
    """Make every new loop of this process one of ours, by setting the event loop policy.

    as_uvloop: also answer for uvloop: who imports that name, whether it is installed or not, gets a module whose
    public names, those of uvloop 0.23, are loopmod's. It reaches programs that can be told no loop but look for
    uvloop. Modules that hold uvloop already get the names too; classes that they took out of it stay uvloop's.

    Raises RuntimeError on a Python that has no policies any more (3.16 and later). `uninstall` undoes it.
    """
    policy.install_policy()
    if as_uvloop:
        # Here and not above: nobody else pays for it.
        from . import stand_in

        stand_in.install()


def uninstall() -> None:
    """Undo `install`: the policy before it is back, and `uvloop` is uvloop. Loops that were made go on.

    A policy that was set since then stays, and so does a module that somebody took for uvloop. Idempotent.
    """
    policy.uninstall_policy()
    stand_in = sys.modules.get(f"{__package__}.stand_in")
    if stand_in is not None:
        stand_in.uninstall()


def use_loop() -> None:
    """Make every new loop of the process one of ours, through the policy where this Python has one."""
    if policy.has_policies():
        policy.install_policy()
        return
    # The only door that asyncio.run, asyncio.Runner and asyncio.new_event_loop then share.
    events.new_event_loop = policy.new_event_loop
    asyncio.new_event_loop = policy.new_event_loop


def make(words: Collection[str]) -> None:
    """Make the choice of these words. What no word asks for is not imported."""
    use_loop()
    if "as-uvloop" in words:
        from . import stand_in

        stand_in.install()
    if "defaults" in words:
        policy.reach_defaults()
    if "children" in words:
        from . import children

        children.let_inherit(words)
    # One that watches already, by the choice of the environment, obeys this one from here on.
    if "debug" in words or "no-notice" not in words or f"{__package__}.notice" in sys.modules:
        from . import notice

        notice.watch(words)
