"""The guards that `make faults-guards` takes out: each still stands where the table says, and a survivor shows.

No build and no instrument: which of them notices is the long form's to find.
"""

import guard_run
import pytest
from guard_table import GUARDS

SOURCE = guard_run.ROOT / "src"


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_where_the_table_says(guard):
    whole = (SOURCE / guard.path).read_text(encoding="utf-8")
    assert guard_run.take_out(whole, guard) != whole
    assert guard.instruments
    for kind, path, *_ in guard.instruments:
        assert kind in ("pytest", "script")
        program = guard_run.ROOT / path
        assert program.is_file() or (program / ("" if kind == "pytest" else "__main__.py")).exists(), path


def test_the_table_has_all_rooms():
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert {guard.path.split("/")[0] for guard in GUARDS} == rooms
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 30


class MadeUpTree:
    """A tree whose only instrument notices what is missing in one file."""

    is_memory = False

    def __init__(self, root, watched):
        self.known = {}
        self.root = root
        self.watched = watched

    def build(self):
        return True

    def restore(self):
        pass

    def run(self, instrument, limit):
        return "" if "if (ok)" in (self.root / "src" / self.watched).read_text() else "something is missing"


@pytest.mark.parametrize("watched, said", [("a.c", "caught by"), ("b.c", "MISSED")])
def test_a_survivor_shows(tmp_path, watched, said):
    (tmp_path / "src").mkdir()
    for name in ("a.c", "b.c"):
        (tmp_path / "src" / name).write_text("if (ok) go();\n")
    from guard_table import guard

    one = guard("made up", "a.c", "if (ok)", "if (1)", ("script", "x"))
    tree = MadeUpTree(tmp_path, watched)
    assert guard_run.outcome(one, tree).startswith(said)
    assert "if (ok)" in (tmp_path / "src/a.c").read_text(), "it is put back"


def test_one_that_fails_anyway_has_not_noticed(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.c").write_text("if (ok) go();\n")
    from guard_table import guard

    tree = MadeUpTree(tmp_path, "a.c")
    tree.run = lambda instrument, limit: "fails"
    assert guard_run.outcome(guard("made up", "a.c", "if (ok)", "if (1)", ("script", "x")), tree) == "MISSED"


@pytest.mark.parametrize("hangs, said", [(True, "caught by"), (False, "MISSED")])
def test_what_only_hangs_has_not_noticed_unless_it_has_to(tmp_path, hangs, said):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.c").write_text("if (ok) go();\n")
    from guard_table import guard

    one = guard("made up", "a.c", "if (ok)", "if (1)", ("script", "x"), hangs=hangs)
    tree = MadeUpTree(tmp_path, "a.c")
    notices = tree.run
    tree.run = lambda instrument, limit: notices(instrument, limit) and guard_run.HUNG
    assert guard_run.outcome(one, tree).startswith(said)


@pytest.mark.parametrize("text", ["go();\n", "if (ok) go();\nif (ok) go();\n"])
def test_a_guard_that_is_not_there_shows(tmp_path, text):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.c").write_text(text)
    from guard_table import guard

    one = guard("made up", "a.c", "if (ok)", "if (1)", ("script", "x"))
    said = guard_run.outcome(one, MadeUpTree(tmp_path, "a.c"))
    assert "times" in said and not said.startswith("caught")
