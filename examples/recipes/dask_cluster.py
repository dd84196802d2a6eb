"""Dask distributed on loopmod: a scheduler and worker processes, the way to more than one machine.

    python examples/recipes/dask_cluster.py

Worker processes import this file before they begin, and so choose as it does. On several machines, by hand:

    python -m loopmod -m distributed.cli.dask_scheduler
    python -m loopmod -m distributed.cli.dask_worker --no-nanny tcp://scheduler:8786
"""

import asyncio

from distributed import Client, LocalCluster

import loopmod

loopmod.install()


def square(number: int) -> int:
    return number * number


async def loop_of_worker() -> str:
    return type(asyncio.get_running_loop()).__module__


async def main() -> dict[str, object]:
    async with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, asynchronous=True) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        squares = client.map(square, range(100))
        return {
            "total": await client.submit(sum, squares),
            "workers": sorted((await client.run(loop_of_worker)).values()),
            "scheduler": type(asyncio.get_running_loop()).__module__,
        }


if __name__ == "__main__":
    print(loopmod.run(main()))
