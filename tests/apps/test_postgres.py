"""asyncpg against a real PostgreSQL: what its protocol, cancellation, timeouts, TLS and notifications ask of a loop.

Each runs on both loops. Skipped where asyncpg or the server is not installed.
"""

import asyncio
import datetime
import decimal
import gc
import io

import pytest

asyncpg = pytest.importorskip("asyncpg")

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def connect(postgres):
    """Maker of connections; over TCP unless told otherwise."""

    def make(**options):
        defaults = {"host": postgres.host, "port": postgres.port, "user": "tester", "database": "postgres"}
        return asyncpg.connect(**{**defaults, "ssl": False, **options})

    return make


async def begun(connection, other):
    """Wait until the server sleeps for the connection: a query cancelled before may cost asyncpg the connection."""
    state = "SELECT state = 'active' AND wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
    while not await other.fetchval(state, connection.get_server_pid()):
        await asyncio.sleep(0.001)


def test_values_and_failures(run, connect):
    async def main():
        connection = await connect()
        row = await connection.fetchrow(
            "SELECT $1::int AS a, $2::text AS b, $3::numeric AS c, $4::timestamptz AS d, $5::int[] AS e",
            *(values := (7, "text", decimal.Decimal("1.50"), datetime.datetime.now(datetime.UTC), [1, None, 3])),
        )
        assert tuple(row.values()) == values
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("SELECT 1 / 0")
        with pytest.raises(asyncpg.InterfaceError, match="another operation"):
            await asyncio.gather(*(connection.fetchval("SELECT pg_sleep(0.01)") for _ in range(2)))
        await connection.close()
        assert connection.is_closed()

    run(main())


def test_large_values(run, connect):
    async def main():
        connection = await connect()
        sent = bytes(range(256)) * 20_000
        assert await connection.fetchval("SELECT $1::bytea", sent) == sent
        rows = await connection.fetch("SELECT i, repeat('x', 100) FROM generate_series(1, 20000) AS i")
        assert len(rows) == 20_000 and rows[-1][0] == 20_000
        await connection.close()

    run(main())


def test_cursor_and_transactions(run, connect):
    async def main():
        connection = await connect()
        await connection.execute("CREATE TEMP TABLE item (number int UNIQUE)")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO item VALUES (1)")
                await connection.execute("INSERT INTO item VALUES (1)")
        async with connection.transaction():
            await connection.executemany("INSERT INTO item VALUES ($1)", [(number,) for number in range(500)])
            cursor = connection.cursor("SELECT number FROM item ORDER BY number", prefetch=20)
            assert [row[0] async for row in cursor] == list(range(500))
        await connection.close()

    run(main())


def test_copy_both_ways(run, connect):
    async def main():
        connection = await connect()
        await connection.execute("CREATE TEMP TABLE line (number int, text text)")
        records = [(number, "x" * 50) for number in range(5000)]
        assert await connection.copy_records_to_table("line", records=records) == "COPY 5000"

        async def parts():
            for number in range(1000):
                yield f"{number}\ttext\n".encode()

        assert await connection.copy_to_table("line", source=parts()) == "COPY 1000"
        out = io.BytesIO()
        assert await connection.copy_from_table("line", output=out) == "COPY 6000"
        assert out.getvalue().count(b"\n") == 6000
        await connection.close()

    run(main())


def test_cancelled_and_timed_out_queries_leave_the_connection_usable(run, connect, errors):
    async def main():
        connection, other = await connect(), await connect()
        sleep = await connection.prepare("SELECT pg_sleep(60)")
        for _ in range(3):
            query = asyncio.create_task(sleep.fetchval())
            await begun(connection, other)
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert await connection.fetchval("SELECT 1") == 1
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60) as limit:
                    watching = asyncio.create_task(begun(connection, other))
                    watching.add_done_callback(lambda watching: limit.reschedule(0))
                    await sleep.fetchval()
            assert await connection.fetchval("SELECT 2") == 2
        with pytest.raises(TimeoutError):
            await sleep.fetchval(timeout=0.05)
        await connection.close()
        await other.close()

    run(main())
    assert errors == []


def test_notifications(run, connect):
    async def main():
        listening, notifying = await connect(), await connect()
        seen = asyncio.Queue()
        await listening.add_listener("news", lambda connection, pid, channel, text: seen.put_nowait(text))
        for number in range(50):
            await notifying.execute("SELECT pg_notify('news', $1)", str(number))
        assert [await asyncio.wait_for(seen.get(), 20) for _ in range(50)] == [str(number) for number in range(50)]
        await listening.close()
        await notifying.close()

    run(main())


def test_session_ended_by_the_server(run, connect, errors):
    async def main():
        connection, other = await connect(), await connect()
        ended = asyncio.get_running_loop().create_future()
        connection.add_termination_listener(ended.set_result)
        query = asyncio.create_task(connection.fetchval("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.02)
        assert await other.fetchval("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
            await query
        assert await asyncio.wait_for(ended, 20) is connection
        assert connection.is_closed()
        await other.close()

    run(main())
    assert errors == []


def test_over_tls(run, connect, postgres, errors):
    async def main():
        connection = await connect(ssl=postgres.trust)
        said = await connection.fetchrow("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert said["ssl"] is True and said["version"].startswith("TLSv1")
        sent = b"z" * 3_000_000
        assert await connection.fetchval("SELECT $1::bytea", sent) == sent
        other = await connect(ssl=postgres.trust)
        query = asyncio.create_task(connection.fetchval("SELECT pg_sleep(60)"))
        await begun(connection, other)
        query.cancel()  # asyncpg connects once more to tell the server
        with pytest.raises(asyncio.CancelledError):
            await query
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await other.close()

    run(main())
    assert errors == []


def test_over_a_unix_socket(run, connect, postgres):
    async def main():
        connection = await connect(host=str(postgres.directory))
        assert await connection.fetchval("SELECT inet_server_addr() IS NULL")
        await connection.close()

    run(main())


def test_pool_is_shared_by_many_tasks(run, postgres, errors):
    async def main():
        dsn = f"postgresql://tester@{postgres.host}:{postgres.port}/postgres?sslmode=disable"
        async with asyncpg.create_pool(dsn, min_size=2, max_size=6) as pool:

            async def use(number):
                async with pool.acquire() as connection:
                    answer = await connection.fetchval("SELECT $1::int + 1", number)
                    if number % 10 == 3:
                        with pytest.raises(TimeoutError):
                            await connection.execute("SELECT pg_sleep(60)", timeout=0.01)
                    return answer

            assert await asyncio.gather(*(use(number) for number in range(60))) == list(range(1, 61))
            assert pool.get_size() <= 6
        gc.collect()

    run(main())
    assert errors == []


def test_nothing_listens(run, connect, postgres):
    async def main():
        with pytest.raises(OSError):
            await connect(port=1)
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await connect(database="missing")

    run(main())
