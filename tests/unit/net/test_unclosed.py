"""Warnings of transports that were dropped unclosed: the text, the place and the module are asyncio's on both loops.

So filters that were written for asyncio, by text or by module, go on matching. Covers lm_fault_unclosed in
core/fault.c, which every kind of transport calls.
"""

import asyncio
import gc
import os
import re
import socket
import ssl
import sysconfig
import warnings

import pytest
from tcp_support import tcp_pair

pytestmark = pytest.mark.timeout(60)

CLASSES = {
    "socket": "_SelectorSocketTransport",
    "datagram": "_SelectorDatagramTransport",
    "read pipe": "_UnixReadPipeTransport",
    "write pipe": "_UnixWritePipeTransport",
    "tls": "asyncio._SSLProtocolTransport",
}


async def make(kind):
    """A transport that nobody but the caller holds, and what keeps its other end."""
    loop = asyncio.get_running_loop()
    if kind == "datagram":
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=near)
    elif kind in ("read pipe", "write pipe"):
        ends = [os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]
        near, far = ends if kind == "read pipe" else ends[::-1]
        connect = loop.connect_read_pipe if kind == "read pipe" else loop.connect_write_pipe
        transport, _ = await connect(asyncio.Protocol, near)
    else:
        near, far = tcp_pair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    return transport, far


async def make_tls():
    """The application's side of a TLS connection that never gets further than being made."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    near.setblocking(False)
    waiter = loop.create_future()
    context = ssl.create_default_context()
    transport = loop._make_ssl_transport(near, asyncio.Protocol(), context, waiter, server_hostname="x")
    return transport, far


def warned(new_loop, kind, *filters):
    """What is warned of when a transport is dropped after its loop was closed, under these filters."""
    loop = new_loop()
    transport, far = loop.run_until_complete(make_tls() if kind == "tls" else make(kind))
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for words in filters:
            warnings.filterwarnings("ignore", **words)
        del transport
        gc.collect()
        found = [w for w in caught if "unclosed transport" in str(w.message)]
        caught.clear()
        gc.collect()
    far.close()
    return found


@pytest.mark.parametrize("kind_of_transport", CLASSES)
def test_text_and_place(new_loop, kind_of_transport):
    told = warned(new_loop, kind_of_transport)
    # The first, unless the collector of a free-threaded build ends them in another order.
    text = rf"unclosed transport <{re.escape(CLASSES[kind_of_transport])}\b"
    found = next(each for each in told if re.match(text, str(each.message)))
    others = [each for each in told if each is not found]
    assert others == told[1:] or sysconfig.get_config_var("Py_GIL_DISABLED")
    assert found.category is ResourceWarning
    module = {"socket": "selector_events", "datagram": "selector_events", "tls": "sslproto"}.get(kind_of_transport)
    place = getattr(asyncio, module or "unix_events").__file__
    assert found.filename == place
    with open(place, encoding="utf-8") as file:
        near = file.readlines()[found.lineno - 1 : found.lineno + 4]
    assert "warn" in "".join(near)
    assert [os.path.dirname(other.filename) for other in others] == [os.path.dirname(place)] * len(others)


@pytest.mark.parametrize("kind_of_transport", CLASSES)
def test_filters_match(new_loop, kind_of_transport):
    by_module = {"category": ResourceWarning, "module": r"asyncio\."}
    by_text = {"message": rf"unclosed transport <{re.escape(CLASSES[kind_of_transport])}"}
    assert warned(new_loop, kind_of_transport, by_module) == []
    texts = [str(w.message) for w in warned(new_loop, kind_of_transport, by_text)]
    assert not [text for text in texts if CLASSES[kind_of_transport] in text]
    assert warned(new_loop, kind_of_transport, {**by_module, "module": "unheard_of"}) != []


def test_loop(new_loop, kind):
    """Warned of by asyncio's own finalizer, of whichever loop."""
    loop = type(new_loop())()  # which nobody else holds
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    (found,) = (w for w in caught if "unclosed event loop" in str(w.message))
    name = "Loop" if kind == "loopmod" else "_UnixSelectorEventLoop"
    assert str(found.message).startswith(f"unclosed event loop <{name} running=False closed=False")
    assert found.filename == asyncio.base_events.__file__


def test_as_an_error(new_loop, monkeypatch):
    seen = []
    monkeypatch.setattr("sys.unraisablehook", lambda hooked: seen.append((hooked.exc_type, str(hooked.exc_value))))
    loop = new_loop()
    transport, far = loop.run_until_complete(make("socket"))
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        del transport
        gc.collect()
    far.close()
    ((kind, text),) = (each for each in seen if "unclosed transport" in each[1])
    assert kind is ResourceWarning and "_SelectorSocketTransport" in text
