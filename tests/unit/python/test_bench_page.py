"""What a run of the benchmark leaves, and the pages made of it: benchmarks/results.py and page.py."""

import json

import bench_support
import pytest

results, page, arrivals, loops = (bench_support.load(name) for name in ("results", "page", "arrivals", "loops"))

MACHINE = {
    "date": "2026-11-27",
    "python": "3.13.0",
    "system": "Linux 6.18 x86_64",
    "processor": "a processor",
    "cores": 2,
    "load_average": 0.1,
    "loops": {"asyncio": "3.13.0", "uvloop": "0.23.0", "rloop": "0.5.0", loops.OURS: "0.1.0", loops.JOINED: "0.1.0"},
}
# Paired by round: the medians of the ratios are 4 and 2, which those of the values would not give.
VALUES = {"asyncio": (8.0, 40.0, 12.0), "uvloop": (4.0, 20.0, 3.0), loops.OURS: (2.0, 10.0, 3.0)}


def cpu(version="3.13.0", **cases):
    rows = [
        {
            "case": name,
            "malloc": "default",
            "samples": {
                loop: {"round": [0, 1, 2], "value": list(values), "operations": [10, 10, 10], "wall": [1.0, 1.0, 1.0]}
                for loop, values in (given or VALUES).items()
            },
            "failures": {"rloop": "dies"},
        }
        for name, given in cases.items()
    ]
    return {"kind": "cpu", "machine": MACHINE | {"python": version}, "rounds": 3, "rows": rows}


def latency():
    of = arrivals.Latencies(1000, 20.0, 30.0, 40.0, 50.0, 60.0, 5.0)
    taken = [
        arrivals.Taken(0, "echo_protocol", loop, share, 1e5, share * 1e5, 1.0, 9.0, waiting, 0.0, of)
        for share in (0.8, 0.5)
        for loop, waiting in (("asyncio", 0.0), (loops.OURS, 0.0), ("uvloop", 0.5))
    ]
    return results.of_latency(taken, {("rloop", "echo_protocol"): "dies"}, MACHINE, 1)


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures drawn are named; matplotlib is not needed here."""
    drawn = []
    monkeypatch.setattr(page.plots, "ratios", lambda path, *rest, **kept: drawn.append(path.name))
    monkeypatch.setattr(page.plots, "latency", lambda path, *rest: drawn.append(path.name))
    return drawn


def filled(name, *kept, old="old\n"):
    text = f"before\n<!-- figures: {name} -->\n{old}<!-- /figures -->\nafter\n"
    return page.filled(text, page.Runs(kept), page.ROOT / "docs" / "page.md")


def test_comparison_comes_back_as_it_was(tmp_path):
    kept = cpu(call_soon=None, sleep_0=None)
    results.write(tmp_path / "kept.json", kept)
    assert results.read(tmp_path / "kept.json") == kept
    comparison = results.comparison_of(kept)
    assert results.of_comparison(comparison, kept["machine"], 3)["rows"] == kept["rows"]
    assert comparison.ratio("call_soon", loops.OURS, "asyncio") == 4.0
    assert comparison.ratio("call_soon", loops.OURS, "uvloop") == 2.0
    spread = comparison.spread("call_soon", loops.OURS, "uvloop")
    assert (spread.low, spread.high, spread.count) == (1.0, 2.0, 3)


def test_file_has_a_line_for_each_case(tmp_path):
    results.write(tmp_path / "kept.json", cpu(call_soon=None, sleep_0=None))
    lines = (tmp_path / "kept.json").read_text().splitlines()
    assert [json.loads(line.rstrip(","))["case"] for line in lines[2:-1]] == ["call_soon", "sleep_0"]


def test_parts_of_a_run_add_up(tmp_path, monkeypatch):
    """What is measured again takes the place of what was there; the dates and the worst load are said."""
    monkeypatch.setattr(results, "KEPT", tmp_path)
    results.keep(cpu(sleep_0=None, call_soon=None))
    again = cpu(sleep_0={"asyncio": (1.0, 1.0, 1.0), loops.OURS: (1.0, 1.0, 1.0)}, timers_fired=None)
    again["machine"] |= {"date": "2026-11-29", "load_average": 0.0, "loops": {"asyncio": "3.13.0", "newer": "1"}}
    kept = results.read(results.keep(again))
    assert [row["case"] for row in kept["rows"]] == ["call_soon", "timers_fired", "sleep_0"]
    assert [row for row in kept["rows"] if row["case"] == "sleep_0"] == [again["rows"][0]]
    machine = kept["machine"]
    assert machine["loops"] == MACHINE["loops"] | {"newer": "1"}
    assert machine["load_average"] == 0.1
    assert results.headline(machine, 3).startswith("2026-11-27 to 2026-11-29, CPython 3.13.0")
    results.comparison_of(kept)


def test_settings_of_malloc_are_rows_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "KEPT", tmp_path)
    plain, big = cpu(echo_protocol=None), cpu(echo_protocol=None)
    big["rows"][0]["malloc"] = "big"
    results.keep(plain)
    kept = results.read(results.keep(big))
    assert [row["malloc"] for row in kept["rows"]] == ["default", "big"]


def test_parts_of_latency_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "KEPT", tmp_path)
    first, second = latency(), latency()
    for row in (*second["rows"], *second["failures"]):
        row["case"] = "echo_tls"
    results.keep(first)
    results.keep(second)
    kept = results.read(results.keep(latency()))
    assert len(kept["rows"]) == len(first["rows"]) + len(second["rows"])
    assert sorted(row["case"] for row in kept["failures"]) == ["echo_protocol", "echo_tls"]


@pytest.mark.parametrize(
    "other",
    [{"processor": "other"}, {"python": "3.13.1"}, {"cores": 4}, {"system": "Linux"}, {"loops": {"asyncio": "4"}}],
)
def test_runs_of_two_places_are_not_mixed(tmp_path, monkeypatch, other):
    monkeypatch.setattr(results, "KEPT", tmp_path)
    results.keep(cpu(call_soon=None))
    later = cpu(sleep_0=None)
    later["machine"] |= other
    kept = results.read(results.keep(later))
    assert [row["case"] for row in kept["rows"]] == ["sleep_0"]
    results.keep(cpu(call_soon=None))
    fewer = cpu(sleep_0=None) | {"rounds": 2}
    assert results.read(results.keep(fewer)) == fewer


def test_values_keep_four_digits():
    assert [results.rounded(value) for value in (1234.56, 0.00123456, 123456, None)] == [
        1235.0,
        0.001235,
        123456,
        None,
    ]


def test_case_that_is_no_more_is_left_out():
    assert results.comparison_of(cpu(call_soon=None, gone=None)).rows[0].name == "call_soon"
    assert len(results.comparison_of(cpu(call_soon=None, gone=None)).rows) == 1


def test_latency_comes_back_as_it_was():
    kept = latency()
    assert results.of_latency(results.taken_of(kept), {}, MACHINE, 1)["rows"] == kept["rows"]
    assert kept["failures"] == [{"loop": "rloop", "case": "echo_protocol", "reason": "dies"}]


def test_block_is_replaced_and_what_is_around_it_stays(no_pictures):
    text, lacking = filled("core", cpu(call_soon=None))
    assert not lacking
    assert text.startswith("before\n<!-- figures: core -->\nOn CPython 3.13:\n")
    assert text.endswith("<!-- /figures -->\nafter\n")
    assert "old" not in text
    assert "| operation | asyncio | uvloop | loopmod |" in text  # rloop has no figure, the server loop no place here
    assert "| 8.000 µs | 2.00 | 4.00 |" in text
    assert no_pictures == ["core-3.13.svg"]


def test_picture_says_machine_versions_and_date(no_pictures):
    text, _ = filled("core", cpu(call_soon=None))
    caption = next(line for line in text.splitlines() if line.startswith("*"))
    for said in ("2026-11-27", "CPython 3.13.0", "Linux 6.18 x86_64", "a processor", "uvloop 0.23.0", "3 rounds"):
        assert said in caption


def test_made_anew_twice_is_the_same(no_pictures):
    once, _ = filled("core", cpu(call_soon=None))
    runs = page.Runs([cpu(call_soon=None)])
    assert page.filled(once, runs, page.ROOT / "docs" / "page.md")[0] == once


def test_versions_stand_in_their_order(no_pictures):
    text, _ = filled("core", cpu("3.14.1", call_soon=None), cpu("3.9.0", call_soon=None), cpu(call_soon=None))
    places = [text.index(f"On CPython {version}:") for version in ("3.9", "3.13", "3.14")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", list(page.BLOCKS))
def test_block_without_samples_stays_and_is_named(name, no_pictures):
    text, lacking = filled(name)
    assert lacking == [name]
    assert "old" in text


def test_only_where_another_is_ahead_it_is_named(no_pictures):
    ahead = {"uvloop": (1.0, 1.0, 1.0), loops.OURS: (2.0, 2.0, 4.0)}
    text, _ = filled("behind", cpu(call_soon=None, sleep_0=ahead))
    assert "| uvloop | 0.50 (0.25 to 0.50) |" in text
    assert "call_soon" not in text
    text, lacking = filled("behind", cpu(call_soon=None))
    assert "Nowhere" in text and not lacking


def test_latency_leaves_out_what_was_disturbed(no_pictures):
    text, _ = filled("latency", latency())
    assert "| `echo_protocol` at 50% | 20 / 40 / 50 | 20 / 40 / 50 |" in text
    assert "uvloop |" not in text
    assert no_pictures == ["latency-3.13.svg"]


def test_every_block_of_the_pages_is_known_and_used():
    named = {
        name: [block[2] for block in page.BLOCK.finditer((page.ROOT / name).read_text(encoding="utf-8"))]
        for name in page.PAGES
    }
    assert {block for blocks in named.values() for block in blocks} == set(page.BLOCKS)
    for name, blocks in named.items():
        text = (page.ROOT / name).read_text(encoding="utf-8")
        assert len(blocks) == text.count("<!-- figures: ") == text.count("<!-- /figures -->")


def test_rows_of_the_page_are_cases():
    names = {*page.CORE, *page.OUTSIDE, *page.NET, *page.MEMORY, *page.README_CORE, *page.README_SERVERS}
    names |= {name.removesuffix(" (big malloc)") for name in (*page.BIG, *page.TLS)}
    assert names <= set(results.CASES)
