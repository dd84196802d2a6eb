"""asyncpg on loopmod: a pool of connections that many tasks share, each in a transaction of its own.

python examples/recipes/asyncpg_pool.py postgresql://user@host/database
"""

import asyncio
import sys

import asyncpg

import loopmod

TASKS = 20


async def transfer(pool: asyncpg.Pool, amount: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE account SET balance = balance - $1 WHERE name = 'from'", amount)
        await connection.execute("UPDATE account SET balance = balance + $1 WHERE name = 'to'", amount)


async def main(dsn: str) -> dict[str, int]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=5) as pool:
        await pool.execute("CREATE TABLE account (name text PRIMARY KEY, balance bigint)")
        try:
            await pool.executemany("INSERT INTO account VALUES ($1, $2)", [("from", 1000), ("to", 0)])
            await asyncio.gather(*(transfer(pool, amount) for amount in range(TASKS)))
            return {row["name"]: row["balance"] for row in await pool.fetch("SELECT * FROM account")}
        finally:
            await pool.execute("DROP TABLE account")


if __name__ == "__main__":
    print(loopmod.run(main(sys.argv[1])))
