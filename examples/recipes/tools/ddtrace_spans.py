"""ddtrace: spans of tasks have the parents that they have on asyncio, wherever a task is made.

    python -m loopmod examples/recipes/tools/ddtrace_spans.py

No agent is asked: a filter takes the spans. What `patch` does here, `ddtrace-run python -m loopmod program.py` does.
"""

import asyncio
import contextvars
import os

os.environ |= {
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}

import ddtrace
from ddtrace.internal import core
from ddtrace.trace import TraceFilter, tracer

spans: list[ddtrace.trace.Span] = []
counts = {"asyncio.create_task": 0, "asyncio.execute_task": 0}


class Keep(TraceFilter):
    def process_trace(self, trace: list[ddtrace.trace.Span]) -> None:
        spans.extend(trace)


async def child(name: str) -> None:
    with tracer.trace(name):
        await asyncio.sleep(0)


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    with tracer.trace("root"):
        await asyncio.create_task(child("task"))
        # The context is empty: only ddtrace's create_task can tell the parent.
        await loop.create_task(child("elsewhere"), context=contextvars.Context())
        async with asyncio.TaskGroup() as group:
            group.create_task(child("group"))
        await asyncio.gather(child("gather"), asyncio.to_thread(tracer.trace("thread").finish))
    await asyncio.create_task(child("orphan"))


def count(event: str) -> None:
    counts[event] += 1


if __name__ == "__main__":
    tracer.configure(trace_processors=[Keep()])
    ddtrace.patch(asyncio=True)
    for event in counts:
        core.on(event, lambda data, event=event: count(event))
    asyncio.run(main())
    names = {span.span_id: span.name for span in spans}
    print(*sorted(f"{span.name}<{names.get(span.parent_id)}" for span in spans))
    print(f"made: {counts['asyncio.create_task'] >= 6}, run: {counts['asyncio.execute_task'] >= 5}")
