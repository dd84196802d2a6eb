"""Call everything on one type with nothing and with garbage: a crash or a hang is a failed test.

    python poke_types.py asyncio|loopmod TYPE

TYPE is a name in the package (Loop, Future, ...) or in loopmod._loopmod. Relies on nothing of the test suite,
so that it can run alone under a debugger or a sanitizer. Whatever an attribute raises is fine.
"""

import asyncio
import contextlib
import faulthandler
import gc
import io
import logging
import os
import signal
import socket
import sys
import threading
import warnings
import weakref

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]

# These wait for something by design: on a live object they are called only where they must refuse.
WAITING = {"run_forever", "serve_forever", "run_until_complete"}
# Slots that other parts of the interpreter rely on, and that hurt only the script itself.
LEFT_ALONE = {"__class__", "__dict__", "__getattribute__", "__setattr__", "__delattr__", "__init_subclass__"}
# What must not be collected meanwhile.
LIVING = []


class Odd:
    """An argument that answers every question wrongly."""

    def fileno(self):
        return "not a number"

    def get_loop(self):
        return None

    def __len__(self):
        return 2**62

    def __index__(self):
        raise ValueError("no index")

    def __float__(self):
        raise ValueError("no float")


def garbage():
    """Arguments that are wrong for nearly everything; text with NUL is refused by look-ups and commands."""
    yield from (None, 0, -1, 2**31, 2**64, 1.5, float("nan"), True)
    yield from ("\0", b"\0", bytearray(b"x"), (), [], {}, {"message": 1}, object(), Odd(), int, Odd)
    yield from (lambda *args, **kwargs: None, ValueError("garbage"), ValueError)


def argument_lists():
    """No argument, each piece of garbage once to five times, and a few mixtures."""
    yield ()
    for value in garbage():
        for count in range(1, 6):
            yield (value,) * count
    yield (-1, lambda *args: None)
    yield (lambda *args: None, -1, None)
    yield (1.0, int, (), None)
    yield (None, None, int, object())


def settle(value):
    """Let go of what a call returned: coroutines are closed, iterators asked once."""
    for name in ("close", "__next__"):
        if hasattr(type(value), "send") or name == "__next__":
            with contextlib.suppress(BaseException):
                getattr(value, name)()


def call(function, *args, **kwargs):
    try:
        value = function(*args, **kwargs)
    except BaseException:
        return
    if value is not None:
        with contextlib.suppress(BaseException):
            settle(value)


def names_of(thing):
    return [name for name in dir(type(thing)) if name not in LEFT_ALONE]


def poke(thing, waiting_is_refused):
    """Read, call, set and delete each attribute."""
    for function in (repr, str, hash, bool, len, iter, next, weakref.ref, sys.getsizeof):
        call(function, thing)
    call(lambda: thing == thing)
    call(lambda: thing < thing)
    call(lambda: thing[0])
    call(lambda: asyncio.isfuture(thing))
    for name in names_of(thing):
        try:
            value = getattr(thing, name)
        except BaseException:
            continue
        if callable(value) and (waiting_is_refused or name not in WAITING):
            for args in argument_lists():
                call(value, *args)
            call(value, no_such_keyword=1)
        del value
    for name in names_of(thing):
        for value in (None, 0, -1, "\0", [], 2**64, object(), thing):
            call(setattr, thing, name, value)
        call(repr, thing)
        call(delattr, thing, name)
        call(repr, thing)
    gc.collect()


def poke_from_thread(thing, waiting_is_refused):
    thread = threading.Thread(target=poke, args=(thing, waiting_is_refused))
    thread.start()
    thread.join()


def bare(cls):
    """Objects of the class that were never initialised, or only with garbage."""
    for make in (lambda: cls.__new__(cls), cls, lambda: object.__new__(cls)):
        with contextlib.suppress(BaseException):
            yield make()
    for args in argument_lists():
        with contextlib.suppress(BaseException):
            yield cls(*args)
            return


def initialise_again(thing):
    for args in argument_lists():
        call(type(thing).__init__, thing, *args)


def is_loop(thing):
    return isinstance(thing, asyncio.AbstractEventLoop)


def finished(future):
    future.set_result(1)
    return future


def on_pipe(loop, name):
    """A transport over one end of a pipe."""
    reader, writer = (os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    if name == "ReadPipeTransport":
        writer.write(b"data")
        made = loop.connect_read_pipe(asyncio.Protocol, reader)
    else:
        made = loop.connect_write_pipe(asyncio.Protocol, writer)
    transport, _ = loop.run_until_complete(made)
    transport.other_end = writer if name == "ReadPipeTransport" else reader
    return transport


def tls_protocol(loop):
    import ssl

    from loopmod import _loopmod

    return _loopmod.SSLProtocol(loop, asyncio.Protocol(), ssl.create_default_context(), None, False, "localhost")


def begun(loop, protocol):
    """The TLS protocol in the middle of its handshake, over one of its kind."""
    protocol.connection_made(tls_protocol(loop)._app_transport)
    return protocol


def live_makers(cls):
    """Functions that make a proper object of the class on a loop, as a program gets it."""
    name = cls.__name__
    if issubclass(cls, asyncio.AbstractEventLoop):
        return [lambda loop: cls()]
    if issubclass(cls, asyncio.Task):
        return [lambda loop: cls(asyncio.sleep(0), loop=loop)]
    if issubclass(cls, asyncio.Future):
        return [lambda loop: cls(loop=loop), lambda loop: finished(cls(loop=loop))]
    if name in ("Handle", "TimerHandle"):
        return [
            lambda loop: loop.call_soon(int),
            lambda loop: loop.call_later(0, int, 1),
            lambda loop: loop.call_soon_threadsafe(int),
        ]
    if name == "Server":
        return [lambda loop: loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))]
    if name in ("ReadPipeTransport", "WritePipeTransport"):
        return [lambda loop: on_pipe(loop, name)]
    if name == "EventLoopPolicy":
        return [lambda loop: cls()]
    if name == "SocketTransport":
        return [lambda loop: loop._make_socket_transport(sockets(socket.SOCK_STREAM)[0], asyncio.Protocol())]
    if name == "DatagramTransport":
        return [connected_datagrams, unconnected_datagrams]
    if name == "SSLProtocol":
        return [lambda loop: tls_protocol(loop), lambda loop: begun(loop, tls_protocol(loop))]
    if name == "SSLTransport":
        return [lambda loop: tls_protocol(loop)._app_transport]
    return []


def sockets(type):
    """A pair that lives as long as the process."""
    pair = socket.socketpair(socket.AF_UNIX, type)
    for sock in pair:
        sock.setblocking(False)
    LIVING.append(pair)
    return pair


def connected_datagrams(loop):
    """A transport with datagrams queued."""
    near, far = sockets(socket.SOCK_DGRAM)
    far.bind(f"\0{os.getpid()}-{id(near)}")
    transport = loop._make_datagram_transport(near, asyncio.DatagramProtocol())
    while not transport.get_write_buffer_size():
        transport.sendto(b"x" * 1000)
    return transport


def unconnected_datagrams(loop):
    making = loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    return loop.run_until_complete(making)[0]


def run_turns(loop):
    for _ in range(3):
        with contextlib.suppress(BaseException):
            loop.call_soon(loop.stop)
            loop.run_forever()


def poke_type(cls, new_loop):
    for thing in bare(cls):
        if is_loop(thing):
            with contextlib.suppress(AttributeError):
                # Debuggers and repr of other objects ask these of any loop.
                assert thing.is_closed() in (True, False)
                assert repr(thing)
        poke(thing, not is_loop(thing) or not hasattr(thing, "_selector"))
    for thing in bare(cls):
        poke_from_thread(thing, not is_loop(thing) or not hasattr(thing, "_selector"))
        initialise_again(thing)
        poke(thing, False)
    for args in argument_lists():
        call(cls, *args)
        call(cls.__new__, *args)
        call(cls.__new__, cls, *args)
        call(lambda args=args: type("Derived", (cls,), {})(*args))
    for name in dir(cls):
        if name not in LEFT_ALONE and callable(getattr(cls, name, None)) and name not in WAITING:
            for args in ((), (None,), (object(),), (Odd(), None)):
                call(getattr(cls, name), *args)

    for treat in (poke, poke_from_thread, lambda thing, refused: initialise_again(thing)):
        for make in live_makers(cls):
            # A loop for each: after the treatment it may hold an object that is of no use any more.
            loop = new_loop()
            thing = make(loop)
            treat(thing, False)
            run_turns(loop)
            close_by_force(thing)
            close_by_force(loop)
            # What is poked after its loop was closed must not reach into it.
            loop = new_loop()
            thing = make(loop)
            loop.close()
            close_by_force(thing)
            treat(thing, is_loop(thing))
            del thing
            gc.collect()


def close_by_force(thing):
    """Close a loop past what may have been set on the instance; leave anything else alone."""
    if is_loop(thing):
        with contextlib.suppress(BaseException):
            type(thing).close(thing)


def find_type(kind, name):
    """The type and a factory of loops."""
    if kind == "asyncio":
        names = {
            "Loop": asyncio.SelectorEventLoop,
            "Server": asyncio.base_events.Server,
            "EventLoopPolicy": getattr(asyncio, "DefaultEventLoopPolicy", None),
        }
        return names.get(name) or getattr(asyncio, name), asyncio.SelectorEventLoop
    import loopmod._loopmod

    return getattr(loopmod, name, None) or getattr(loopmod._loopmod, name), loopmod.new_event_loop


def main(kind, name):
    faulthandler.enable()
    faulthandler.dump_traceback_later(100, exit=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    threading.excepthook = lambda args: None
    errors, sys.stderr = sys.stderr, io.StringIO()
    try:
        cls, new_loop = find_type(kind, name)
        poke_type(cls, new_loop)
        gc.collect()
    finally:
        sys.stderr = errors

    # After all that the interpreter and a new loop must be in order.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # One of the methods called was BaseEventLoop._run_forever_setup.
    asyncio._set_running_loop(None)
    loop = new_loop()
    assert loop.run_until_complete(asyncio.wait_for(asyncio.sleep(0, "well"), 30)) == "well"
    loop.close()
    print("survived", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
