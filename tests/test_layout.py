"""Holds the source to its layout: who includes whom, sizes, exported symbols, true stubs and maps.

Each rule (tests/layout.py) is first shown to fail on a few made-up lines, then applied to the tree.
"""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path

import layout
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "src").rglob("*.[ch]"))
}

# C files that declare nothing for others, or whose declarations stand in a header of their room.
HEADERLESS = {
    "src/module.c": "includes all, and nobody includes it",
    "src/poll/evsrc.c": "compiles libev in, whose header is ev.h",
    "src/core/handle_type.c": "a part of core/handle.h",
    "src/core/loop_life.c": "a part of core/loop.h",
    "src/core/patched_items.c": "a part of core/patched.h",
    "src/face/loop_net.c": "methods of the table in face/loop_type.h",
    "src/face/loop_run.c": "methods of the table in face/loop_type.h",
    "src/face/loop_schedule.c": "methods of the table in face/loop_type.h",
    "src/face/loop_fields.c": "attributes of the type in face/loop_type.h",
    "src/face/loop_sight.c": "methods of the table in face/loop_type.h",
    "src/face/loop_socks.c": "methods of the table in face/loop_type.h",
    "src/net/datagram_read.c": "a part of net/datagram.h",
    "src/net/datagram_send.c": "a part of net/datagram.h",
    "src/net/datagram_type.c": "a part of net/datagram.h",
    "src/net/pipe_read.c": "a part of net/pipe.h",
    "src/net/pipe_type.c": "a part of net/pipe.h",
    "src/net/pipe_write.c": "a part of net/pipe.h",
    "src/net/transport_ready.c": "a part of net/transport.h",
    "src/net/transport_watch.c": "a part of net/transport.h",
    "src/poll/set.c": "a part of poll/poll.h",
    "src/sync/coro_type.c": "a part of sync/coro.h",
    "src/sync/event.c": "a part of sync/sync.h",
    "src/sync/lock.c": "a part of sync/sync.h",
    "src/sync/queue_items.c": "a part of sync/queue.h",
    "src/sync/queue_wait.c": "a part of sync/queue.h",
    "src/sync/semaphore.c": "a part of sync/sync.h",
    "src/task/future_fields.c": "a part of task/future.h",
    "src/task/future_type.c": "a part of task/future.h",
    "src/task/task_make.c": "a part of task/task.h",
    "src/task/task_type.c": "a part of task/task.h",
    "src/task/waiters_list.c": "a part of task/waiters.h",
    "src/tls/app.c": "a part of tls/tls.h",
    "src/tls/app_transport.c": "a part of tls/tls.h",
    "src/tls/fatal.c": "a part of tls/tls.h",
    "src/tls/handshake.c": "a part of tls/phase.h",
    "src/tls/incoming.c": "a part of tls/phase.h",
    "src/tls/operation.c": "a part of tls/tls.h",
    "src/tls/outgoing.c": "a part of tls/phase.h",
    "src/tls/protocol.c": "a part of tls/phase.h",
    "src/tls/protocol_type.c": "a part of tls/tls.h",
    "src/tls/shutdown.c": "a part of tls/phase.h",
}
# `path` or `path:function`: what is longer than the limits, and why.
LONGER: dict[str, str] = {}
# Files that call each other in a circle, and why they do.
KNOTS: dict[frozenset[str], str] = {}
# Structs that hold functions, by which a file may call one that `nm` does not show: who fills them in.
TABLES = {
    "LmKept": "who watches: how its watches are stopped when the loop closes",
    "LmLoop": "task: how the current task is left, where there is one",
    "LmNativeProtocol": "tls: a protocol in C, for the transport below",
    "LmOp": "event, lock and the like: what each of their methods does",
    "LmOnce": "readers: what runs when a descriptor is ready once",
    "LmTlsGear": "OpenSSL's own functions",
    "LmTransportKind": "stream, datagram and pipes: what their lives differ in",
    "LmWatch": "the owner of a watch: what runs when it fired",
}
# The places that know more than the public C API promises.
PRIVATE_API_FILES = ("src/base/compat.h", "src/task/mirror.")
# Writable static data, and why it may not live in the module's state.
WRITABLE = {
    "app_transport_offset": "set once at import, to the same value in every interpreter",
    "lm_fork_count": "counts forks of the process, which all interpreters share",
    "fork_hook_once": "the fork hook is the process's, and installed once",
    "lm_future_offset": "set once at import, to the same value in every interpreter",
    "lm_task_offset": "set once at import, to the same value in every interpreter",
    "lm_handle_offset": "set once at import, to the same value in every interpreter",
    "lm_sync_offset": "set once at import, to the same value in every interpreter",
    "lm_transport_offset": "set once at import, to the same value in every interpreter",
    "lm_module": "the module definition, which CPython writes to",
    "lm_reserve_here": "thread-local: libev's allocator and error callback have no argument",
    "names": "keyword lists of PyArg_ParseTupleAndKeywords, which wants them writable before 3.13",
}
# libev's own, where it is compiled in: all but `alloc` and the clock probes stay untouched.
LIBEV_WRITABLE = {
    "alloc",
    "default_loop_struct",
    "ev_default_loop_ptr",
    "have_monotonic",
    "have_realtime",
    "signals",
    "syserr_cb",
}


def run_nm(*arguments: str) -> str:
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("needs nm (binutils)")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def nm(*arguments: str) -> str:
    """What `nm` says of the module."""
    from loopmod import _loopmod

    return run_nm(*arguments, _loopmod.__file__)


def built_object(path: str) -> Path | None:
    """The object that this interpreter's module was linked from, or None where it was built elsewhere."""
    from loopmod import _loopmod

    debug = "-pydebug" if hasattr(sys, "gettotalrefcount") else ""
    folder = f"temp.{sysconfig.get_platform()}-{sys.implementation.cache_tag}{debug}"
    found = Path(_loopmod.__file__).parent.parent / "build" / folder / f"{path[:-2]}.o"
    return found if found.exists() else None


def skip_if_instrumented() -> None:
    if layout.is_instrumented(nm("-D")):
        pytest.skip("sanitizers and counters add symbols of their own")


# --- the rules themselves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("src/base/a.c", '#include "core/loop.h"', "not below base"),
        ("src/core/a.c", '# include "../task/task.h"', None),  # resolves to nothing that exists
        ("src/tls/a.c", '#include "os/child.h"', "not below tls"),
        ("src/face/a.c", '#include "module.h"', "not below face"),
        ("src/core/a.c", "#include <ev.h>", "only the poll room"),
        ("src/core/a.c", '#include "poll/evh.h"', "only the poll room"),
        ("src/cellar/a.c", "", "has no level"),
        ("src/core/a.c", '#include "core/loop.h"\n#include "base/lm.h"', None),
        ("src/core/a.c", '#include "loop.h"', None),
        ("src/core/a.c", '/* #include "task/task.h" */', None),
        ("src/module.c", '#include "face/face.h"', None),
        ("src/poll/a.c", "#include <ev.h>", None),
    ],
)
def test_include_rule(path, line, complaint):
    names = ["base/lm.h", "poll/evh.h", "core/loop.h", "os/child.h", "face/face.h", "module.h"]
    files = {f"src/{name}": "" for name in names}
    files[path] = line
    errors = layout.include_errors(files)
    if complaint is None:
        assert errors == []
    else:
        assert len(errors) == 1 and complaint in errors[0] and path in errors[0]


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("src/core/a.c", '#include "core/a.h"\n\n#include "base/lm.h"\n#include "core/b.h"\n\n#include <x.h>', None),
        ("src/core/a.c", '#include "core/a.h"', None),
        ("src/core/a.c", '#include "base/lm.h"\n#include "core/a.h"', "its own header"),
        ("src/core/a.c", '#include "base/lm.h"\n\n#include "core/a.h"', "its own header"),
        ("src/core/a.c", '#include "core/a.h"\n#include "base/lm.h"', "its own header"),
        ("src/core/a_type.c", '#include "core/a.h"\n\n#include "base/lm.h"', None),  # a part of another
        ("src/core/a.c", '#include "core/a.h"\n\n#include "core/b.h"\n#include "base/lm.h"', "not in order"),
        ("src/core/a.c", '#include "core/a.h"\n\n#include "base/lm.h"\n\n#include "core/b.h"', "not in order"),
        ("src/core/a.c", '#include "core/a.h"\n\n#include <x.h>\n\n#include "base/lm.h"', "not in order"),
        ("src/core/a.c", '#include "core/a.h"\n\n#include "base/lm.h"\n#include <x.h>', "not in order"),
        ("src/core/a.c", '#include "core/a.h"\n\n#include <x.h>\n#if X\n#include "base/lm.h"\n#endif', None),
        (
            "src/core/a.h",
            '#ifndef LM_CORE_A_H\n#define LM_CORE_A_H\n#include "core/b.h"\n#include "base/c.h"',
            "order",
        ),
    ],
)
def test_include_order_rule(path, text, complaint):
    errors = layout.include_order_errors({"src/core/a.h": "", path: text})
    assert [complaint in error for error in errors] == ([] if complaint is None else [True])


NAMES = """\
static int
twice(int a)
{
}
static inline PyObject *once(void) { }
LM_INLINE int __attribute__((noinline)) slow(int x) { }
LM_GETTER(get_x, Point *p = point(self), as_int(p->x))
static const int table[] = {1};
static int (*hook)(int);
#define LM_MAKE(name) static int name(void)
/* static int commented(void) */
int lm_shared(void) { }
"""


def test_repeated_name_rule():
    assert layout.static_functions(NAMES) == {"twice", "once", "slow", "get_x"}
    files = {"src/core/a.c": NAMES, "src/net/b.c": "static int twice(int);", "src/net/c.c": "static void gone(void)"}
    assert layout.repeated_name_errors(files) == ["twice: in src/core/a.c, src/net/b.c"]
    del files["src/core/a.c"]
    assert layout.repeated_name_errors(files) == []


def test_named_file_rule():
    existing = ["src/core/run.c", "src/core/run.h", "src/net/flow.c", "loopmod/loop.py"]
    texts = {
        "src/core/a.c": '/* See run.h, core/run.c, loopmod/loop.py and Python.h. */ "gone.c"',
        "src/core/README.md": "`run.c/.h`, flow.c (net/flow.c), `loop.py`; epoll.create and x.c() are no files",
    }
    assert layout.named_file_errors(texts, existing) == []
    assert layout.named_file_errors({"src/core/a.c": "/* See rerun.c. */"}, existing) == [
        "src/core/a.c: names rerun.c, which does not exist"
    ]
    assert len(layout.named_file_errors({"src/README.md": "net/run.c and lost.py"}, existing)) == 2


def test_call_rule():
    """By what `nm` says of objects: functions, tables, what is undefined."""
    symbols = {
        "src/base/a.c": "0000 T lm_a\n     U PyObject_Call\n0010 t hidden\n     U lm_b\n",
        "src/base/b.c": "0000 T lm_b\n     U lm_a\n0000 d hidden\n",
        "src/core/c.c": "0000 D lm_table\n     U lm_a\n",
        "src/task/d.c": "0000 T lm_d\n     U lm_table\n",
        "src/module.c": "0000 T PyInit__loopmod\n     U lm_d\n",
    }
    calls = layout.calls_between(symbols)
    knot = frozenset({"src/base/a.c", "src/base/b.c"})
    assert calls["src/base/a.c"] == {"src/base/b.c"} and calls["src/task/d.c"] == {"src/core/c.c"}
    assert layout.knots(calls) == [knot]
    assert layout.call_errors(calls, {knot: "reason"}) == []
    assert "src/base/a.c, src/base/b.c" in layout.call_errors(calls, {})[0]
    assert "without need" in layout.call_errors(calls, {knot: "r", frozenset({"src/core/c.c", "x"}): "r"})[0]
    symbols["src/core/c.c"] += "     U lm_d\n"
    assert "src/core/c.c: calls src/task/d.c" in layout.call_errors(layout.calls_between(symbols), {knot: "r"})[0]


def test_table_rule():
    header = "typedef struct Tag {\n    int a;\n    int (*run)(int);\n} LmTable;\nstruct Plain { int (*f); };\n"
    assert layout.table_errors({"src/core/a.h": header, "src/core/b.c": header}, {"LmTable": "reason"}) == []
    assert "LmTable holds" in layout.table_errors({"src/core/a.h": header}, {})[0]
    assert "without need" in layout.table_errors({}, {"LmTable": "reason"})[0]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("int x = _PyObject_Vectorcall(f);", 1),
        ("_Py_CRITICAL_SECTION_ASSERT (x);", 1),
        ('#include "internal/pycore_frame.h"', 1),
        ("#define Py_BUILD_CORE 1", 1),
        ('/* _PyObject_Call(x) */ char *s = "_PyObject_Call(";', 0),
        ("PyObject_Call(f, a, k); Py_NewRef(x); my_PyThing(x);", 0),
    ],
)
def test_private_api_rule(text, count):
    assert len(layout.private_api_errors({"src/core/a.c": text}, ["src/task/mirror."])) == count
    assert layout.private_api_errors({"src/task/mirror.c": text}, ["src/task/mirror."]) == []


def test_own_header_rule():
    files = {"src/core/a.c": "", "src/core/a.h": "", "src/core/b.c": ""}
    assert layout.own_header_errors(files, {"src/core/b.c": "reason"}) == []
    assert "src/core/b.c" in layout.own_header_errors(files, {})[0]
    assert "without need" in layout.own_header_errors(files, {"src/core/b.c": "r", "src/core/a.c": "r"})[0]
    assert "without need" in layout.own_header_errors(files, {"src/core/b.c": "r", "src/core/gone.c": "r"})[0]


def test_head_rule():
    good = {"a.c": "/* The ring of ready items. */\n", "b.h": "/*\n * What a watch is.\n */\n"}
    bad = {"c.c": "#include <x.h>\n/* The ring of ready items. */", "d.c": "", "e.c": "/* */\nint x;"}
    assert layout.head_errors(good) == []
    assert len(layout.head_errors(bad)) == 3


FUNCTIONS = """\
/* int commented(void) { } */
LM_GETTER(get_x, Point *p = point(self),
          as_int(p->x))
struct point { int x; };
static const int table[] = { 1, 2 };
#define CALL(x) do { f(x); \\
    } while (0)

static inline int
short_one(int a)
{
    if (a) { return '}'; }
    return "{"[0];
}

#ifdef WIDE
int picked(int a, int b) {
#else
int picked(int a) {
#endif
    return a;
}

__attribute__((noinline)) void *
pointer_one(void (*hook)(int), int n)
{

}
"""


def test_function_scanner():
    found = [tuple(function) for function in layout.functions(FUNCTIONS)]
    assert found == [("short_one", 9, 6), ("picked", 17, 6), ("pointer_one", 24, 5)]


def test_length_rule():
    body = "".join(f"    x({n});\n" for n in range(60))
    files = {"src/core/a.c": f"int\nlong_one(void)\n{{\n{body}}}\n", "src/core/a.h": "\n" * 251}
    files["src/core/b.c"] = "\n" * 501
    assert len(layout.length_errors(files, {})) == 3
    named = {"src/core/a.c:long_one": "r", "src/core/a.h": "r", "src/core/b.c": "r"}
    assert layout.length_errors(files, named) == []
    assert len(layout.length_errors({}, named)) == 3


def test_map_rule():
    paths = ["src/core/run.c", "src/core/loop.h", "src/task/task.c", "src/module.c"]
    assert layout.map_errors("module.c, core/ with run.c, task/ with task.c/.h", paths) == []
    assert layout.map_errors("module.c, core/ with rerun.c, task/", paths) == [
        "src/core/run.c is not on the map",
        "src/task/task.c is not on the map",
    ]
    assert "the room core/ is not on the map" in layout.map_errors("run.c task.c task/ module.c", paths)


def test_symbol_rules():
    sysv = "\n".join(
        [
            "Symbols from x.so:",
            "methods             |00000000000041a0|   d  |            OBJECT|0000000000000040|     |.data",
            "counter.0           |0000000000004228|   b  |            OBJECT|0000000000000001|     |.bss",
            "per_thread          |0000000000000000|   b  |            TLS   |0000000000000008|     |.tbss",
            "constant            |0000000000003de0|   d  |            OBJECT|000000000008|     |.data.rel.ro",
            "completed.0         |0000000000004220|   b  |            OBJECT|0000000000000001|     |.bss",
            "code                |0000000000001130|   t  |              FUNC|000000000000000c|     |.text",
        ]
    )
    assert layout.writable_symbols(sysv) == {"methods", "counter", "per_thread"}
    tables = "static PyMethodDef methods[] = {\n};\nstatic int counter = 1;\nPyType_Spec lm_spec = {0};"
    assert layout.api_tables({"a.c": tables}) == {"methods", "lm_spec"}
    assert layout.exported_symbols("0000 T PyInit__x\n0001 T lm_leak\n") == {"PyInit__x", "lm_leak"}
    assert layout.is_instrumented("                 U __asan_init\n")
    assert not layout.is_instrumented("                 U PyObject_Call\n")


def test_stub_rule():
    module = types.ModuleType("made_up")
    module.Thing = type("Thing", (), {"run": None, "extra": None})
    module.helper = len
    stub = """
import sys
from typing import Any
_Private = Any
class Thing:
    def run(self) -> None: ...
    def gone(self) -> None: ...
    def __missing__(self) -> None: ...
if sys.version_info >= (3, 99):
    def later() -> None: ...
def lost() -> None: ...
"""
    assert layout.stub_errors(stub, module) == [
        "lost: in the stub only",
        "helper: in the module only",
        "Thing.__missing__: in the stub only",
        "Thing.gone: in the stub only",
        "Thing.extra: in the module only",
    ]
    assert layout.stub_errors("class Thing:\n    run: int\n    extra: int\nhelper: int\n", module) == []


# --- the tree --------------------------------------------------------------------------------------------


def test_there_is_a_source():
    assert "src/module.c" in SOURCES and len(SOURCES) > 20


def test_includes_go_downwards():
    assert layout.include_errors(SOURCES) == []


def test_includes_are_in_order():
    assert layout.include_order_errors(SOURCES) == []


def test_no_name_is_static_twice():
    """A reader of a backtrace knows the file by the function."""
    assert layout.repeated_name_errors(SOURCES) == []


def test_files_named_in_comments_exist():
    folders = ("src", "loopmod", "tests", "benchmarks", "tools")
    existing = [path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.*")]
    readmes = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "src").rglob("*.md")}
    assert layout.named_file_errors(SOURCES | readmes, existing) == []


def test_calls_go_downwards():
    """By the objects of this interpreter's build, where the module was built here."""
    objects = {path: built_object(path) for path in SOURCES if path.endswith(".c")}
    if any(found is None for found in objects.values()):
        pytest.skip("not built in this tree")
    symbols = {path: run_nm(str(found)) for path, found in objects.items()}
    assert layout.call_errors(layout.calls_between(symbols), KNOTS) == []


def test_tables_of_functions_are_known():
    assert layout.table_errors(SOURCES, TABLES) == []


def test_private_api_stays_in_its_place():
    assert layout.private_api_errors(SOURCES, PRIVATE_API_FILES) == []


def test_every_c_file_has_its_header():
    assert layout.own_header_errors(SOURCES, HEADERLESS) == []


def test_every_source_file_says_what_it_holds():
    assert layout.head_errors(SOURCES) == []


def test_sizes():
    assert layout.length_errors(SOURCES, LONGER) == []
    assert len(LONGER) <= 6, "an exception is for what cannot be divided"


def test_source_map_is_complete():
    text = (ROOT / "src" / "README.md").read_text(encoding="utf-8")
    assert layout.map_errors(text, SOURCES) == []
    assert len(text.splitlines()) <= 150, "decisions stand in the rooms"


def test_walks_on_the_map_name_what_there_is():
    """Each function of the two walks stands in the file that is named behind it, if one is."""
    walks = (ROOT / "src" / "README.md").read_text(encoding="utf-8").split("\n## ")[2:]
    names = [found for walk in walks for found in re.findall(r"`(\w+)`(?:\s\(`([\w/.]+)`\))?", walk)]
    assert len(names) > 30
    code = "\n".join(SOURCES.values())
    for name, path in names:
        where = SOURCES[f"src/{path}"] if path else code
        assert re.search(rf"\b{name}\b", where), (name, path)


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text and "make test" in text


def test_every_python_file_says_what_it_holds():
    files = [ROOT / "setup.py"]
    for folder in ("loopmod", "tests", "examples", "benchmarks"):
        files += sorted((ROOT / folder).rglob("*.py"))
    silent = [
        str(path.relative_to(ROOT))
        for path in files
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_module_exports_its_init_function_alone():
    skip_if_instrumented()
    assert layout.exported_symbols(nm("-D", "--defined-only")) == {"PyInit__loopmod"}


def test_no_writable_static_data():
    skip_if_instrumented()
    writable = layout.writable_symbols(nm("-f", "sysv", "--defined-only"))
    assert writable, "the tables of the API at least must show up"
    allowed = layout.api_tables(SOURCES) | set(WRITABLE) | LIBEV_WRITABLE
    assert writable - allowed == set()
    assert set(WRITABLE) - writable == set(), "listed without need"


def test_stub_and_module_agree():
    from loopmod import _loopmod

    stub = (ROOT / "loopmod" / "_loopmod.pyi").read_text(encoding="utf-8")
    assert layout.stub_errors(stub, _loopmod) == []


# --- the tests -------------------------------------------------------------------------------------------

# Besides the rooms of the source: what loopmod/*.py does, and what crosses the rooms.
TEST_ROOMS = (*layout.LEVELS, "python", "whole")


def test_unit_test_rule():
    good = [
        "tests/unit/conftest.py",
        "tests/unit/net/conftest.py",
        "tests/unit/net/test_a.py",
        "tests/unit/support/b.c",
    ]
    assert layout.unit_test_errors(good, ["net"]) == []
    bad = [
        "tests/unit/test_c.py",
        "tests/unit/cellar/test_d.py",
        "tests/unit/net/e.py",
        "tests/unit/support/test_f.py",
    ]
    assert len(layout.unit_test_errors(bad, ["net"])) == len(bad)
    twice = ["tests/unit/net/test_a.py", "tests/unit/tls/test_a.py"]
    assert "has the name of tests/unit/net/test_a.py" in layout.unit_test_errors(twice, ["net", "tls"])[0]


def test_every_unit_test_lies_in_its_room():
    paths = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests" / "unit").rglob("*.py"))]
    assert len(paths) > 100
    assert layout.unit_test_errors(paths, TEST_ROOMS) == []
