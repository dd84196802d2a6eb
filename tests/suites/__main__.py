"""`make test-apps`: the suites of other projects, on stock asyncio and on loopmod, compared test by test.

    python tests/suites [PROJECT...]

A test that passes on asyncio and not on loopmod is a fault of ours until shown otherwise, and makes the run fail; it
is asked once more alone on both, which sorts out the unsteady ones. Not part of CI: it takes half an hour.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compare import Comparison, compare, table
from place import Place, say
from projects import PROJECTS, Project

sys.path.append(str(Path(__file__).resolve().parent.parent / "apps"))

import servers


@contextlib.contextmanager
def server_of(project: Project) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Start the server that the project's tests need; yield the environment and arguments that name it."""
    if project.server == "postgres":
        with servers.postgres() as address:
            where = {"PGHOST": address.host, "PGPORT": str(address.port), "PGUSER": "tester"}
            yield {**where, "PGDATABASE": "postgres"}, []
    elif project.server == "redis":
        with servers.redis() as address:
            yield {}, [f"--redis-url=redis://{address.host}:{address.port}/0"]
    else:
        yield {}, []


def run_project(place: Place, project: Project) -> Comparison:
    directory = place.unpack(project)
    say(f"running the suite of {project.name} {project.version} on both loops")
    with server_of(project) as (environment, arguments):
        reports = place.directory / "reports"
        words = (*project.arguments, *arguments)
        return compare(project.name, place.python, directory, words, reports, environment)


def main(names: list[str]) -> int:
    unknown = set(names) - {project.name for project in PROJECTS}
    if unknown:
        say(f"no such project: {', '.join(sorted(unknown))}")
        return 2
    place = Place()
    place.make_environment()
    comparisons = []
    for project in PROJECTS:
        if names and project.name not in names:
            continue
        try:
            comparisons.append(run_project(place, project))
        except pytest.skip.Exception as skipped:
            say(f"{project.name} skipped: {skipped}")
            continue
        print(table(comparisons[-1:]), flush=True)
    print(f"\nPython {sys.version.split()[0]}\n{table(comparisons)}")
    for comparison in comparisons:
        for loop, run in comparison.runs.items():
            if run.broken:
                print(f"{comparison.name} on {loop}: {run.broken}")
        for node in comparison.ours:
            print(f"{comparison.name}: passes on asyncio, not on loopmod: {node}")
        for node in comparison.unsteady:
            print(f"{comparison.name}: differed once: {node}")
    return int(any(comparison.failed for comparison in comparisons))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
