"""Call everything on one type with arguments that end, close, cancel, re-enter or free what is held meanwhile.

    python hostile_types.py TYPE

TYPE is a name in loopmod or in loopmod._loopmod. Whatever a method raises is fine; a crash is a failed test. Other
than poke_types.py, beside which it stands, it makes a new object for each call: what an argument does is to
meet an object in full working order. Relies on nothing of the test suite, so that it can run alone under a
sanitizer.
"""

import asyncio
import contextlib
import contextvars
import faulthandler
import gc
import io
import itertools
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import types
import warnings

from poke_types import LIVING, WAITING, call, close_by_force, names_of

import loopmod
from loopmod import _loopmod

# These wait, start threads or processes, or end the script itself.
SKIPPED = WAITING | {"print_stack", "_run_nested", "run_in_executor", "subprocess_exec", "subprocess_shell"}
BUFFERS = sys.version_info >= (3, 12)  # a class in Python may have them
MOST_ACTS = 3  # of one call
CONTEXT = ssl.create_default_context()
ENDS = socket.socketpair()
var = contextvars.ContextVar("var")


class Scene:
    """The object of a call, its loop, and what every hostile method does with them."""

    def __init__(self, action):
        self.action = action
        self.left = 0
        self.thing = self.loop = None
        self.held = []

    def act(self):
        if self.left <= 0 or self.thing is None:
            return
        self.left -= 1
        with contextlib.suppress(BaseException):
            self.action(self)

    def begin(self, make, loop):
        self.loop, self.left = loop, 0
        self.thing = make(self)

    def end(self):
        self.left = 0
        thing, loop = self.thing, self.loop
        self.thing = self.loop = None
        self.held.clear()
        turns(loop)
        close_by_force(thing)
        close_by_force(loop)


def turns(loop):
    """By a future of its own: a run within the run takes away nothing that ends it."""
    for _ in range(2):
        with contextlib.suppress(BaseException):
            loopmod.Loop.run_until_complete(loop, asyncio.sleep(0))


# --- what the arguments do


def end(scene):
    for name in ("abort", "cancel", "close"):
        call(getattr(scene.thing, name, None))
    for handle in list(scene.loop._ready):
        if "connection_lost" in repr(handle):
            call(handle._run)


def close(scene):
    type(scene.loop).close(scene.loop)


def reenter(scene):
    turns(scene.loop)


def initialise(scene):
    for args in ((), (nothing(),)):
        call(type(scene.thing).__init__, scene.thing, *args, loop=loopmod.new_event_loop())


def replace(scene):
    """Everything that can be set is, so that what stood there goes."""
    thing = scene.thing
    call(getattr(thing, "set_protocol", None), asyncio.Protocol())
    for name in ("_extra", "_pipe", "_cancel_message", "_task_factory", "_debug", "name"):
        call(setattr, thing, name, {})
        call(delattr, thing, name)
    call(getattr(thing, "connection_lost", None), None)
    call(getattr(thing, "_reset_empty_waiter", None))
    scene.held.clear()
    gc.collect()
    scene.junk = [bytearray(size) for size in range(32, 512, 16) for _ in range(20)]


def find(scene):
    """Use what the collector knows and a program is never given."""
    for found in gc.get_objects():
        if type(found).__module__.startswith("loopmod") and type(found) is type(scene.thing):
            for name in ("abort", "close", "cancel", "get_extra_info", "_run"):
                call(getattr(found, name, None))


ACTIONS = [end, close, reenter, initialise, replace, find]


# --- what carries them


async def nothing():
    pass


def hostile_method(name, answer):
    def method(self, *args, **kwargs):
        self.scene.act()
        return answer(self) if callable(answer) else answer

    method.__name__ = name
    return method


ANSWERS = {
    "__eq__": lambda self: False,
    "__hash__": 1,
    "__bool__": True,
    "__index__": 1,
    "__int__": 1,
    "__float__": 1.0,
    "__fspath__": "/dev/null",
    "__iter__": lambda self: iter(self.items()),
    "__len__": 2,
    "__str__": "text",
    "__repr__": "text",
    "__radd__": 1.0,
    "__le__": False,
    "__lt__": False,
    "__getitem__": 1,
    "__setitem__": None,
    "__contains__": False,
    "keys": lambda self: ["a", "b"],
    "items": lambda self: [b"x", self],
    "fileno": lambda self: ENDS[0].fileno(),
    "get_loop": lambda self: self.scene.loop,
    "done": False,
    "cancelled": False,
    "__call__": None,
    "__del__": None,
    "__await__": lambda self: iter(()),
}


class Hostile:
    """Answers every question, and acts before."""

    _asyncio_future_blocking = True

    def __init__(self, scene):
        self.scene = scene

    def __getattr__(self, name):
        if name == "scene" or (name.startswith("__") and name != "__context__"):
            raise AttributeError(name)
        self.scene.act()
        return hostile_method(name, None).__get__(self)

    def __buffer__(self, flags):
        self.scene.act()
        return memoryview(bytearray(b"hostile"))

    def __release_buffer__(self, view):
        self.scene.act()


for name, answer in ANSWERS.items():
    setattr(Hostile, name, hostile_method(name, answer))


class HostileBytes(bytes):
    def __new__(cls, scene):
        made = super().__new__(cls, b"bytes")
        made.scene = scene
        return made

    def __buffer__(self, flags):
        self.scene.act()
        return memoryview(bytearray(b"hostile"))

    __release_buffer__ = Hostile.__release_buffer__
    __len__ = Hostile.__len__
    __del__ = Hostile.__del__


class HostileError(OSError):
    """An exception with a traceback whose frames act when they go."""

    scene = None

    def __init__(self, *args):
        super().__init__(*args)
        HostileError.scene.act()

    @property
    def errno(self):
        HostileError.scene.act()
        return 5


def raised(scene):
    HostileError.scene = scene
    kept = Hostile(scene)
    try:
        raise HostileError(5, "text")
    except HostileError as exc:
        exc.kept = kept
        return exc


class HostileSocket(socket.socket):
    scene = None

    def act(name):
        def method(self, *args, **kwargs):
            self.scene and self.scene.act()
            return getattr(socket.socket, name)(self, *args, **kwargs)

        return method

    for name in ("close", "detach", "fileno", "recv", "recvfrom", "send", "sendto", "getsockname", "setblocking"):
        locals()[name] = act(name)
    del act, name


def hostile_context(scene):
    context = contextvars.copy_context()
    context.run(var.set, Hostile(scene))
    return context


def pieces(scene):
    scene.held = [HostileBytes(scene), b"abc", HostileBytes(scene)]  # replace() empties it
    return scene.held


ARGUMENTS = [
    lambda scene: (),
    lambda scene: (Hostile(scene),),
    lambda scene: (Hostile(scene), Hostile(scene)),
    lambda scene: (HostileBytes(scene),),
    lambda scene: (pieces(scene),),
    lambda scene: (b"x", Hostile(scene)),
    lambda scene: (HostileBytes(scene), ("localhost", 1)),
    lambda scene: (raised(scene),),
    lambda scene: (HostileError,),
    lambda scene: (PlainProtocol(scene),),
    lambda scene: (1.0, Hostile(scene), Hostile(scene)),
]


class HostileProtocol(asyncio.BufferedProtocol):
    """A protocol of either kind each of whose methods acts, when it is called and when it is looked up."""

    def __init__(self, scene):
        self.scene = scene

    def __getattribute__(self, name):
        if not name.startswith("__") and name != "scene":
            self.scene.act()
        return object.__getattribute__(self, name)

    def get_buffer(self, hint):
        return Hostile(self.scene) if BUFFERS else bytearray(8)

    def pause_writing(self):
        pass

    resume_writing = pause_writing

    def datagram_received(self, data, address):
        pass

    error_received = connection_lost = connection_made = buffer_updated = lambda self, *args: None


class PlainProtocol(HostileProtocol, asyncio.Protocol):
    data_received = eof_received = lambda self, *args: None


# --- what is called


def pair(scene, kind=socket.SOCK_STREAM):
    near, far = socket.socketpair(type=kind)
    made = HostileSocket(near.family, near.type, 0, near.detach())
    made.scene = scene
    for sock in (made, far):
        sock.setblocking(False)
    LIVING.append(far)
    return made, far


def stream(scene, protocol, fills):
    near, far = pair(scene)
    made = scene.loop._make_socket_transport(near, protocol(scene), extra={"x": 1})
    turns(scene.loop)
    if fills:
        made.set_write_buffer_limits(1 << 30)
        made.write(b"x" * (1 << 20))
    far.send(b"hello")
    return made


def datagrams(scene, fills):
    near, far = pair(scene, socket.SOCK_DGRAM)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # full after a few
    made = scene.loop._make_datagram_transport(near, HostileProtocol(scene))
    turns(scene.loop)
    with contextlib.suppress(OSError):
        far.send(b"hello")
    for _ in range(20 if fills else 0):
        if not made.get_write_buffer_size():
            made.sendto(b"x" * 1000, Hostile(scene) if fills == 2 else None)
    return made


def pipe(scene, writes):
    reading, writing = os.pipe()
    files = os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)
    LIVING.append(files[not writes])
    method = scene.loop._make_write_pipe_transport if writes else scene.loop._make_read_pipe_transport
    if not writes:
        files[1].write(b"data")
    made = method(files[writes], HostileProtocol(scene))
    turns(scene.loop)
    if writes:
        made.write(b"x" * (1 << 17))
    return made


def tls(scene, begins):
    protocol = _loopmod.SSLProtocol(scene.loop, HostileProtocol(scene), CONTEXT, None, False, "localhost")
    if begins:
        protocol.connection_made(Hostile(scene) if begins == 2 else stream(scene, HostileProtocol, False))
    return protocol


def waiting_task(scene):
    async def waits():
        with contextlib.suppress(BaseException):
            await Hostile(scene)
        await future

    future = loopmod.Future(loop=scene.loop)
    made = scene.loop.create_task(waits(), context=hostile_context(scene))
    turns(scene.loop)
    return made


def failed_future(scene):
    made = loopmod.Future(loop=scene.loop)
    made.set_exception(raised(scene))
    return made


def subclassed(scene, base, *args):
    members = {name: hostile_method(name, ANSWERS[name]) for name in ("__eq__", "__hash__", "__del__")}
    made = type("Hostile" + base.__name__, (base,), members | {"scene": scene})(*args, loop=scene.loop)
    made.add_done_callback(Hostile(scene))
    made.add_done_callback(Hostile(scene), context=hostile_context(scene))
    return made


def listener(scene):
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    LIVING.append(sock)
    return scene.loop._start_serving_native(Hostile(scene), sock, Hostile(scene), 5, hostile_context(scene))


def sock_op(scene):
    near, far = pair(scene)
    return scene.loop._start_recv(near, 10)


def hostile_loop(scene):
    scene.loop._add_reader(pair(scene)[0], Hostile(scene), context=hostile_context(scene))
    scene.loop._watch_once(pair(scene)[0].detach(), Hostile(scene))
    scene.loop.call_soon(Hostile(scene), context=hostile_context(scene))
    scene.loop.call_later(100, Hostile(scene), Hostile(scene))
    return scene.loop


MAKERS = {
    "Loop": [hostile_loop],
    "Future": [
        lambda scene: loopmod.Future(loop=scene.loop),
        failed_future,
        lambda scene: subclassed(scene, loopmod.Future),
    ],
    "Task": [
        lambda scene: scene.loop.create_task(nothing(), context=hostile_context(scene)),
        waiting_task,
        lambda scene: subclassed(scene, loopmod.Task, nothing()),
    ],
    "Handle": [
        lambda scene: scene.loop.call_soon(Hostile(scene), Hostile(scene), context=hostile_context(scene)),
        lambda scene: scene.loop.call_soon_threadsafe(Hostile(scene), context=hostile_context(scene)),
    ],
    "TimerHandle": [lambda scene: scene.loop.call_later(0, Hostile(scene), Hostile(scene))],
    "SocketTransport": [
        lambda scene: stream(scene, HostileProtocol, False),
        lambda scene: stream(scene, HostileProtocol, True),
        lambda scene: stream(scene, PlainProtocol, True),
    ],
    "DatagramTransport": [lambda scene, how=how: datagrams(scene, how) for how in range(3)],
    "ReadPipeTransport": [lambda scene: pipe(scene, 0)],
    "WritePipeTransport": [lambda scene: pipe(scene, 1)],
    "SSLProtocol": [lambda scene, how=how: tls(scene, how) for how in range(3)],
    "SSLTransport": [lambda scene, how=how: tls(scene, how)._app_transport for how in range(3)],
    "Listener": [listener],
    "SockOp": [sock_op],
    "FutureIter": [
        lambda scene: iter(loopmod.Future(loop=scene.loop)),
        lambda scene: iter(failed_future(scene)),
    ],
}


def get_or_set(thing, name, *args):
    return setattr(thing, name, args[0]) if args else getattr(thing, name)


def uses_of(thing):
    """Each way to use the object: a name, and a function of the object and arguments."""
    for name in names_of(thing):
        if name in SKIPPED or getattr(object, name, None) is getattr(type(thing), name, None):
            continue
        attribute = getattr(type(thing), name, None)
        if isinstance(attribute, types.FunctionType):
            continue  # asyncio's own, which may not survive: bytes.join() of a list that is emptied
        if callable(attribute) and not isinstance(attribute, type):
            yield name, lambda thing, *args, name=name: getattr(thing, name)(*args)
        elif isinstance(attribute, types.GetSetDescriptorType | types.MemberDescriptorType | property):
            yield name, lambda thing, *args, name=name: get_or_set(thing, name, *args)
    yield "turn", lambda thing, *args: None
    yield "drop", lambda thing, *args: None


def meet(scene, make, use, name, number):
    loop = loopmod.new_event_loop()
    loop.set_exception_handler(Hostile(scene))
    with contextlib.suppress(BaseException):
        scene.begin(make, loop)
        args = ARGUMENTS[number](scene)
        scene.left = MOST_ACTS
        if name == "drop":
            scene.thing = None
            gc.collect()
        else:
            call(use, scene.thing, *args)
        del args
        turns(loop)
    thing, scene.thing = scene.thing, None
    scene.loop = loop
    scene.thing = thing if thing is not None else loop
    scene.end()


def meet_all(name):
    for action, make in itertools.product(ACTIONS, MAKERS[name]):
        scene = Scene(action)
        loop = loopmod.new_event_loop()
        scene.begin(make, loop)
        uses = list(uses_of(scene.thing))
        scene.end()
        for use_name, use in uses:
            numbers = range(len(ARGUMENTS)) if use_name not in ("turn", "drop") else (0,)
            for number in numbers:
                meet(scene, make, use, use_name, number)
            LIVING.clear()
            gc.collect()


def main(name):
    faulthandler.enable()
    faulthandler.dump_traceback_later(int(os.environ.get("HOSTILE_LIMIT", "360")), exit=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    threading.excepthook = lambda args: None
    loopmod.allow_nested_runs()
    gc.collect()
    gc.freeze()  # what stands until now is not looked at each time
    errors, sys.stderr = sys.stderr, io.StringIO()
    try:
        meet_all(name)
        gc.collect()
    finally:
        sys.stderr = errors
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    asyncio._set_running_loop(None)
    loop = loopmod.new_event_loop()
    assert loop.run_until_complete(asyncio.wait_for(asyncio.sleep(0, "well"), 30)) == "well"
    loop.close()
    print("survived", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
