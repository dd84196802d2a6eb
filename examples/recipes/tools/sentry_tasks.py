"""sentry-sdk: the errors of tasks are events, and tasks are spans of their transaction.

python -m loopmod examples/recipes/tools/sentry_tasks.py
"""

import asyncio

import sentry_sdk
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.transport import Transport

events: list[dict[str, object]] = []


class Memory(Transport):
    def capture_envelope(self, envelope: sentry_sdk.envelope.Envelope) -> None:
        events.extend(item.payload.json for item in envelope.items if item.payload.json)


async def good() -> None:
    await asyncio.sleep(0)


async def bad() -> None:
    await asyncio.sleep(0)
    raise ValueError("of a task")


async def main() -> None:
    # Within the loop, as it wraps this loop's task factory.
    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        transport=Memory,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[AsyncioIntegration()],
    )
    print(type(asyncio.get_running_loop()).__module__)
    with sentry_sdk.start_transaction(op="test", name="transaction"):
        sentry_sdk.set_tag("mine", "yes")
        await asyncio.create_task(good())
        await asyncio.gather(bad(), return_exceptions=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(good())
    sentry_sdk.flush()


def tell(event: dict[str, object]) -> str:
    if event.get("type") == "transaction":
        spans = sorted(f"{span['description']} {span.get('status')}" for span in event["spans"])
        return f"{event['transaction']}: {spans}"
    (error,) = event["exception"]["values"]
    frames = [frame["function"] for frame in error["stacktrace"]["frames"]]
    return f"{error['type']} {error['value']} {error['mechanism']['type']} {event['tags']} {frames[-1]}"


if __name__ == "__main__":
    asyncio.run(main())
    print(*sorted(map(tell, events)), sep="\n")
