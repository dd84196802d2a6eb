"""redis-py against a real Redis: pools, pipelines, subscriptions, blocking commands, TLS, and lost connections.

Each runs on both loops. Skipped where redis-py or the server is not installed.
"""

import asyncio

import pytest

pytest.importorskip("redis")
from redis import asyncio as aioredis
from redis import exceptions

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def client(redis_server):
    """Maker of clients; over TCP unless told otherwise."""

    def make(**options):
        return aioredis.Redis(**{"host": redis_server.host, "port": redis_server.port, **options})

    return make


def test_commands_and_failures(run, client):
    async def main():
        async with client(decode_responses=True) as redis:
            await redis.flushdb()
            assert await redis.set("name", "value") is True
            assert (await redis.get("name"), await redis.get("missing")) == ("value", None)
            assert await redis.hset("map", mapping={"a": 1, "b": 2}) == 2
            assert await redis.hgetall("map") == {"a": "1", "b": "2"}
            with pytest.raises(exceptions.ResponseError):
                await redis.incr("name")
            assert [key async for key in redis.scan_iter()] != []

    run(main())


def test_large_values_and_pipelines(run, client):
    async def main():
        async with client() as redis:
            sent = bytes(range(256)) * 40_000
            await redis.set("large", sent)
            assert await redis.get("large") == sent
            pipeline = redis.pipeline(transaction=True)
            for number in range(2000):
                pipeline.set(f"key{number}", number).get(f"key{number}")
            answers = await pipeline.execute()
            assert answers[1::2] == [b"%d" % number for number in range(2000)]

    run(main())


def test_a_pool_shared_by_many_tasks(run, redis_server):
    async def main():
        url = f"redis://{redis_server.host}:{redis_server.port}"
        pool = aioredis.BlockingConnectionPool.from_url(url, max_connections=5, timeout=20)
        async with aioredis.Redis(connection_pool=pool) as redis:
            await redis.delete("counter")
            await asyncio.gather(*(redis.incr("counter") for _ in range(300)))
            assert int(await redis.get("counter")) == 300
        await pool.disconnect()

    run(main())


def test_optimistic_transactions(run, client):
    async def main():
        async with client() as redis:
            await redis.set("shared", 0)

            async def add_one():
                async with redis.pipeline() as pipeline:
                    while True:
                        try:
                            await pipeline.watch("shared")
                            value = int(await pipeline.get("shared"))
                            pipeline.multi()
                            pipeline.set("shared", value + 1)
                            await pipeline.execute()
                            return
                        except exceptions.WatchError:
                            pass

            await asyncio.gather(*(add_one() for _ in range(8)))
            assert int(await redis.get("shared")) == 8

    run(main())


def test_subscriptions(run, client):
    async def main():
        async with client(decode_responses=True) as redis, redis.pubsub() as subscriber:
            await subscriber.subscribe("one")
            await subscriber.psubscribe("two.*")

            async def publish():
                for number in range(50):
                    await redis.publish("one", number)
                    await redis.publish(f"two.{number}", number)

            publishing = asyncio.create_task(publish())
            seen = []
            async for message in subscriber.listen():
                if message["type"].endswith("message"):
                    seen.append((message["channel"], message["data"]))
                    if len(seen) == 100:
                        break
            await publishing
            assert seen == [pair for i in range(50) for pair in (("one", str(i)), (f"two.{i}", str(i)))]
            assert await subscriber.get_message(timeout=0.01) is None

    run(main())


def test_blocking_commands_are_cancelled_and_time_out(run, client, errors):
    async def main():
        async with client() as redis, client() as other:

            async def blocked():
                """Wait until the command of `redis` has come to the server: before, while a connection is made, this
                version of the client loses a cancellation, on every loop."""
                while not (await other.info("clients"))["blocked_clients"]:
                    await asyncio.sleep(0.01)

            async def expire(limit):
                await blocked()
                limit.reschedule(asyncio.get_running_loop().time() + 0.02)

            await redis.delete("queue")
            assert await redis.blpop("queue", timeout=0.05) is None
            waiting = asyncio.create_task(redis.blpop("queue"))
            await blocked()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            while len(await other.client_list()) > 1:
                await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    expires = asyncio.create_task(expire(limit))
                    await redis.blpop("queue")
            await expires
            # Neither of the two takes what is pushed now, once the server knows of no connection but the other's.
            while len(await other.client_list()) > 1:
                await asyncio.sleep(0.01)
            takes = asyncio.create_task(redis.blpop("queue"))
            await other.rpush("queue", "value")
            assert await asyncio.wait_for(takes, 20) == (b"queue", b"value")
            assert await redis.ping()

    run(main())
    assert errors == []


def test_a_connection_that_the_server_ends_is_made_anew(run, client, errors):
    async def main():
        async with client() as redis, client() as other:
            for _ in range(3):
                number = await redis.client_id()
                assert await other.client_kill_filter(_id=str(number)) == 1
                assert await redis.ping()

    run(main())
    assert errors == []


def test_over_tls(run, client, redis_server, errors):
    async def main():
        secure = {
            "port": redis_server.tls_port,
            "ssl": True,
            "ssl_ca_data": None,
            "ssl_ca_certs": str(redis_server.directory / "ca.pem"),
        }
        async with client(**secure) as redis:
            sent = b"z" * 3_000_000
            await redis.set("secret", sent)
            assert await redis.get("secret") == sent
            assert await asyncio.gather(*(redis.echo(str(i)) for i in range(20))) == [b"%d" % i for i in range(20)]

    run(main())
    assert errors == []


def test_over_a_unix_socket(run, redis_server):
    async def main():
        async with aioredis.Redis(unix_socket_path=str(redis_server.directory / "redis.sock")) as redis:
            assert await redis.ping()

    run(main())


def test_nothing_listens(run, client):
    async def main():
        async with client(port=1, retry=None) as redis:
            with pytest.raises(exceptions.ConnectionError):
                await redis.ping()

    run(main())
