"""What a run leaves: the machine it ran on, a JSON file of every sample, and a comparison made anew of that file.

One file for each kind of run and version of Python, a line for each case, so that a new run shows as what changed.
Runs of some cases each, at the same place, add up to one file. Values keep four digits. Relies on figures.py and
arrivals.py.
"""

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arrivals import Latencies, Taken
from cases import CASES
from figures import Comparison
from loops import FLOOR
from runner import HERE, Row, Sample

KEPT = HERE / "results"
COLUMNS = ("value", "operations", "wall", "p50", "p99", "most")
Json = dict[str, Any]


def processor() -> str:
    """The model, and whether it is a virtual machine's."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    model = " ".join(fields.get("model name", platform.machine()).split())
    return f"{model}, virtual" if "hypervisor" in fields.get("flags", "").split() else model


def describe_machine(versions: dict[str, str]) -> Json:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "loops": versions,
    }


def headline(machine: Json, rounds: int) -> str:
    names = ", ".join(
        f"{name} {version}"
        for name, version in machine["loops"].items()
        if name not in ("asyncio", FLOOR) and "+" not in name
    )
    since = machine.get("since", machine["date"])
    dates = machine["date"] if since == machine["date"] else f"{since} to {machine['date']}"
    return (
        f"{dates}, CPython {machine['python']}, {machine['system']}, {machine['processor']}, "
        f"{machine['cores']} cores, load {machine['load_average']:.1f}, {rounds} rounds; {names}"
    )


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.4g}")


def of_comparison(comparison: Comparison, machine: Json, rounds: int) -> Json:
    rows = []
    for row in comparison.rows:
        samples: Json = {}
        for loop in comparison.loops:
            taken = [s for s in comparison.samples if (s.row, s.loop) == (row.name, loop)]
            columns = {name: [rounded(getattr(s, name)) for s in taken] for name in COLUMNS}
            if taken:
                has_any = {name: column for name, column in columns.items() if any(column)}
                samples[loop] = {"round": [s.round for s in taken], **has_any}
        failed = {loop: why for (name, loop), why in comparison.failures.items() if name == row.name}
        rows.append({"case": row.case.name, "malloc": row.malloc, "samples": samples, "failures": failed})
    return {"kind": "cpu", "machine": machine, "rounds": rounds, "rows": rows}


def comparison_of(kept: Json) -> Comparison:
    """As it was when it was measured; cases that are no more are left out."""
    rows = [row for row in kept["rows"] if row["case"] in CASES]
    comparison = Comparison([Row(CASES[row["case"]], row["malloc"]) for row in rows], list(kept["machine"]["loops"]))
    for row, said in zip(comparison.rows, rows, strict=True):
        comparison.failures |= {(row.name, loop): why for loop, why in said["failures"].items()}
        for loop, columns in said["samples"].items():
            names = list(columns)
            for values in zip(*columns.values(), strict=True):
                fields = dict(zip(names, values, strict=True))
                comparison.samples.append(Sample(row=row.name, loop=loop, **fields))
    return comparison


def of_latency(taken: Iterable[Taken], failures: dict[tuple[str, str], str], machine: Json, rounds: int) -> Json:
    rows = []
    for each in taken:
        row = asdict(each)
        row |= {name: rounded(value) for name, value in row.items() if isinstance(value, float)}
        row["latency"] = {name: rounded(value) for name, value in row["latency"].items()}
        rows.append(row)
    failed = [{"loop": loop, "case": case, "reason": reason} for (loop, case), reason in failures.items()]
    return {"kind": "latency", "machine": machine, "rounds": rounds, "failures": failed, "rows": rows}


def taken_of(kept: Json) -> list[Taken]:
    return [Taken(**(row | {"latency": Latencies(**row["latency"])})) for row in kept["rows"]]


def write(path: Path, kept: Json) -> None:
    head = json.dumps({name: value for name, value in kept.items() if name != "rows"})
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in kept["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head[:-1]},\n"rows": [\n{rows}\n]}}\n')


def are_of_one_place(earlier: Json, later: Json) -> bool:
    """Whether two runs may stand in one table: the same machine, the same versions of all that both measured."""
    one, other = earlier["machine"], later["machine"]
    loops = one["loops"].keys() & other["loops"].keys()
    return (
        earlier["rounds"] == later["rounds"]
        and all(one[name] == other[name] for name in ("python", "system", "processor", "cores"))
        and all(one["loops"][name] == other["loops"][name] for name in loops)
    )


def merged(earlier: Json, later: Json) -> Json:
    """Both, what the later one measured in its place: a long run may be made in parts."""
    one, other = earlier["machine"], later["machine"]
    machine = other | {
        "since": min(one.get("since", one["date"]), other["date"]),
        "load_average": max(one["load_average"], other["load_average"]),
        "loops": one["loops"] | other["loops"],
    }
    measured = {(row["case"], row.get("malloc")) for row in later["rows"]}
    rows = [row for row in earlier["rows"] if (row["case"], row.get("malloc")) not in measured] + later["rows"]
    order = {name: place for place, name in enumerate(CASES)}
    rows.sort(key=lambda row: order.get(row["case"], len(order)))
    both = later | {"machine": machine, "rows": rows}
    if "failures" in later:
        cases = {case for case, _ in measured}
        both["failures"] = [row for row in earlier["failures"] if row["case"] not in cases] + later["failures"]
    return both


def keep(kept: Json) -> Path:
    """Into the folder that the pages are made of, beside what was measured before at the same place."""
    version = ".".join(kept["machine"]["python"].split(".")[:2])
    path = KEPT / f"{kept['kind']}-{version}.json"
    if path.exists() and are_of_one_place(earlier := read(path), kept):
        kept = merged(earlier, kept)
    write(path, kept)
    return path


def read(path: Path) -> Json:
    kept: Json = json.loads(path.read_text(encoding="utf-8"))
    return kept
