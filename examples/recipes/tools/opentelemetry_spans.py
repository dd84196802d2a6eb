"""OpenTelemetry's asyncio instrumentation: spans with their parents, and its counter of what ran.

python -m loopmod examples/recipes/tools/opentelemetry_spans.py
"""

import asyncio
import os

os.environ |= {
    "OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE": "fetch,fails,slow",
    "OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE": "blocking",
    "OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED": "true",
}

from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


async def fetch(tracer: object) -> None:
    await asyncio.sleep(0.001)
    with tracer.start_as_current_span("inner"):
        await asyncio.sleep(0)


async def fails() -> None:
    raise ValueError("so")


async def slow() -> None:
    await asyncio.sleep(60)


def blocking() -> int:
    return 1


async def main(tracer: object) -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    with tracer.start_as_current_span("root"):
        await asyncio.create_task(fetch(tracer))
        async with asyncio.TaskGroup() as group:
            group.create_task(fetch(tracer))
        await asyncio.gather(fetch(tracer), fails(), return_exceptions=True)
        try:
            await asyncio.wait_for(slow(), 0.01)
        except TimeoutError:
            pass
        await asyncio.to_thread(blocking)
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await asyncio.ensure_future(future)


if __name__ == "__main__":
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    spans = TracerProvider()
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    AsyncioInstrumentor().instrument(tracer_provider=spans, meter_provider=MeterProvider([reader]))
    asyncio.run(main(spans.get_tracer("recipe")))
    finished = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in finished}
    for span in sorted(finished, key=lambda span: span.name):
        print(span.name, "<", names.get(span.parent.span_id) if span.parent else None, span.status.status_code.name)
    counted = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            if metric.name == "asyncio.process.created":
                for point in metric.data.data_points:
                    counted[" ".join(map(str, point.attributes.values()))] = point.value
    print(", ".join(f"{name}: {count}" for name, count in sorted(counted.items())))
