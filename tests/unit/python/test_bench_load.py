"""The load of make bench-latency, benchmarks/clients/open.c: a message waits from when it was due."""

import os
import shutil
import socket
import subprocess
import threading
import time
from array import array

import bench_support
import pytest

runner = bench_support.load("runner")

STALL = 0.1  # seconds


@pytest.fixture
def stalling_echo():
    """A server that keeps its first message for a while; yields its port."""

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            data = connection.recv(65536)
            time.sleep(STALL)
            while data:
                connection.sendall(data)
                data = connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
    thread.join()


@pytest.mark.skipif(not shutil.which(runner.compiler()[0]), reason="needs a C compiler")
def test_what_was_due_in_a_stall_waited_from_then_on(stalling_echo, tmp_path):
    due = array("Q", [0, 1_000_000, 2_000_000, int((STALL + 0.05) * 1e9)])
    (tmp_path / "due").write_bytes(due.tobytes())
    program = str(runner.compiled("clients", *runner.tls_libraries()))
    where = ["-m", "open", "-w", str(stalling_echo), "-f", "tcp", "-P", str(os.getpid()), "-c", "1", "-s", "64"]
    files = ["-i", str(tmp_path / "due"), "-o", str(tmp_path / "times")]
    subprocess.run([program, *where, *files], check=True, timeout=60)

    times = array("Q", (tmp_path / "times").read_bytes())
    seen, sent, answered = (list(times[first::3]) for first in range(3))
    assert len(seen) == len(due)
    for row in zip(due, seen, sent, answered, strict=True):
        assert list(row) == sorted(row)
    # The one connection was busy: the second was sent when the first was answered, and waited since it was due.
    assert answered[0] >= STALL * 1e9
    assert answered[0] <= sent[1]
    assert answered[1] - due[1] >= STALL * 1e9 - 1_000_000
    assert sent[3] >= due[3]
