"""How the loop learns of a child's end: by pidfd, by timers where there is none, by a watcher of the user's; beside
signal handlers, in many threads, with nothing left behind.

Covers loopmod/subprocess.py, os/signals.c. Relies on tcp_support for scripts in their own process, where what is
changed is the whole process's.
"""

import _thread
import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest
from tcp_support import loop_factory, only_loopmod, open_fds, run_script, turns
from tree import ROOT

pytestmark = pytest.mark.timeout(100)
PIPE = subprocess.PIPE
has_watchers = pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers are gone")


def zombies():
    """Children of this process that have ended and were not reaped."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(int(name))
    return found


async def exit_with(code, **options):
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"exit {code}", **options)
    await process.communicate()
    return process.returncode


def needs_pidfd(kind):
    if sys.version_info < (3, 12):
        only_loopmod(kind, "a thread of asyncio's reaps the child at any time")


async def ended_unseen(code):
    """A process that has ended while the loop could not see it."""
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"read line; exit {code}", stdin=PIPE)
    process.stdin.write(b"go\n")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def test_many_that_end_at_once(run):
    async def main():
        before = open_fds()
        codes = await asyncio.gather(*[exit_with(number, stdout=PIPE) for number in range(40)])
        assert codes == list(range(40))
        assert zombies() == []
        await turns(10)
        assert open_fds() == before

    run(main())


def test_ended_before_the_loop_looks(run, kind):
    needs_pidfd(kind)

    async def main():
        process = await ended_unseen(3)
        assert await process.wait() == 3

    run(main())


def test_loops_in_many_threads(kind, debug):
    # uvloop: "Racing with another loop to spawn a process".
    results = []

    async def main(start):
        codes = await asyncio.gather(*[exit_with(start + number, stdin=PIPE, stdout=PIPE) for number in range(8)])
        results.append((start, codes))

    def work(start):
        with asyncio.Runner(loop_factory=loop_factory(kind), debug=debug) as runner:
            runner.get_loop().slow_callback_duration = 60
            barrier.wait()
            runner.run(main(start))

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(10 * n, [10 * n + number for number in range(8)]) for n in range(6)]
    assert zombies() == []


def test_transport_that_nobody_holds(run):
    async def main():
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        class Tells(asyncio.SubprocessProtocol):
            def process_exited(self):
                ended.set_result(None)

        await loop.subprocess_exec(Tells, "sleep", "0.05", stdin=None, stdout=None, stderr=None)
        gc.collect()
        await ended
        assert zombies() == []

    run(main())


def test_exit_that_popen_has_seen(run, kind):
    needs_pidfd(kind)

    # The transport is asked to close when the process has ended and the loop does not know: Popen reaps it.
    async def main():
        process = await ended_unseen(7)
        process._transport.close()
        assert await process.wait() in (7, 255)
        assert zombies() == []

    run(main())


def test_exit_that_popen_has_seen_is_known(run, kind, caplog):
    only_loopmod(kind, "asyncio reports 255 and warns")

    async def main():
        process = await ended_unseen(7)
        process._transport.close()
        assert await process.wait() == 7

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert caplog.records == []


def test_exit_that_somebody_else_has_reaped(run, kind, caplog):
    needs_pidfd(kind)

    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.kill()
        os.waitpid(process.pid, 0)
        assert await process.wait() == 255

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert len(caplog.records) == 1


TRACED = """
import ctypes
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: by anybody
print("ready", flush=True)
input()
"""

TRACER = """
import ctypes, os, sys
pid = int(sys.argv[1])
PTRACE_SEIZE = 0x4206
print("refused" if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, pid, None, None) else "traced", flush=True)
sys.stdin.readline()
os.waitpid(pid, 0)
"""


def test_end_that_a_debugger_keeps(run, kind, monkeypatch):
    """The kernel shows a traced child's end to the debugger first, but tells of it by the pidfd at once."""
    only_loopmod(kind, "asyncio's loop stands still until the debugger lets go")
    looks = []
    waitid = os.waitid

    def noted(*args):
        looks.append(time.monotonic())
        return waitid(*args)

    async def main():
        before = open_fds()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", TRACED, stdin=PIPE, stdout=PIPE)
        await process.stdout.readline()
        with subprocess.Popen([sys.executable, "-c", TRACER, str(process.pid)], stdin=PIPE, stdout=PIPE) as tracer:
            is_traced = tracer.stdout.readline() == b"traced\n"
            process.kill()
            if is_traced:
                monkeypatch.setattr(os, "waitid", noted)
                while len(looks) < 8:
                    await asyncio.sleep(0.001)
                assert looks[-1] - looks[0] > 0.05
                assert process.returncode is None
                process.terminate()
            tracer.communicate(b"\n")
        assert await process.wait() == -signal.SIGKILL
        process.stdin.close()
        if not is_traced:
            pytest.skip("nobody may trace here")
        del process
        await turns(5)
        assert open_fds() == before and zombies() == []

    run(main())


def test_interrupted_on_its_way(loop, kind):
    """A Ctrl-C that comes where the loop is about to hear of the end leaves that for the next run."""
    needs_pidfd(kind)

    async def main():
        process = await ended_unseen(3)
        loop.call_soon(_thread.interrupt_main)  # C: the next Python code that runs finds it
        return await process.wait()

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert loop.run_until_complete(asyncio.wait_for(task, 20)) == 3
    assert zombies() == []


def test_waitpid_of_the_programs_own(run, monkeypatch):
    used = {}

    def waitpid(pid, options):
        found, status, usage = os.wait4(pid, options)
        if found:
            used[found] = usage.ru_maxrss
        return found, status

    monkeypatch.setattr(os, "waitpid", waitpid)

    async def main():
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
        assert await process.wait() == 3
        assert used[process.pid] > 0

    run(main())


def test_reaping_that_fails(run, loop, kind, monkeypatch):
    """The handler hears of it, and the pidfd is closed; older asyncio leaves it open."""
    needs_pidfd(kind)
    heard = []
    loop.set_exception_handler(lambda loop, context: heard.append(context.get("exception")))
    waitpid = os.waitpid
    refusal = OSError("unexpected")

    def refuse(*args):
        raise refusal

    async def main():
        before = open_fds()
        process = await ended_unseen(0)
        with monkeypatch.context() as patched:
            patched.setattr(os, "waitpid", refuse)
            patched.setattr(os, "waitid", refuse)
            while not heard:
                await asyncio.sleep(0.001)
        assert heard == [refusal]
        assert waitpid(process.pid, 0)[0] == process.pid  # not reaped yet
        process._transport._process_exited(0)
        assert await process.wait() == 0
        await turns(5)
        assert kind.startswith("asyncio") or open_fds() == before

    run(main())


@pytest.mark.parametrize("error", [OSError("no pidfd here"), PermissionError()])
def test_without_pidfd(run, kind, monkeypatch, error):
    only_loopmod(kind, "asyncio asks once per policy or loop")

    def refuse(pid, flags=0):
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse)

    async def main():
        before = open_fds()
        assert await asyncio.gather(*[exit_with(number, stdout=PIPE) for number in range(10)]) == list(range(10))
        await turns(10)
        assert open_fds() == before and zombies() == []

    run(main())


def test_with_waitpid_alone(run, kind, monkeypatch):
    only_loopmod(kind, "asyncio asks once per policy or loop")

    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(os, "waitid", refuse)

    async def main():
        assert await asyncio.gather(*[exit_with(number, stdout=PIPE) for number in range(3)]) == [0, 1, 2]
        assert zombies() == []

    run(main())


def test_without_pidfd_and_reaped_by_others(run, kind, monkeypatch, caplog):
    only_loopmod(kind, "asyncio asks once per policy or loop")
    monkeypatch.delattr(os, "pidfd_open", raising=False)

    async def main():
        process = await ended_unseen(3)
        os.waitpid(process.pid, 0)
        return await process.wait()

    assert run(main()) == 255
    assert any("already read" in record.getMessage() for record in caplog.records)


WITHOUT_PIDFD = """
import asyncio, os, sys
import loopmod
del os.pidfd_open


async def main():
    process = await asyncio.create_subprocess_exec("sleep", "60")
    print(process.pid, flush=True)


with asyncio.Runner(loop_factory=loopmod.new_event_loop) as runner:
    runner.run(main())
"""


def test_without_pidfd_a_program_ends_before_its_child(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(WITHOUT_PIDFD)
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=PIPE,
        stderr=subprocess.DEVNULL,
        timeout=50,
        check=True,
    )
    with contextlib.suppress(ProcessLookupError):  # the transport's end is that of the process
        os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_pidfd_on_a_closed_loop(new_loop, kind, monkeypatch, caplog):
    only_loopmod(kind, "asyncio asks once per policy or loop")

    def refuse(pid, flags=0):
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", refuse)
    loop = new_loop()
    threads = threading.enumerate()
    transport, _ = loop.run_until_complete(loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "60"))
    loop.run_until_complete(asyncio.sleep(0.1))  # it was looked at
    assert threading.enumerate() == threads
    loop.close()
    gone, pid = weakref.ref(transport), transport.get_pid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del transport
        gc.collect()
    assert gone() is None
    # From 3.14 on the transport has killed it, and Popen may have seen its end already.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
    assert not [record for record in caplog.records if "is closed" in record.getMessage()]


def test_loop_closed_while_the_process_runs(new_loop, kind):
    only_loopmod(kind, "asyncio leaves the pidfd open")
    before = open_fds()
    loop = new_loop()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "60", stdin=None, stdout=None, stderr=None)
    )
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = transport.get_pid()
        transport.get_extra_info("subprocess").kill()
        assert transport.get_extra_info("subprocess").wait() == -signal.SIGKILL
        del transport, _, loop
        gc.collect()
    assert open_fds() == before
    assert pid not in zombies()


# --- signals -------------------------------------------------------------------------------------------------


@pytest.fixture
def child_signal():
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_handler_of_the_loop_for_the_child_signal(run, child_signal):
    # uvloop keeps SIGCHLD for itself.
    async def main():
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        loop.add_signal_handler(signal.SIGCHLD, lambda: told.done() or told.set_result(True))
        assert await asyncio.gather(*[exit_with(number, stdout=PIPE) for number in range(5)]) == list(range(5))
        assert await told
        assert loop.remove_signal_handler(signal.SIGCHLD)
        assert await exit_with(6) == 6

    run(main())


def test_handler_of_the_program_for_the_child_signal(run, child_signal):
    told = []
    signal.signal(signal.SIGCHLD, lambda number, frame: told.append(number))

    async def main():
        assert await asyncio.gather(*[exit_with(number, stdout=PIPE) for number in range(5)]) == list(range(5))

    run(main())
    assert set(told) == {signal.SIGCHLD}
    assert callable(signal.getsignal(signal.SIGCHLD))


WAKEUP = """
import asyncio, os, signal, socket
loop = loop_factory(sys.argv[1])()
near, far = socket.socketpair()
for sock in (near, far):
    sock.setblocking(False)
signal.set_wakeup_fd(far.fileno())
signal.signal(signal.SIGUSR1, lambda *args: None)

async def main():
    if sys.argv[2] == "handlers":
        told = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR2, told.set_result, True)
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "kill -USR1 $PPID; kill -USR2 $PPID; exit 3")
    if sys.argv[2] != "handlers":
        signal.signal(signal.SIGUSR2, lambda *args: None)
    assert await process.wait() == 3
    if sys.argv[2] == "handlers":
        assert await told
    got = b""
    while signal.SIGUSR1 not in got or signal.SIGUSR2 not in got:
        got += await loop.sock_recv(near, 100)
    if sys.argv[2] == "handlers":
        loop.remove_signal_handler(signal.SIGUSR2)

signal.signal(signal.SIGUSR2, lambda *args: None)
loop.run_until_complete(asyncio.wait_for(main(), 30))
loop.close()
assert signal.set_wakeup_fd(-1) == far.fileno()
print("fine")
"""


@pytest.mark.parametrize("handlers", ["none", "handlers"])
def test_wakeup_descriptor_of_somebody_else(kind, handlers):
    if handlers == "handlers":
        only_loopmod(kind, "asyncio replaces it and forgets it")
    done = run_script(WAKEUP, kind, handlers)
    assert done.stdout == "fine\n", done.stderr


# --- child watchers -------------------------------------------------------------------------------------------

WATCHERS = ["Threaded", "Pidfd", "Safe", "Fast", "MultiLoop"]

WATCHER = """
import asyncio, os, signal, threading, warnings
warnings.simplefilter("ignore")
loop = loop_factory(sys.argv[1])()

class Watcher(asyncio.ThreadedChildWatcher):
    added = 0
    def add_child_handler(self, pid, callback, *args):
        self.added += 1
        super().add_child_handler(pid, callback, *args)

def make(name):
    if name == "own":
        return Watcher()
    watcher = getattr(asyncio, name)()
    watcher.attach_loop(loop)
    return watcher

async def main():
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 5", stdout=-1)
    await process.communicate()
    return process.returncode

watcher = make(sys.argv[2])
asyncio.set_event_loop(loop)
asyncio.set_child_watcher(watcher)
assert asyncio.get_child_watcher() is watcher
codes = [loop.run_until_complete(asyncio.wait_for(main(), 30)) for _ in range(3)]
assert codes == [5, 5, 5], codes
if sys.argv[2] == "own":
    assert watcher.added == 3
if sys.argv[2] in ("SafeChildWatcher", "FastChildWatcher"):
    assert signal.SIGCHLD in loop._signal_handlers
asyncio.set_child_watcher(None)
assert loop.run_until_complete(main()) == 5
loop.close()
print("fine")
"""


@has_watchers
@pytest.mark.parametrize("name", ["own", *[f"{name}ChildWatcher" for name in WATCHERS]])
def test_watcher_that_the_program_sets(kind, name):
    # uvloop knows no child watchers.
    done = run_script(WATCHER, kind, name)
    assert done.stdout == "fine\n", done.stderr


INACTIVE = """
import asyncio, warnings
warnings.simplefilter("ignore")
loop = loop_factory(sys.argv[1])()
watcher = asyncio.SafeChildWatcher()
asyncio.set_child_watcher(watcher)

async def main():
    try:
        await asyncio.create_subprocess_exec("true")
    except RuntimeError as exc:
        print(exc)

loop.run_until_complete(main())
watcher.close()
loop.close()
"""


@has_watchers
def test_watcher_that_is_not_active(kind):
    done = run_script(INACTIVE, kind)
    assert "is not activated" in done.stdout, done.stderr


DEFAULT = """
import asyncio, threading, warnings
loop = loop_factory(sys.argv[1])()
warnings.simplefilter("error")

async def main():
    process = await asyncio.create_subprocess_exec("sleep", "60")
    names = [thread.name for thread in threading.enumerate()]
    process.kill()
    await process.wait()
    return names

assert loop.run_until_complete(main()) == ["MainThread"]
loop.close()
print("fine")
"""


def test_no_thread_and_no_warning_by_default(kind):
    needs_pidfd(kind)
    done = run_script(DEFAULT, kind)
    assert done.stdout == "fine\n", done.stderr


FOREIGN = """
import asyncio, threading, warnings
warnings.simplefilter("ignore")
asked = []

class Policy(asyncio.DefaultEventLoopPolicy):
    def get_child_watcher(self):
        asked.append(1)
        return super().get_child_watcher()

asyncio.set_event_loop_policy(Policy())
loop = loop_factory(sys.argv[1])()

async def main():
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()

assert loop.run_until_complete(main()) == 0
assert asked
loop.close()
print("fine")
"""


@has_watchers
def test_policy_that_gives_the_watcher(kind):
    done = run_script(FOREIGN, kind)
    assert done.stdout == "fine\n", done.stderr


@pytest.fixture
def numbers(monkeypatch):
    """Notes what is sent to a number that was reaped; such a signal is not sent."""
    reaped, strays = set(), []
    waitpid, waitid, kill = os.waitpid, os.waitid, os.kill

    def note_waitpid(pid, options):
        result = waitpid(pid, options)
        reaped.add(result[0])
        return result

    def note_waitid(idtype, number, options):
        result = waitid(idtype, number, options)
        if not options & os.WNOWAIT:
            reaped.add(result.si_pid)
        return result

    def note_kill(pid, number):
        if pid not in reaped:
            return kill(pid, number)
        strays.append(pid)
        raise ProcessLookupError

    monkeypatch.setattr(os, "waitpid", note_waitpid)
    monkeypatch.setattr(os, "waitid", note_waitid)
    monkeypatch.setattr(os, "kill", note_kill)
    return strays


@pytest.mark.parametrize("lacks", [None, "pidfd_open", "pidfd_send_signal", "P_PIDFD"])
@pytest.mark.parametrize("method", ["kill", "terminate", "send_signal"])
def test_no_signal_to_a_reaped_number(run, loop, kind, monkeypatch, numbers, lacks, method):
    only_loopmod(kind, "asyncio signals the number until process_exited")

    def refuse(*args):
        raise OSError(errno.ENOSYS, "not here")

    if lacks == "P_PIDFD":
        monkeypatch.setattr(os, lacks, -1)
    elif lacks is not None:
        monkeypatch.setattr(signal if lacks == "pidfd_send_signal" else os, lacks, refuse)

    async def main():
        process = await ended_unseen(3)
        arguments = [signal.SIGTERM] if method == "send_signal" else []
        refused = []

        def again():
            try:
                getattr(process, method)(*arguments)
            except ProcessLookupError:
                refused.append(True)
            else:
                loop.call_soon(again)

        again()
        assert await process.wait() == 3
        await turns(5)
        assert refused == [True]  # as asyncio, once the transport is done
        assert numbers == []
        assert zombies() == []

    run(main())


@pytest.mark.parametrize(
    "lacks", [["pidfd_open", "pidfd_send_signal", "P_PIDFD"], ["pidfd_open"], ["pidfd_send_signal"], ["P_PIDFD"]]
)
def test_python_built_without_pidfds(run, kind, monkeypatch, lacks):
    """By an older system's headers, for this one: pidfds came to Python one by one."""
    only_loopmod(kind, "asyncio asks once per policy or loop")
    for name in lacks:
        monkeypatch.delattr(signal if name == "pidfd_send_signal" else os, name, raising=False)

    async def main():
        assert await exit_with(3) == 3
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.terminate()
        assert await process.wait() == -signal.SIGTERM
        assert zombies() == []

    run(main())


@pytest.mark.parametrize("lacks", [None, "pidfd_open", "pidfd_send_signal"])
def test_signals_reach_the_child(run, kind, monkeypatch, lacks):
    only_loopmod(kind, "asyncio has one way")

    def refuse(*args):
        raise PermissionError(errno.EPERM, "forbidden")

    if lacks is not None:
        monkeypatch.setattr(signal if lacks == "pidfd_send_signal" else os, lacks, refuse)

    async def main():
        for method, number in (("kill", signal.SIGKILL), ("terminate", signal.SIGTERM)):
            process = await asyncio.create_subprocess_exec("sleep", "60")
            getattr(process, method)()
            assert await process.wait() == -number

    run(main())


def test_popen_knows_at_once(run, loop, kind):
    """Whoever asks Popen between the reaping and process_exited gets the exit code."""
    only_loopmod(kind, "asyncio lets Popen ask the system, which knows no more")
    seen = []

    async def main():
        process = await ended_unseen(5)
        popen = process._transport.get_extra_info("subprocess")
        while process.returncode is None:
            if popen.returncode is not None:
                seen.append(popen.poll())
                process.kill()
            await asyncio.sleep(0)
        assert await process.wait() == 5

    run(main())
    assert set(seen) <= {5}


def test_number_that_belongs_to_another_child(run, kind, monkeypatch):
    """The child is reaped by its pidfd: its number may be another child's by then."""
    only_loopmod(kind, "asyncio waits for the number")

    async def main():
        process = await ended_unseen(0)
        other = subprocess.Popen(["sleep", "60"])
        os.waitpid(process.pid, 0)
        real = os.waitpid
        monkeypatch.setattr(os, "waitpid", lambda pid, options: real(other.pid, options))
        assert await process.wait() == 255
        monkeypatch.setattr(os, "waitpid", real)
        assert other.poll() is None
        other.kill()
        other.wait()

    run(main())
