"""install(as_uvloop=True): who imports uvloop gets loopmod under uvloop's public names, and uninstall() undoes it.

Covers loopmod/stand_in.py. Each case is a process of its own, in which every warning is an error. uvloop is not
there at all, or a package that looks like it is; where the real one is installed, that one too.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
from tree import ROOT

pytestmark = pytest.mark.timeout(60)

START = """
import asyncio, importlib, importlib.util, sys
import loopmod
HAS_POLICIES = sys.version_info < (3, 16)
async def running():
    return asyncio.get_running_loop()
def fails(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as exc:
        assert text in str(exc), exc
    else:
        raise AssertionError(call)
"""
CASES = {
    "the public names": """
loopmod.install(as_uvloop=True)
import uvloop
from uvloop import EventLoopPolicy, Loop, __version__, install, new_event_loop, run
from uvloop.loop import Loop as CoreLoop
import uvloop.loop
assert set(uvloop.__all__) == {"new_event_loop", "run", "install", "EventLoopPolicy"}
assert uvloop.__version__ == "0.23.0"
assert Loop is CoreLoop is uvloop.loop.Loop is loopmod.Loop and EventLoopPolicy is loopmod.EventLoopPolicy
star = {}
exec("from uvloop import *", star)
assert set(uvloop.__all__) <= set(star)
loop = new_event_loop()
assert type(loop) is loopmod.Loop and isinstance(loop, uvloop.Loop) and isinstance(loop, uvloop.loop.Loop)
loop.close()
class Own(uvloop.Loop):
    pass
with asyncio.Runner(loop_factory=Own) as runner:
    assert type(runner.run(running())) is Own
assert type(asyncio.run(running())) is loopmod.Loop
fails(AttributeError, "no_such", getattr, uvloop, "no_such")
fails(ImportError, "uvloop.no_such", importlib.import_module, "uvloop.no_such")
""",
    "run": """
loopmod.install(as_uvloop=True)
import uvloop
assert type(uvloop.run(running())) is loopmod.Loop
async def debugs():
    return asyncio.get_running_loop().get_debug()
assert uvloop.run(debugs(), debug=True) is True and uvloop.run(debugs()) is False
class Own(uvloop.Loop):
    pass
assert type(uvloop.run(running(), loop_factory=Own)) is Own
coro = running()
fails(TypeError, "uses a non-uvloop event loop", uvloop.run, coro, loop_factory=asyncio.SelectorEventLoop)
coro.close()
class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0, 5).__await__()
        return 5
assert uvloop.run(Awaitable()) == 5
async def main():
    fails(RuntimeError, "cannot be called from a running event loop", uvloop.run, Awaitable())
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)
    uvloop.run(main())
""",
    "its own install and policy": """
loopmod.install(as_uvloop=True)
loopmod.uninstall()
import warnings
loopmod.install(as_uvloop=True)
import uvloop
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy(None)
    uvloop.install()
    assert type(asyncio.get_event_loop_policy()) is loopmod.EventLoopPolicy
    class Own(uvloop.EventLoopPolicy):
        pass
    asyncio.set_event_loop_policy(Own())
assert type(asyncio.run(running())) is loopmod.Loop
""",
    "clear in its repr": """
loopmod.install(as_uvloop=True)
import uvloop
assert repr(uvloop) == "<module 'uvloop' (loopmod in its place)>", repr(uvloop)
assert repr(uvloop.loop) == "<module 'uvloop.loop' (loopmod in its place)>"
assert uvloop.__spec__.origin == "loopmod" and "loopmod" in uvloop.__doc__
assert repr(uvloop.Loop) == "<class 'loopmod.loop.Loop'>"
loop = uvloop.new_event_loop()
assert repr(loop).startswith("<Loop "), loop
loop.close()
from loopmod import info
assert "import uvloop    loopmod, with the names of uvloop 0.23.0" in info.text()
loopmod.uninstall()
assert "import uvloop    loopmod" not in info.text() and "import uvloop " in info.text()
""",
    "looked for, reloaded, taken out": """
loopmod.install(as_uvloop=True)
assert "uvloop" not in sys.modules
assert importlib.util.find_spec("uvloop").origin == "loopmod"
import uvloop
assert importlib.util.find_spec("uvloop") is uvloop.__spec__
uvloop.run = None
assert importlib.reload(uvloop) is uvloop and uvloop.run is not None
del sys.modules["uvloop"], sys.modules["uvloop.loop"]
import uvloop as again
assert again is not uvloop and again.Loop is loopmod.Loop
loopmod.install(as_uvloop=True)
loopmod.install()
import uvloop as same
assert same is again
""",
    "undone": """
was_there = importlib.util.find_spec("uvloop") is not None
loopmod.install(as_uvloop=True)
import uvloop as ours
loopmod.uninstall()
loopmod.uninstall()
assert type(asyncio.run(running())) is not loopmod.Loop
assert "uvloop" not in sys.modules and "uvloop.loop" not in sys.modules
assert (importlib.util.find_spec("uvloop") is not None) == was_there
if was_there:
    import uvloop
    assert uvloop is not ours and uvloop.Loop is not loopmod.Loop
# Who holds it has a working module.
assert type(ours.run(running())) is loopmod.Loop
loopmod.install(as_uvloop=True)
import uvloop
assert uvloop.Loop is loopmod.Loop
""",
    "only the policy is undone": """
loopmod.uninstall()
loopmod.install()
loopmod.install()
assert type(asyncio.run(running())) is loopmod.Loop
loopmod.uninstall()
assert type(asyncio.run(running())) is not loopmod.Loop
loopmod.install()
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    class Own(type(asyncio.get_event_loop_policy())):
        pass
    own = Own()
    asyncio.set_event_loop_policy(own)
    # Set since then: it stays.
    loopmod.uninstall()
    assert asyncio.get_event_loop_policy() is own
""",
}
WITH_UVLOOP = {
    "imported before": """
import uvloop, uvloop.loop
from uvloop import Loop as Taken, new_event_loop as taken
before, contents = repr(uvloop), {**vars(uvloop)}
core = {**vars(uvloop.loop)}
loopmod.install(as_uvloop=True)
import uvloop as again
assert again is uvloop
assert uvloop.Loop is uvloop.loop.Loop is loopmod.Loop
assert repr(uvloop) == "<module 'uvloop' (loopmod in its place)>"
assert type(uvloop.run(running())) is loopmod.Loop
loop = uvloop.new_event_loop()
assert type(loop) is loopmod.Loop
loop.close()
# Taken by name: a function finds what the module holds now, a class is what it was.
loop = taken()
assert type(loop) is loopmod.Loop
loop.close()
loop = Taken()
assert type(loop) is Taken is not loopmod.Loop
loop.close()
loopmod.uninstall()
assert repr(uvloop) == before and vars(uvloop) == contents and vars(uvloop.loop) == core
assert sys.modules["uvloop"] is uvloop
loop = uvloop.new_event_loop()
assert type(loop).__module__ == "uvloop"
loop.close()
""",
    "while a thread imports it": """
import threading, time
from loopmod import stand_in
class Trap:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "uvloop._version":
            begun.set()
            while not stand_in.is_installed():
                time.sleep(0.001)
begun = threading.Event()
sys.meta_path.insert(0, Trap)
thread = threading.Thread(target=lambda: importlib.import_module("uvloop"))
thread.start()
begun.wait()
loopmod.install(as_uvloop=True)
thread.join()
import uvloop
assert uvloop.Loop is uvloop.loop.Loop is loopmod.Loop
assert type(uvloop.run(running())) is loopmod.Loop
loopmod.uninstall()
assert sys.modules["uvloop"] is uvloop and "in its place" not in repr(uvloop) + repr(uvloop.loop)
loop = uvloop.new_event_loop()
assert type(loop).__module__ == "uvloop"
loop.close()
""",
    "installed, but not loaded": """
loopmod.install(as_uvloop=True)
import uvloop
assert type(uvloop.new_event_loop).__module__ == "builtins" and not hasattr(uvloop, "__file__")
assert not any(name.startswith("uvloop.") and name != "uvloop.loop" for name in sys.modules)
uvloop.run(running())
""",
}
# What a program without the real one may meet in tests here.
LOOKALIKE = {
    "__init__": "import asyncio\nfrom .loop import Loop as Core\nfrom ._version import __version__\n"
    "class Loop(Core): pass\ndef new_event_loop(): return Loop()\n"
    "def run(main):\n    with asyncio.Runner(loop_factory=Loop) as runner: return runner.run(main)\n",
    "loop": "import asyncio\nclass Loop(asyncio.SelectorEventLoop): pass\n",
    "_version": "__version__ = '0.1'\n",
}


def launch(program, *paths, blocked=False):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), str(ROOT)]), "PYTHONASYNCIODEBUG": ""}
    # Taken from what is installed, or from nothing: a finder after all others is asked for what was not found.
    block = (
        "import sys\nfor finder in sys.meta_path:\n"
        "    def find(name, *args, plain=getattr(finder, 'find_spec')):\n"
        "        return None if name.partition('.')[0] == 'uvloop' else plain(name, *args)\n"
        "    finder.find_spec = find\n"
    )
    options = ["-W", "error", "-W", "ignore:There is no current event loop:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", (block if blocked else "") + START + program],
        env=env,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def lookalike(tmp_path):
    (tmp_path / "uvloop").mkdir()
    for name, text in LOOKALIKE.items():
        (tmp_path / "uvloop" / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_without_uvloop(name):
    launch(CASES[name], blocked=True)


@pytest.mark.parametrize("name", {**CASES, **WITH_UVLOOP})
def test_with_a_uvloop(name, lookalike):
    launch({**CASES, **WITH_UVLOOP}[name], lookalike)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
@pytest.mark.parametrize("name", ["the public names", "undone", *WITH_UVLOOP])
def test_with_the_real_uvloop(name):
    launch({**CASES, **WITH_UVLOOP}[name])


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_every_public_name_of_the_real_one():
    launch("""
import uvloop
names = {name for name in vars(uvloop) if not name.startswith("_")} | set(uvloop.__all__) | {"__version__"}
loopmod.install(as_uvloop=True)
del sys.modules["uvloop"], sys.modules["uvloop.loop"]
import uvloop as ours
# includes: headers for those who compile against it.
assert {name for name in names if not hasattr(ours, name)} == {"includes"}
""")
