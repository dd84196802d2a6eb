"""What shows the tasks of a program: current_task, all_tasks, call graphs, and `python -m asyncio ps` from outside.

Covers task/registry.c and task/mirror.c. Relies on the fixtures of tests/conftest.py and tests/unit/conftest.py.
Call graphs and the tables must read as stock asyncio's do, but for addresses.
"""

import asyncio
import io
import os
import re
import subprocess
import sys

import pytest
from child_support import inherited_path

pytestmark = pytest.mark.timeout(120)

# asyncio's own books do not know tasks of the Python type on 3.14 and later.
KINDS_OF_TASK = ["native", "stdlib"]
needs_graphs = pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs came with 3.14")


async def leaf(gate):
    await gate.wait()


async def middle(gate):
    await leaf(gate)


async def joins(task):
    await task


@pytest.mark.parametrize("make_task", KINDS_OF_TASK, indirect=True)
@pytest.mark.parametrize("make_other_task", KINDS_OF_TASK, indirect=True)
def test_books_of_mixed_tasks(loop, run, make_task, make_other_task):
    async def inner():
        me = asyncio.current_task()
        assert me in asyncio.all_tasks()
        await asyncio.sleep(0)
        assert asyncio.current_task() is asyncio.current_task(loop) is me
        return me

    async def main():
        gate = asyncio.Event()
        me = asyncio.current_task()
        waiting = [make(loop, middle(gate)) for make in (make_task, make_other_task) for _ in range(3)]
        assert asyncio.all_tasks() == {me, *waiting}
        assert await make_task(loop, inner()) is not me
        assert asyncio.current_task() is me
        both = [make_task(loop, inner()), make_other_task(loop, inner())]
        assert await asyncio.gather(*both) == both
        assert asyncio.all_tasks(loop) == {me, *waiting}
        gate.set()
        await asyncio.gather(*waiting)
        assert asyncio.all_tasks() == {me}

    run(main())
    assert asyncio.all_tasks(loop) == set()


@pytest.mark.parametrize("make_task", KINDS_OF_TASK, indirect=True)
def test_books_are_empty_in_callbacks(loop, run, make_task):
    async def main():
        seen = []

        def look(*args):
            seen.append((asyncio.current_task(), asyncio.all_tasks()))

        task = make_task(loop, asyncio.sleep(0))
        me = asyncio.current_task()
        loop.call_soon(look)
        task.add_done_callback(look)
        await task
        await asyncio.sleep(0)
        assert seen == [(None, {me, task}), (None, {me})]

    run(main())


def plain(text):
    """Without addresses and counted names, and without the type's module, which names the loop."""
    text = re.sub(r"Task-\d+", "Task-N", re.sub(r"0x[0-9a-f]+", "0x", text))
    text = re.sub(r"<\S*(Task|Future) (finished|pending|cancelled)", r"<\1 \2", text)
    return text


def graph_of_done(task):
    """The text of a task that is done, or what asyncio's code for it raises: in 3.14.7, no more in 3.14.10."""
    try:
        return asyncio.format_call_graph(task)
    except AttributeError as exc:
        return str(exc)


def graph_of(factory, foreign):
    """Text of the call graphs of a small tree, each made of tasks that the loop or the stdlib makes."""
    shown = []

    async def main():
        loop = asyncio.get_running_loop()
        gate = asyncio.Event()

        def make(coro, name):
            if foreign == "all" or (foreign == "some" and name in ("left", "joiner")):
                return asyncio.Task(coro, loop=loop, name=name)
            return loop.create_task(coro, name=name)

        left, right = make(middle(gate), "left"), make(leaf(gate), "right")
        joiner = make(joins(left), "joiner")
        async with asyncio.TaskGroup() as group:
            inside = group.create_task(middle(gate), name="inside")
            others = asyncio.gather(joiner, right)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for future in (left, right, joiner, inside, others, asyncio.current_task(), loop.create_future()):
                stream = io.StringIO()
                asyncio.print_call_graph(future, file=stream)
                shown.extend([stream.getvalue(), asyncio.format_call_graph(future)])
                shown.append(asyncio.format_call_graph(future, limit=1))
                graph = asyncio.capture_call_graph(future)
                assert graph.future is future
                shown.append(str([len(graph.call_stack), len(graph.awaited_by)]))
            shown.append(asyncio.format_call_graph())
            done = asyncio.create_task(asyncio.sleep(0), name="done")
            await done
            shown.append(graph_of_done(done))
            gate.set()
        await others
        shown.extend(map(graph_of_done, (left, right, joiner)))

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    return [plain(text) for text in shown]


@needs_graphs
@pytest.mark.parametrize("foreign", ["none", "some", "all"])
def test_call_graphs_read_as_stock_asyncio(foreign):
    loopmod = pytest.importorskip("loopmod")
    expected = graph_of(asyncio.SelectorEventLoop, foreign)
    assert any("joins" in text and "leaf" in text for text in expected)
    assert graph_of(loopmod.new_event_loop, foreign) == expected


PROGRAM = """
import asyncio, sys
kind, tree = sys.argv[1:]
import asyncio.graph
async def leaf(): await asyncio.Event().wait()
async def middle(): await leaf()
async def joins(task): await task
async def look(nested):
    loop = asyncio.get_running_loop()
    def make(coro, name, always_native=False):
        if tree == "stdlib" or (tree == "mixed" and not always_native):
            return asyncio.Task(coro, loop=loop, name=name)
        return loop.create_task(coro, name=name)
    async with asyncio.TaskGroup() as group:
        group.create_task(middle(), name="in a group")
        a = make(middle(), "a", True)
        b = make(joins(a), "b")
        c = make(joins(b), "c", True)
        d = make(middle(), "d")
        rest = asyncio.gather(c, d)
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                if task.get_name() in ("a", "d", "in a group"):
                    task.cancel()
        await asyncio.gather(rest, return_exceptions=True)
async def main():
    if tree == "nested":
        import loopmod
        loopmod.allow_nested_runs()
        asyncio.get_running_loop().run_until_complete(look(True))
    else:
        await look(False)
if kind == "asyncio":
    asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)
else:
    import loopmod
    loopmod.run(main())
print("end")
"""


def look_from_outside(kind, tree):
    environment = {**os.environ, "PYTHONPATH": inherited_path()}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, tree],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            shown = [
                subprocess.run(
                    [sys.executable, "-m", "asyncio", command, str(process.pid)],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    env=environment,
                    check=False,
                )
                for command in ("ps", "pstree")
            ]
            rest = process.communicate("\n", timeout=60)[0]
        finally:
            process.kill()
    assert (rest, process.returncode) == ("end\n", 0)
    if any("permi" in done.stderr.lower() for done in shown):
        pytest.skip("this process may not look into another")
    assert [(done.returncode, done.stderr) for done in shown] == [(0, "")] * 2
    texts = []
    for done in shown:
        text = re.sub(rf"\b{process.pid}\b", "PID", done.stdout)
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        # The columns of the table are as wide as their widest cell, and the order is that of the register.
        lines = (re.sub(r" {2,}|-{3,}", "  ", line).rstrip() for line in text.splitlines())
        texts.append("\n".join(lines))
    return [sorted(texts[0].splitlines()), texts[1]]


@needs_graphs
@pytest.mark.parametrize("tree", ["native", "stdlib", "mixed"])
def test_tasks_seen_from_another_process(tree):
    pytest.importorskip("loopmod")
    expected = look_from_outside("asyncio", tree)
    assert "in a group" in expected[1] and "leaf" in expected[1]
    assert look_from_outside("loopmod", tree) == expected


@needs_graphs
def test_tasks_of_a_nested_run_seen_from_another_process():
    pytest.importorskip("loopmod")
    table, tree = look_from_outside("loopmod", "nested")
    assert {"in a group", "leaf", "joins"} <= set(re.findall(r"in a group|leaf|joins", tree))
    assert sum("Event.wait" in line or "leaf" in line for line in table) >= 3
