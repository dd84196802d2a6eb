"""Processes as asyncio's API has them: input and output, exit codes, signals, every keyword of Popen.

Covers loopmod/subprocess.py and the pipe transports under it. What processes there are is small Python or shell code.
"""

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import subprocess
import sys
import time

import pytest
from pipe_support import is_open
from tcp_support import open_fds, pattern, turns

pytestmark = pytest.mark.timeout(60)
PIPE = subprocess.PIPE


def python(code, *args, **options):
    """Start an interpreter on `code`, with neither site-packages nor environment to be slow."""
    return asyncio.create_subprocess_exec(sys.executable, "-ISc", code, *args, **options)


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_code(run, code):
    async def main():
        process = await asyncio.create_subprocess_shell(f"exit {code}")
        assert await process.wait() == code == process.returncode
        assert await process.wait() == code

    run(main())


def test_killed_by_a_signal(run):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -signal.SIGTERM
        for method in (process.terminate, process.kill):
            with contextlib.suppress(ProcessLookupError):  # which of the two depends on the version
                method()

    run(main())


def test_communicate(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        data = pattern(1_000_000)
        assert await process.communicate(data) == (data, b"")
        assert process.returncode == 0

    run(main())


def test_standard_error_apart_and_joined(run):
    async def main():
        command = "echo out; echo err >&2"
        process = await asyncio.create_subprocess_shell(command, stdout=PIPE, stderr=PIPE)
        assert await process.communicate() == (b"out\n", b"err\n")
        process = await asyncio.create_subprocess_shell(command, stdout=PIPE, stderr=subprocess.STDOUT)
        assert await process.communicate() == (b"out\nerr\n", None)

    run(main())


def test_line_by_line(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        for number in range(50):
            line = b"line %d\n" % number
            process.stdin.write(line)
            await process.stdin.drain()
            assert await process.stdout.readline() == line
        process.stdin.write_eof()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run(main())


def test_input_nobody_reads(run):
    async def main():
        process = await asyncio.create_subprocess_shell("exit 3", stdin=PIPE)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await process.communicate(b"x" * 1_000_000)
        assert await process.wait() == 3

    run(main())


def test_writes_after_the_exit_are_dropped(run):
    # uvloop raises RuntimeError here.
    async def main():
        process = await asyncio.create_subprocess_shell("exit 0", stdin=PIPE)
        await process.wait()
        await turns(10)
        process.stdin.write(b"nobody is there")
        process.stdin.writelines([b"nobody", b"at all"])
        process.stdin.write_eof()
        process.stdin.close()
        assert process.stdin.is_closing()

    run(main())


def test_standard_streams_are_real_pipes(run):
    # uvloop gives socket pairs: a child cannot open its own /dev/stdout then.
    async def main():
        code = "import os, stat; print(all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in range(3)), flush=True)"
        process = await python(code, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert await process.communicate() == (b"True\n", b"")
        process = await asyncio.create_subprocess_shell("echo again > /proc/self/fd/1", stdout=PIPE)
        assert await process.communicate() == (b"again\n", None)

    run(main())


def test_files_and_devnull(run, tmp_path):
    async def main():
        with open(tmp_path / "out", "wb") as out:
            process = await asyncio.create_subprocess_exec("echo", "hello", stdin=subprocess.DEVNULL, stdout=out)
            assert process.stdout is None and process.stdin is None
            assert await process.wait() == 0
        assert (tmp_path / "out").read_bytes() == b"hello\n"

    run(main())


def test_program_that_is_not_there(run):
    async def main():
        before = open_fds()
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        gc.collect()
        assert open_fds() == before

    run(main())


REPORT = """
import os, sys
keys = {
    "umask": lambda: os.umask(0),
    "group": os.getgid,
    "user": os.getuid,
    "groups": lambda: sorted(os.getgroups()),
    "pgid": lambda: os.getpgid(0) == os.getpid(),
    "sid": lambda: os.getsid(0) == os.getpid(),
    "cwd": os.getcwd,
    "env": lambda: sorted(key for key in os.environ if key.startswith("LM_")),
}
print(keys[sys.argv[1]]())
"""

KEYWORDS = [
    ("umask", {"umask": 0o027}, 0o027),
    ("pgid", {"process_group": 0}, True),
    ("pgid", {}, False),
    ("sid", {"start_new_session": True}, True),
    ("cwd", {"cwd": "/"}, "/"),
    ("env", {"env": {"LM_ONE": "1"}}, ["LM_ONE"]),
]
AS_ROOT = [
    ("user", {"user": 12345}, 12345),
    ("group", {"group": 12345}, 12345),
    ("groups", {"extra_groups": [12345, 12346]}, [12345, 12346]),
]


@pytest.mark.parametrize(("key", "options", "answer"), KEYWORDS + AS_ROOT)
def test_keywords_of_popen(run, key, options, answer):
    if (key, options, answer) in AS_ROOT and os.getuid() != 0:
        pytest.skip("needs root")

    async def main():
        if "user" in options or "group" in options:
            # Not Python: its files need not be readable for others.
            program, args = "/usr/bin/id", ["-u" if key == "user" else "-g"]
        else:
            program, args = sys.executable, ["-ISc", REPORT, key]
        process = await asyncio.create_subprocess_exec(program, *args, stdout=PIPE, **options)
        assert (await process.communicate())[0].decode().strip() == str(answer)
        assert process.returncode == 0

    run(main())


def test_keywords_that_do_nothing_wrong_together(run):
    async def main():
        process = await asyncio.create_subprocess_exec(
            "cat",
            stdin=PIPE,
            stdout=PIPE,
            bufsize=0,
            close_fds=True,
            restore_signals=True,
            start_new_session=True,
            umask=0o077,
            process_group=0 if sys.version_info < (3, 11, 0) else None,
            pipesize=1 << 16,
            executable="/bin/cat",
        )
        assert await process.communicate(b"fine") == (b"fine", None)

    run(main())


def test_size_of_the_pipes(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, pipesize=4096)
        pipe = process.stdin.get_extra_info("pipe")
        assert fcntl.fcntl(pipe.fileno(), fcntl.F_GETPIPE_SZ) == 4096
        assert await process.communicate(b"x" * 100_000) == (b"x" * 100_000, None)

    run(main())


def test_passed_descriptors(run):
    async def main():
        reader, writer = os.pipe()
        code = "import os, sys; os.write(int(sys.argv[1]), b'passed\\n')"
        process = await python(code, str(writer), pass_fds=(writer,))
        os.close(writer)
        assert await process.wait() == 0
        assert os.read(reader, 100) == b"passed\n"
        os.close(reader)

    run(main())


def test_descriptors_of_the_loop_are_not_inherited(run):
    async def main():
        meant = {fd for fd in range(200) if is_open(fd) and os.get_inheritable(fd)} | {0, 1, 2}
        listing = "import os; print(*[fd for fd in range(200) if os.path.exists(f'/proc/self/fd/{fd}')])"
        process = await python(listing, stdin=PIPE, stdout=PIPE, close_fds=False)
        assert set(map(int, (await process.communicate())[0].split())) == meant

    run(main())


def test_preexec_fn(run, tmp_path):
    async def main():
        mark = tmp_path / "mark"
        process = await asyncio.create_subprocess_exec("true", preexec_fn=mark.touch)
        assert await process.wait() == 0
        assert mark.exists()

        def fail():
            raise ValueError

        with pytest.raises(subprocess.SubprocessError):
            await asyncio.create_subprocess_exec("true", preexec_fn=fail)

    run(main())


def test_slow_preexec_fn(run):
    # It is waited for in the loop's thread, as asyncio does: a thread that forks and ends would take a child that
    # asked for PR_SET_PDEATHSIG with it. Nothing that was due meanwhile is lost.
    async def main():
        loop = asyncio.get_running_loop()
        fired = []
        for number in range(3):
            loop.call_later(0.01 * number, fired.append, number)
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=PIPE, preexec_fn=lambda: time.sleep(0.2))
        assert await process.communicate() == (b"hi\n", None)
        assert fired == [0, 1, 2]

    run(main())


def test_text_mode_is_refused(run):
    async def main():
        for options in ({"text": True}, {"universal_newlines": True}, {"encoding": "utf-8"}, {"bufsize": 1}):
            with pytest.raises(ValueError):
                await asyncio.create_subprocess_exec("true", **options)
        with pytest.raises(TypeError):
            await asyncio.create_subprocess_exec("true", no_such_keyword=1)

    run(main())


class Calls(asyncio.SubprocessProtocol):
    """Notes what a process transport calls; `done` when the last call has come."""

    def __init__(self):
        self.events = []
        self.data = {1: b"", 2: b""}
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def pipe_data_received(self, fd, data):
        self.data[fd] += data

    def pipe_connection_lost(self, fd, exc):
        self.events.append(f"pipe {fd}")

    def process_exited(self):
        self.events.append("exited")

    def connection_lost(self, exc):
        self.events.append("lost")
        self.done.set_result(exc)


def test_protocol(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_shell(Calls, "cat; echo err >&2; exit 5")
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_pid() == transport.get_extra_info("subprocess").pid
        assert transport.get_returncode() is None
        transport.get_pipe_transport(0).write(b"hello")
        transport.get_pipe_transport(0).close()
        assert await protocol.done is None
        assert protocol.data == {1: b"hello", 2: b"err\n"}
        assert transport.get_returncode() == 5
        assert protocol.events[0] == "made" and protocol.events[-1] == "lost"
        assert sorted(protocol.events[1:-1]) == ["exited", "pipe 0", "pipe 1", "pipe 2"]
        transport.close()

    run(main())


def test_close_kills(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Calls, "sleep", "60")
        transport.close()
        assert await protocol.done is None
        assert transport.get_returncode() == -signal.SIGKILL

    run(main())


def test_cancelled_start(run):
    async def main():
        loop = asyncio.get_running_loop()
        before = open_fds()
        for steps in range(4):
            task = loop.create_task(
                asyncio.create_subprocess_exec("sleep", "60", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            )
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        for _ in range(200):
            if open_fds() == before:
                break
            gc.collect()
            await asyncio.sleep(0.01)
        assert open_fds() == before

    run(main())


def test_cancelled_wait(run):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 0.05)
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    run(main())


def test_nothing_of_it_stays_open(run):
    async def main():
        before = open_fds()
        for _ in range(10):
            process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            await process.communicate(b"data")
        await turns(10)
        assert open_fds() == before

    run(main())


def test_what_debug_mode_logs(run, debug, caplog):
    async def main():
        process = await asyncio.create_subprocess_shell("exit 3", stdout=PIPE)
        await process.communicate()

    with caplog.at_level("DEBUG", "asyncio"):
        run(main())
    texts = [record.getMessage() for record in caplog.records]
    for words in ("run shell command", "process 'exit 3' created", "exited with return code 3"):
        assert any(words in text for text in texts) is debug
