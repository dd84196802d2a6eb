"""What a process chose for all its loops, by words that its children can inherit: see WORDS.

Chooses for `python -m loopmod`, for what it starts anew and for `pytest --loopmod`. Relies on asyncio's policies
where this Python has them.
"""

import asyncio
import sys
from asyncio import events
from collections.abc import Collection

from . import policy

# Each is an option of `python -m loopmod`, where it is described, without its dashes.
WORDS = ("as-uvloop", "defaults", "children", "debug", "no-notice")


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
