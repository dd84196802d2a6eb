"""Datagrams in bulk where the kernel or a filter refuses that: none lost, none doubled, each error told once.

Covers the ways round in net/burst.c, net/mail.c and base/sys_many.h. Each case is a program in a child process under
a preloaded library that makes calls fail (kernel_faults.c); stock asyncio says what is told.
"""

import pytest
from preload_support import build, program_runner

pytestmark = pytest.mark.timeout(60)

PRELUDE = """
import asyncio, ctypes, errno, socket, sys
import loopmod
shim = ctypes.CDLL(None)

def fault(name, err, skip=0, count=1 << 30, fd=-1):
    shim.fault_set(name.encode(), err, skip, count, fd)

def seen(name):
    return shim.fault_seen(name.encode())

class Told(asyncio.DatagramProtocol):
    def __init__(self):
        self.data, self.errors, self.flow = [], [], []
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, addr):
        self.data.append(data)
    def error_received(self, exc):
        self.errors.append(errno.errorcode[exc.errno])
    def pause_writing(self):
        self.flow.append("pause")
    def resume_writing(self):
        self.flow.append("resume")

def raw():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock

def arrived(sock):
    data = []
    while True:
        try:
            data.append(sock.recv(1 << 16))
        except BlockingIOError:
            return data

async def step(function):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(lambda: (function(), loop.call_soon(done.set_result, None)))
    await done
    await asyncio.sleep(0)

def run(main):
    loop = asyncio.SelectorEventLoop() if sys.argv[1] == "asyncio" else loopmod.Loop(join_writes=sys.argv[1])
    loop.run_until_complete(main())
    loop.close()

async def endpoint(**kwargs):
    return await asyncio.get_running_loop().create_datagram_endpoint(
        Told, **(kwargs or {"local_addr": ("127.0.0.1", 0)}))
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The library to preload."""
    return build("kernel_faults.c", tmp_path_factory.mktemp("shim"))


@pytest.fixture(params=["asyncio", "step", "turn"])
def kind(request):
    return request.param


@pytest.fixture
def program(kind, shim, tmp_path):
    """Run the program on one loop and return what it printed."""
    return program_runner(shim, PRELUDE, kind, tmp_path)


joining = pytest.mark.parametrize("kind", ["step", "turn"], indirect=True)

SEND = """
name, err, skip, count, connected = sys.argv[2:7]

async def main():
    one, two = raw(), raw()
    transport, told = await endpoint(**({"remote_addr": one.getsockname()} if connected == "connected" else {}))
    plan = []
    for number in range(60):
        size = (100, 100, 100, 100, 40)[number % 5]
        peer = one if connected == "connected" or number % 15 < 10 else two
        plan.append((peer, (b"%03d" % number).ljust(size, b".")))

    def send():
        for peer, data in plan:
            transport.sendto(data, None if connected == "connected" else peer.getsockname())

    names = [name, "sendmmsg"] if name == "send" else [name]  # a loop makes one of the two
    for name_ in names:
        fault(name_, getattr(errno, err), int(skip), int(count))
    come = [], []
    for _ in range(2):
        await step(send)
    for _ in range(100):
        await asyncio.sleep(0.001)
        come[0].extend(arrived(one))
        come[1].extend(arrived(two))
        if len(come[0]) + len(come[1]) == 120:
            break
    for name_ in names:
        fault(name_, 0)
    wanted = [[data for peer, data in plan if peer is which] * 2 for which in (one, two)]
    print(list(come) == wanted, told.errors)
    transport.close()
    await asyncio.sleep(0)

run(main)
"""
WAYS = ["free", "connected"]


@pytest.mark.parametrize("connected", WAYS)
@pytest.mark.parametrize("err", ["EIO", "EINVAL", "EMSGSIZE"])
@pytest.mark.parametrize(("skip", "count"), [(0, 1 << 20), (2, 1)])
@joining
def test_what_the_kernel_does_not_cut_up_goes_one_by_one(program, err, skip, count, connected):
    assert program(SEND, "cut", err, str(skip), str(count), connected) == "True []\n"


@pytest.mark.parametrize(("err", "count"), [("ENOSYS", 1 << 20), ("EPERM", 1 << 20), ("EAGAIN", 3), ("EINTR", 3)])
@joining
def test_without_sendmmsg(program, err, count):
    assert program(SEND, "sendmmsg", err, "0", str(count), "free") == "True []\n"


@pytest.mark.parametrize("connected", WAYS)
def test_what_the_socket_does_not_take_waits(program, connected):
    assert program(SEND, "send", "EAGAIN", "1", "3", connected) == "True []\n"


TOLD = """
async def main():
    peer = raw()
    transport, told = await endpoint(**({"remote_addr": peer.getsockname()} if sys.argv[3] == "connected" else {}))

    def send():
        for number in range(6):
            transport.sendto(b"%d" % number, None if sys.argv[3] == "connected" else peer.getsockname())

    fault("send", getattr(errno, sys.argv[2]), 0, 2)
    await step(send)
    print(told.errors, arrived(peer))
    transport.close()
    await asyncio.sleep(0)

run(main)
"""


@pytest.mark.parametrize("connected", WAYS)
@pytest.mark.parametrize("err", ["ECONNREFUSED", "ENOBUFS", "EPERM"])
def test_an_error_takes_one_datagram(program, err, connected):
    assert program(TOLD, err, connected) == f"{[err] * 2} {[b'2', b'3', b'4', b'5']}\n"


FLOW = """
async def main():
    peer = raw()
    transport, told = await endpoint()
    transport.set_write_buffer_limits(high=500, low=100)

    def send():
        for number in range(20):
            transport.sendto(b"x" * 100, peer.getsockname())

    fault("send", errno.EAGAIN)
    fault("sendmmsg", errno.EAGAIN)
    await step(send)
    fault("send", 0)
    fault("sendmmsg", 0)
    come = []
    while len(come) < 20:
        await asyncio.sleep(0.001)
        come += arrived(peer)
    print(told.flow, transport.get_write_buffer_size(), told.errors)
    transport.close()
    await asyncio.sleep(0)

run(main)
"""


@joining  # from 3.13 on asyncio counts 8 bytes of each datagram that it sent for ever
def test_flow_control(program):
    assert program(FLOW) == "['pause', 'resume'] 0 []\n"


RECEIVE = """
async def main():
    transport, told = await endpoint()
    peer = raw()
    fault("recvmmsg", getattr(errno, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    sent = []
    for _ in range(4):
        for _ in range(20):
            sent.append(b"%d" % len(sent))
            peer.sendto(sent[-1], transport.get_extra_info("sockname"))
        while len(told.data) < len(sent):
            await asyncio.sleep(0.001)
    print(told.data == sent, told.errors)
    transport.close()
    await asyncio.sleep(0)

run(main)
"""


@pytest.mark.parametrize(
    ("err", "skip", "count"),
    [("ENOSYS", 0, 1 << 20), ("ENOSYS", 2, 3), ("EPERM", 0, 1 << 20), ("EAGAIN", 0, 5), ("EINTR", 2, 3)],
)
@joining
def test_without_recvmmsg(program, err, skip, count):
    assert program(RECEIVE, err, str(skip), str(count)) == "True []\n"
