"""Pictures of what was measured, by matplotlib: ratios to asyncio as bars, latency under load as ranges.

The same samples give the same file to the byte, so that a picture changes only with what it shows. Relies on
figures.py and arrivals.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arrivals import Tails
from figures import Comparison
from loops import FLOOR, LOOPS, OURS

DEFAULTS = {"svg.hashsalt": "loopmod", "svg.fonttype": "path", "font.size": 9}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update(DEFAULTS)
    from matplotlib import pyplot

    return pyplot


def _color(loop: str) -> str:
    """One for each loop, in every picture."""
    return f"C{LOOPS.index(loop) % 10}"


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, bbox_inches="tight", dpi=110, metadata=metadata)
    _pyplot().close(figure)


def ratios(
    path: Path, comparison: Comparison, head: str, rows: Sequence[str] = (), loops: Sequence[str] = ()
) -> None:
    """Bars: how many times better than asyncio each loop is, with the rounds' quartiles, a group for each case."""
    loops = [loop for loop in loops or comparison.loops if loop not in ("asyncio", FLOOR)]
    names = [row.name for row in comparison.rows if not rows or row.name in rows]
    names = [name for name in names if comparison.ratios(name, OURS, "asyncio")]
    figure, axes = _pyplot().subplots(figsize=(9, 1 + 0.13 * len(names) * (len(loops) + 1)))
    height = 0.8 / max(len(loops), 1)
    for place, loop in enumerate(loops):
        spreads = [comparison.spread(name, loop, "asyncio") for name in names]
        where = [index + place * height for index in range(len(names))]
        lengths = [found.median - 1 if found else 0 for found in spreads]
        errors = [
            [found.median - found.low if found else 0 for found in spreads],
            [found.high - found.median if found else 0 for found in spreads],
        ]
        thin = {"elinewidth": 0.6, "ecolor": "black"}
        order = 3 if loop == OURS else 2
        style = {"label": loop, "color": _color(loop), "zorder": order}
        axes.barh(where, lengths, height, left=1, xerr=errors, error_kw=thin, **style)
    axes.axvline(1, color="black", linewidth=0.8, zorder=4)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(names))], names)
    axes.set_ylim(len(names), -0.4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.set_xlabel("times better than asyncio (CPU time, or bytes); longer is better")
    axes.set_title(head.partition(";")[0], fontsize="small", wrap=True)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    _save(figure, path)


def latency(path: Path, tails: Tails, head: str, loops: Sequence[str]) -> None:
    """A panel for each case; for each loop and share of its maximum a range from p50 over p99 to p99.9."""
    cases = list(dict.fromkeys(t.case for t in tails.taken))
    shares = sorted({t.share for t in tails.taken})
    figure, panels = _pyplot().subplots(
        1, len(cases), figsize=(3.6 * len(cases), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, case in zip(panels[0], cases, strict=True):
        for place, loop in enumerate(loops):
            for step, share in enumerate(shares):
                found = [tails.percentile(loop, case, share, name) for name in ("p50", "p99", "p999")]
                values = [each.median for each in found if each]
                if len(values) == len(found):
                    x = place + (step - (len(shares) - 1) / 2) * 0.3
                    axes.plot([x] * 3, values, color=_color(loop), alpha=0.5 + 0.5 * step / max(len(shares) - 1, 1))
                    axes.scatter([x] * 3, values, s=(26, 18, 12), marker="_", color=_color(loop), zorder=3)
        axes.set_yscale("log")
        axes.set_xticks(range(len(loops)), loops, rotation=60, ha="right", fontsize="small")
        axes.set_title(case, fontsize="small")
        axes.grid(axis="y", alpha=0.3)
    panels[0][0].set_ylabel("latency, µs: p50, p99, p99.9")
    said = ", ".join(f"{share:.0%}" for share in shares)
    figure.suptitle(f"{head.partition(';')[0]}\nfrom left to right at {said} of the maximum", fontsize="small")
    _save(figure, path)
