"""The classes under test: asyncio's, which are the oracle, and loopmod's."""

import asyncio
import types

import pytest

import loopmod

NAMES = ("Event", "Lock", "Semaphore", "BoundedSemaphore", "Queue", "PriorityQueue", "LifoQueue")


def classes(maker):
    """Return the classes that "stock" asyncio has, or those that are "ours"."""
    module = asyncio if maker == "stock" else loopmod
    return types.SimpleNamespace(**{name: getattr(module, name) for name in NAMES})


@pytest.fixture(params=["stock", "ours"])
def sync(request):
    """A namespace of the classes."""
    return classes(request.param)


@pytest.fixture
def makers():
    """Both of them, by name, for tests that compare."""
    return {maker: classes(maker) for maker in ("stock", "ours")}
