"""Every method and keyword of AbstractEventLoop, transports and servers, held to the running asyncio's parameters.

Covers the table of face/loop_type.c and what loopmod.Loop adds to it. The loop's methods are also called, with each
documented keyword by its name: a keyword that is refused, a method that is not implemented, and a method that this
module forgot are failures. That a keyword has its effect is told by the tests of what it belongs to. TLS is
switched off by its keywords' defaults; start_tls meets a peer that hangs up.
"""

import asyncio
import concurrent.futures
import contextlib
import inspect
import os
import signal
import socket
import ssl
import sys
import tempfile

import pytest
from tcp_support import Recorder, only_loopmod, tcp_pair, turns

pytestmark = pytest.mark.timeout(60)

METHODS = sorted(
    name for name, value in vars(asyncio.AbstractEventLoop).items() if callable(value) and not name.startswith("_")
)


def parameters(function):
    """Name, kind and default of each parameter; annotations are our own affair."""
    return {each.name: (each.kind, each.default) for each in inspect.signature(function).parameters.values()}


def check_parameters(ours, stock, name):
    """Each parameter of asyncio's is one of ours; a catch-all for further keywords may come on top."""
    try:
        theirs = parameters(getattr(stock, name))
    except ValueError:
        return  # some of CPython's own cannot be read
    own = parameters(getattr(ours, name))
    extra = {key for key in own.keys() - theirs.keys() if own[key][0] is not inspect.Parameter.VAR_KEYWORD}
    catches_all = any(kind is inspect.Parameter.VAR_KEYWORD for kind, _ in theirs.values())
    assert not extra or catches_all, f"{name}: {extra} are not asyncio's"
    assert {key: own.get(key) for key in theirs} == theirs, name
    order = [key for key in own if key in theirs]
    assert order == list(theirs), name


@pytest.mark.parametrize("name", METHODS)
def test_parameters_of_loop_methods(kind, new_loop, name):
    only_loopmod(kind, "compares loopmod with asyncio")
    stock = asyncio.SelectorEventLoop()
    try:
        check_parameters(new_loop(), stock, name)
    finally:
        stock.close()


@pytest.mark.parametrize("name", METHODS)
def test_docstrings_of_loop_methods_are_whole(kind, new_loop, name):
    only_loopmod(kind, "asyncio's own have none, or no full stop")
    method = getattr(type(new_loop()), name)
    theirs = getattr(asyncio.SelectorEventLoop, name).__doc__
    if method.__doc__ and method.__doc__ != theirs:
        assert method.__doc__.rstrip().endswith((".", ":"))


async def objects():
    """A transport, a server, a future, a task, a handle and a timer of the running loop, and what closes them."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    task = loop.create_task(asyncio.sleep(0))
    made = {
        "transport": transport,
        "server": server,
        "future": loop.create_future(),
        "task": task,
        "handle": loop.call_soon(int),
        "timer": loop.call_later(0, int),
    }
    await task

    def close():
        transport.abort()
        far.close()
        server.close()

    return made, close


def public_methods(thing):
    return {name for name in dir(thing) if not name.startswith("_") and callable(getattr(thing, name))}


@pytest.mark.parametrize("what", ["transport", "server", "future", "task", "handle", "timer"])
def test_parameters_of_other_methods(kind, new_loop, what):
    only_loopmod(kind, "compares loopmod with asyncio")

    async def stock():
        return await objects()

    async def ours(stock):
        made, close = await objects()
        missing = public_methods(stock[what]) - public_methods(made[what])
        assert not missing
        for name in public_methods(stock[what]):
            check_parameters(made[what], stock[what], name)
        close()
        await turns()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        things, close = runner.run(stock())
        with asyncio.Runner(loop_factory=new_loop) as other:
            other.run(ours(things))
        runner.get_loop().call_soon(close)
        runner.run(turns())


# Calls with every keyword. Each function below calls one method of the loop by `call(**keywords)`, which notes the
# keywords; together the calls of a method must have given each documented one.

CALLS = {}
NO_TLS = {"ssl": None, "ssl_handshake_timeout": None, "ssl_shutdown_timeout": None}


def calls(function):
    CALLS[function.__name__] = function
    return function


class Call:
    """Calls one method of the loop and notes which keywords it was given."""

    def __init__(self, loop, name):
        self.loop = loop
        self.name = name
        self.method = getattr(loop, name)
        self.documented = inspect.signature(getattr(asyncio.SelectorEventLoop, name)).parameters
        self.given = set()

    def __call__(self, *args, **keywords):
        """`args` for what has no name of its own."""
        self.given |= keywords.keys()
        return self.method(*args, **keywords)

    def has(self, keyword):
        """Whether the running version documents a keyword that others do not have."""
        return keyword in self.documented

    def newer(self, **keywords):
        """Those of the keywords that the running version documents."""
        return {name: value for name, value in keywords.items() if self.has(name)}

    def forgotten(self):
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = {name for name, each in self.documented.items() if each.kind not in variable}
        return named - self.given - {"self"}


@calls
async def time(call):
    assert type(call()) is float


@calls
async def is_running(call):
    assert call() is True


@calls
async def is_closed(call):
    assert call() is False


@calls
async def get_debug(call):
    assert call() in (True, False)


@calls
async def set_debug(call):
    call(enabled=call.loop.get_debug())


@calls
async def create_future(call):
    assert asyncio.isfuture(call())


@calls
async def create_task(call):
    async def answer():
        return 42

    task = call(coro=answer(), name="name", context=None, **call.newer(eager_start=False))
    assert await task == 42 and task.get_name() == "name"


@calls
async def get_task_factory(call):
    assert call() is None


@calls
async def set_task_factory(call):
    call(factory=None)


@calls
async def call_soon(call):
    call(callback=int, context=None)
    call(int, "1", context=None)


@calls
async def call_soon_threadsafe(call):
    call(callback=int, context=None)
    call(int, "1", context=None)


@calls
async def call_later(call):
    call(delay=0, callback=int, context=None)
    call(0, int, "1", context=None)


@calls
async def call_at(call):
    call(when=0, callback=int, context=None)
    call(0, int, "1", context=None)


@calls
async def run_in_executor(call):
    assert await call(executor=None, func=int) == 0
    assert await call(None, int, "7") == 7


@calls
async def set_default_executor(call):
    call(executor=concurrent.futures.ThreadPoolExecutor(1))


@calls
async def shutdown_default_executor(call):
    await call(**call.newer(timeout=5))


@calls
async def shutdown_asyncgens(call):
    await call()


@calls
async def getaddrinfo(call):
    host = {"host": "127.0.0.1", "port": 80}
    found = await call(**host, family=socket.AF_INET, type=socket.SOCK_STREAM, proto=6, flags=0)
    assert found[0][4] == ("127.0.0.1", 80)


@calls
async def getnameinfo(call):
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await call(sockaddr=("127.0.0.1", 80), flags=numeric) == ("127.0.0.1", "80")


@calls
async def get_exception_handler(call):
    call()


@calls
async def set_exception_handler(call):
    call(handler=None)


@calls
async def default_exception_handler(call):
    call(context={"message": "told by test_signatures"})


@calls
async def call_exception_handler(call):
    call(context={"message": "told by test_signatures"})


@calls
async def create_server(call):
    server = await call(
        protocol_factory=asyncio.Protocol,
        host="127.0.0.1",
        port=0,
        family=socket.AF_INET,
        flags=socket.AI_PASSIVE,
        backlog=5,
        reuse_address=True,
        reuse_port=True,
        start_serving=True,
        **call.newer(keep_alive=True),
        **NO_TLS,
    )
    server.close()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    (await call(asyncio.Protocol, sock=sock)).close()


@calls
async def create_unix_server(call):
    with tempfile.TemporaryDirectory() as place:
        server = await call(
            protocol_factory=asyncio.Protocol,
            path=f"{place}/s",
            backlog=5,
            start_serving=True,
            **call.newer(cleanup_socket=True),
            **NO_TLS,
        )
        server.close()
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"{place}/t")
        (await call(asyncio.Protocol, sock=sock)).close()


@calls
async def create_connection(call):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        transport, _ = await call(
            protocol_factory=asyncio.Protocol,
            host=host,
            port=port,
            family=socket.AF_INET,
            proto=socket.IPPROTO_TCP,
            flags=0,
            local_addr=("127.0.0.1", 0),
            server_hostname=None,
            happy_eyeballs_delay=0.25,
            interleave=1,
            **call.newer(all_errors=True),
            **NO_TLS,
        )
        transport.abort()
        near, far = tcp_pair()
        transport, _ = await call(asyncio.Protocol, sock=near)
        transport.abort()
        far.close()


@calls
async def create_unix_connection(call):
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}/s")
        listener.listen()
        transport, _ = await call(
            protocol_factory=asyncio.Protocol, path=f"{place}/s", server_hostname=None, **NO_TLS
        )
        transport.abort()
        near, far = socket.socketpair()
        transport, _ = await call(asyncio.Protocol, sock=near)
        transport.abort()
        far.close()


@calls
async def connect_accepted_socket(call):
    near, far = tcp_pair()
    transport, _ = await call(protocol_factory=asyncio.Protocol, sock=near, **NO_TLS)
    transport.abort()
    far.close()


@calls
async def create_datagram_endpoint(call):
    transport, _ = await call(
        protocol_factory=asyncio.DatagramProtocol,
        local_addr=("127.0.0.1", 0),
        remote_addr=("127.0.0.1", 9),
        family=socket.AF_INET,
        proto=socket.IPPROTO_UDP,
        flags=0,
        reuse_port=True,
        allow_broadcast=True,
        **call.newer(reuse_address=None),
    )
    transport.abort()
    sock = socket.socket(type=socket.SOCK_DGRAM)
    transport, _ = await call(asyncio.DatagramProtocol, sock=sock)
    transport.abort()


@calls
async def start_tls(call):
    near, far = tcp_pair()
    transport, protocol = await call.loop.create_connection(Recorder, sock=near)
    far.close()
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await call(
            transport=transport,
            protocol=protocol,
            sslcontext=ssl.create_default_context(),
            server_side=False,
            server_hostname="localhost",
            ssl_handshake_timeout=5,
            ssl_shutdown_timeout=5,
        )
    transport.abort()


@calls
async def sendfile(call):
    near, far = tcp_pair()
    transport, _ = await call.loop.create_connection(asyncio.Protocol, sock=near)
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        assert await call(transport=transport, file=file, offset=2, count=3, fallback=True) == 3
    assert await call.loop.sock_recv(far, 10) == b"234"
    transport.abort()
    far.close()


@calls
async def sock_sendfile(call):
    near, far = tcp_pair()
    with near, far, tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        assert await call(sock=near, file=file, offset=2, count=3, fallback=True) == 3
        assert await call.loop.sock_recv(far, 10) == b"234"


@contextlib.contextmanager
def socket_pair():
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        far.send(b"data")
        yield near


@calls
async def sock_recv(call):
    with socket_pair() as sock:
        assert await call(sock=sock, **{"n" if call.has("n") else "nbytes": 10}) == b"data"


@calls
async def sock_recv_into(call):
    with socket_pair() as sock:
        assert await call(sock=sock, buf=bytearray(10)) == 4


@calls
async def sock_recvfrom(call):
    with socket_pair() as sock:
        assert (await call(sock=sock, bufsize=10))[0] == b"data"


@calls
async def sock_recvfrom_into(call):
    with socket_pair() as sock:
        assert (await call(sock=sock, buf=bytearray(10), nbytes=3))[0] == 3


@calls
async def sock_sendall(call):
    with socket_pair() as sock:
        await call(sock=sock, data=b"data")


@calls
async def sock_sendto(call):
    with socket.socket(type=socket.SOCK_DGRAM) as to, socket.socket(type=socket.SOCK_DGRAM) as sock:
        to.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        assert await call(sock=sock, data=b"data", address=to.getsockname()) == 4
        assert to.recv(10) == b"data"


@calls
async def sock_connect(call):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.setblocking(False)
        await call(sock=sock, address=listener.getsockname())


@calls
async def sock_accept(call):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with socket.create_connection(listener.getsockname()):
            sock, _ = await call(sock=listener)
            sock.close()


async def watched(call, remove):
    near, far = socket.socketpair()
    with near, far:
        call(fd=near, callback=int)
        call(near, int, "1")
        assert remove(near) is True


@calls
async def add_reader(call):
    await watched(call, call.loop.remove_reader)


@calls
async def add_writer(call):
    await watched(call, call.loop.remove_writer)


@calls
async def remove_reader(call):
    assert call(fd=0) is False


@calls
async def remove_writer(call):
    assert call(fd=0) is False


@calls
async def add_signal_handler(call):
    call(sig=signal.SIGUSR1, callback=int)
    call(signal.SIGUSR1, int, "1")
    call.loop.remove_signal_handler(signal.SIGUSR1)


@calls
async def remove_signal_handler(call):
    assert call(sig=signal.SIGUSR1) is False


@calls
async def connect_read_pipe(call):
    reading, writing = os.pipe()
    transport, _ = await call(protocol_factory=asyncio.Protocol, pipe=os.fdopen(reading, "rb", 0))
    transport.close()
    os.close(writing)


@calls
async def connect_write_pipe(call):
    reading, writing = os.pipe()
    transport, _ = await call(protocol_factory=asyncio.BaseProtocol, pipe=os.fdopen(writing, "wb", 0))
    transport.abort()
    os.close(reading)


class Child(asyncio.SubprocessProtocol):
    def __init__(self):
        self.exited = asyncio.get_running_loop().create_future()

    def process_exited(self):
        self.exited.set_result(None)


PIPES = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
PLAIN = {"universal_newlines": False, "bufsize": 0, "encoding": None, "errors": None, "text": None}


async def ended(transport, protocol):
    await protocol.exited
    assert transport.get_returncode() == 0
    transport.close()


@calls
async def subprocess_exec(call):
    command = (sys.executable, "-c", "pass")
    transport, protocol = await call(Child, *command, shell=False, **PIPES, **PLAIN)
    await ended(transport, protocol)
    # what comes before a variable number of arguments has no use for its name
    call.given |= {"protocol_factory", "program"}


@calls
async def subprocess_shell(call):
    transport, protocol = await call(protocol_factory=Child, cmd="exit 0", shell=True, **PIPES, **PLAIN)
    await ended(transport, protocol)


OUTSIDE = {"run_forever", "run_until_complete", "stop", "close"}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OUTSIDE])
def test_call_with_every_keyword(loop, name, caplog):
    assert name in CALLS, "a method that this module does not know yet"
    call = Call(loop, name)

    async def main():
        await CALLS[name](call)
        await turns()

    asyncio.set_event_loop(loop)  # before 3.14 child watchers ask for it
    try:
        loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)
    assert call.forgotten() == set()


def test_calls_from_outside(new_loop):
    loop = new_loop()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.run_until_complete(future=asyncio.sleep(0, 42)) == 42
    loop.close()


def test_transport_by_keyword(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=near)
        transport.write(data=b"one ")
        transport.writelines(list_of_data=[b"two ", b"three"])
        assert await loop.sock_recv(far, 100) == b"one two three"
        transport.set_write_buffer_limits(high=2000, low=1000)
        assert transport.get_write_buffer_limits() == (1000, 2000)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        assert transport.get_extra_info(name="peername", default=1) == far.getsockname()
        assert transport.get_extra_info(name="nothing", default=1) == 1
        transport.set_protocol(protocol=protocol)
        for method, wrong in (
            (transport.write, {}),
            (transport.write, {"bytes": b""}),
            (transport.writelines, {"data": [b""]}),
            (transport.set_protocol, {"protocol": protocol, "other": 1}),
            (transport.set_write_buffer_limits, {"higher": 1}),
        ):
            with pytest.raises(TypeError):
                method(**wrong)
        with pytest.raises(TypeError):
            transport.write(b"one", b"two")
        with pytest.raises(TypeError):
            transport.write(b"one", data=b"two")
        transport.abort()
        far.close()
        await turns()

    run(main())
    assert errors == []
