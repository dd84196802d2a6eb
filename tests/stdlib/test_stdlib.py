"""CPython's own suite of asyncio, as the running interpreter ships it, on loopmod: an item per way and module.

ways.py says what is replaced in each way, inapplicable.py what is left out and why. LOOPMOD_TEST_ONLY=asyncio runs
the same on stock asyncio, where all must pass too: then a failure on loopmod is loopmod's.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import runner

SUBJECT = os.environ.get("LOOPMOD_TEST_ONLY") or "loopmod"
PROCESSES = 2

pytestmark = pytest.mark.slow


class _Later(dict):
    """Runs that begin when they are asked for."""

    def __init__(self, pool):
        super().__init__()
        self._pool = pool

    def __missing__(self, run):
        return self._pool.submit(runner.run_module, SUBJECT, *run)


@pytest.fixture(scope="session")
def results(request):
    """What every selected run will give, as futures: some processes work ahead of the test that asks."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        if "PYTEST_XDIST_WORKER" in os.environ:
            # Nobody knows which of the items this process will get, and others work beside it.
            yield _Later(pool)
            return
        wanted = [item.callspec.params["run"] for item in request.session.items if "results" in item.fixturenames]
        yield {run: pool.submit(runner.run_module, SUBJECT, *run) for run in wanted}
        pool.shutdown(cancel_futures=True)


def failures(outcomes):
    return {outcome.name: outcome for outcome in outcomes if outcome.outcome == "failed"}


def described(outcomes):
    return "\n".join(f"\n--- {outcome.name}\n{outcome.text}" for outcome in outcomes)


@pytest.mark.skipif(not runner.suite_modules(), reason="this interpreter comes without its test package")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("run", list(runner.runs()), ids="-".join)
def test_suite(run, results):
    outcomes = results[run].result()
    if failed := failures(outcomes):
        # Some of these tests measure time or fork with threads alive. CPython's own runner, too, counts those alone
        # that fail again by themselves; what failed once is shown, and a crash is one crash too many.
        warnings.warn(f"failed in the first run:\n{described(failed.values())}", stacklevel=1)
        again = failures(runner.run_module(SUBJECT, *run))
        failed = {name: outcome for name, outcome in failed.items() if name in again or runner.is_crash(outcome)}
    if failed:
        names = "\n".join(failed)
        pytest.fail(
            f"{len(failed)} of {len(outcomes)} tests failed:\n{names}\n{described(failed.values())}", pytrace=False
        )
    if not any(outcome.counts for outcome in outcomes):
        pytest.skip("none of its tests makes a loop or uses a type of ours")
