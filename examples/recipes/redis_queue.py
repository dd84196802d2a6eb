"""redis-py on loopmod: workers take jobs from a list and publish the results, which a subscriber collects.

python examples/recipes/redis_queue.py redis://host:6379
"""

import asyncio
import sys

from redis.asyncio import Redis

import loopmod

JOBS = 20


async def work(redis: Redis) -> None:
    while True:
        _, number = await redis.blpop("jobs")
        await redis.publish("results", int(number) ** 2)


async def main(url: str) -> int:
    async with Redis.from_url(url) as redis, redis.pubsub() as results:
        await results.subscribe("results")
        await results.get_message(timeout=60)  # the subscription is there
        workers = [asyncio.create_task(work(redis)) for _ in range(4)]
        async with redis.pipeline() as pipeline:
            for number in range(JOBS):
                pipeline.rpush("jobs", number)
            await pipeline.execute()
        total = 0
        for _ in range(JOBS):
            message = await results.get_message(ignore_subscribe_messages=True, timeout=60)
            total += int(message["data"])
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
        return total


if __name__ == "__main__":
    print(loopmod.run(main(sys.argv[1])))
