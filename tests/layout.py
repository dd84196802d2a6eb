"""The rules that test_layout.py holds the source to, as functions from text to complaints.

They take texts and names, not the working tree, so that a rule can be shown to fail on a few made-up lines. C
is read with a small scanner, not a parser: comments and literals are blanked, then braces are counted.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

# A room includes itself and lower rooms only. What lies in src/ itself (the module) may include all.
LEVELS = {"base": 0, "poll": 1, "core": 2, "task": 3, "net": 4, "tls": 5, "sync": 6, "os": 7, "face": 8}
MODULE_LEVEL = 9

MAX_C_LINES = 500
MAX_HEADER_LINES = 250
MAX_FUNCTION_LINES = 50

# CPython's API takes these tables without const; nobody writes to them after the import.
API_TABLES = {
    "PyGetSetDef",
    "PyMemberDef",
    "PyMethodDef",
    "PyModuleDef",
    "PyModuleDef_Slot",
    "PyType_Slot",
    "PyType_Spec",
}
# What compiler and linker put into every shared object.
TOOLCHAIN_SYMBOLS = {"__TMC_END__", "__dso_handle", "completed", "__bss_start", "_edata", "_end"}

LITERAL_OR_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
STATIC_FUNCTION = re.compile(
    r"^(?:static|LM_INLINE)\s(?:__attribute__\(\(\w+\)\)|[^;{}=()#])*?\b(?!__attribute__)(\w+)\(|^LM_GETTER\((\w+)",
    re.MULTILINE,
)
MADE_BY_MACRO = re.compile(r"^LM_(?:SHARED_)?GETTER\(.*?\)$", re.MULTILINE | re.DOTALL)
NAMED_FILE = re.compile(r"(?<![\w./*])(?:\w+/)*\w+\.(?:c|h|py)\b(?![\w(])")
# Named in comments, and not the project's.
FOREIGN_FILES = {"Python.h", "config.h", "ev.c", "ev.h"}
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([\"<])([^\">]+)[\">]", re.MULTILINE)
STRUCT = re.compile(r"\bstruct (?:(\w+) )?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\s*(\w*)")
PRIVATE_API = re.compile(r"\b_Py_?[A-Z]\w*\s*\(|\bPy_BUILD_CORE\w*|\bpycore_\w+")


class Function(NamedTuple):
    """A function definition: its name, the line on which it begins, and how many lines it takes."""

    name: str
    line: int
    lines: int


def blank(text: str, *, literals: bool = True) -> str:
    """Return C text with comments, and on request literals, overwritten by spaces; lines stay."""

    def overwrite(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] == "/" or literals:
            return re.sub(r"[^\n]", " ", found)
        return found

    return LITERAL_OR_COMMENT.sub(overwrite, text)


def first_branches(text: str) -> str:
    """Return C text without preprocessor lines and without all but the first branch of each conditional."""
    kept = []
    skipping: list[bool] = []
    continued = False
    for line in text.split("\n"):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            if not continued and directive:
                word = directive[1]
                if word in ("if", "ifdef", "ifndef"):
                    skipping.append(False)
                elif word in ("else", "elif") and skipping:
                    skipping[-1] = True
                elif word == "endif" and skipping:
                    skipping.pop()
            continued = line.rstrip().endswith("\\")
            kept.append("")
        else:
            kept.append("" if any(skipping) else line)
    return "\n".join(kept)


def functions(text: str) -> Iterator[Function]:
    """Yield the function definitions of a C text."""
    text = MADE_BY_MACRO.sub(lambda match: "\n" * match[0].count("\n"), first_branches(blank(text)))
    depth = 0
    head = 0
    found: tuple[str, int] | None = None
    for match in re.finditer(r"[{};]", text):
        position, mark = match.start(), match[0]
        if mark == "{":
            if depth == 0:
                found = definition_at(text, head, position)
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0 and found is not None:
                name, line = found
                yield Function(name, line, text.count("\n", 0, position) + 1 - line + 1)
                found = None
        if depth == 0:
            head = position + 1


def definition_at(text: str, head: int, brace: int) -> tuple[str, int] | None:
    """Name and first line of the function whose body opens at `brace`, or None if that is no function."""
    before = text[head:brace]
    signature = re.sub(r"__attribute__\s*\(\(.*?\)\)", " ", before, flags=re.DOTALL)
    if not signature.rstrip().endswith(")") or re.search(r"(?<![=!<>])=(?!=)", signature):
        return None
    name = re.search(r"(\w+)\s*\(", signature)
    if name is None:
        return None
    blank_lines = len(before) - len(before.lstrip())
    return name[1], text.count("\n", 0, head + blank_lines) + 1


def room_of(path: str) -> str | None:
    """The room of a path below src/, or None for the files of the module itself."""
    parts = PurePosixPath(path).parts
    return parts[1] if len(parts) > 2 else None


def resolve(path: str, name: str, files: Mapping[str, str]) -> str | None:
    """The file of the project that `path` means by including `name`, or None for a foreign header."""
    for candidate in (str(PurePosixPath(path).parent / name), f"src/{name}"):
        if candidate in files:
            return candidate
    return None


def include_errors(files: Mapping[str, str]) -> list[str]:
    """Includes that go upwards or sideways, and libev's header outside its room."""
    errors = []
    for path, text in files.items():
        room = room_of(path)
        if room is not None and room not in LEVELS:
            errors.append(f"{path}: the room {room} has no level")
            continue
        for _, name in INCLUDE.findall(blank(text, literals=False)):
            if PurePosixPath(name).name in ("ev.h", "evh.h", "evconf.h", "ev.c") and room != "poll":
                errors.append(f"{path}: includes {name}, which only the poll room may")
            target = resolve(path, name, files)
            if target is None or room is None:
                continue
            other = room_of(target)
            level = MODULE_LEVEL if other is None else LEVELS.get(other, MODULE_LEVEL)
            if other != room and level >= LEVELS[room]:
                errors.append(f"{path}: includes {name}, which is not below {room}")
    return errors


def include_groups(text: str) -> list[list[str]]:
    """The includes of a C text as written, in groups of lines without another between; none within a condition."""
    groups: list[list[str]] = [[]]
    depth = 0
    for line in blank(text, literals=False).splitlines():
        if re.match(r"\s*#\s*if(?!ndef LM_\w+_H$)", line):
            depth += 1
        elif re.match(r"\s*#\s*endif", line):
            depth -= 1
        found = INCLUDE.match(line)
        if found is None:
            groups.append([])
        elif depth == 0:
            groups[-1].append(found[1] + found[2])
    return [group for group in groups if group]


def include_order_errors(files: Mapping[str, str]) -> list[str]:
    """Files that do not include their own header alone, then the project's, then the system's, each kind sorted."""
    errors = []
    for path, text in files.items():
        groups = include_groups(text)
        if path.endswith(".c") and groups:
            own = groups.pop(0)
            header = f"{path[:-2]}.h"
            if len(own) > 1 or (header in files and own != [f'"{header.removeprefix("src/")}']):
                errors.append(f"{path}: does not begin with its own header, alone")
        names = sorted(name for group in groups for name in group)
        kinds = ([name for name in names if name[0] == mark] for mark in '"<')
        if groups != [kind for kind in kinds if kind]:
            errors.append(f"{path}: includes are not in order")
    return errors


def static_functions(text: str) -> set[str]:
    """Names of the functions that a C text keeps to itself."""
    return {first or second for first, second in STATIC_FUNCTION.findall(blank(text))}


def repeated_name_errors(files: Mapping[str, str]) -> list[str]:
    """Static functions of one name in several files."""
    owners: dict[str, list[str]] = {}
    for path, text in files.items():
        for name in static_functions(text):
            owners.setdefault(name, []).append(path)
    return [f"{name}: in {', '.join(paths)}" for name, paths in sorted(owners.items()) if len(paths) > 1]


def named_file_errors(texts: Mapping[str, str], existing: Iterable[str]) -> list[str]:
    """Files that comments of C files, or texts, name and that are not there: by a path or by the end of one."""
    ends = {"/".join(parts[i:]) for path in existing for parts in [path.split("/")] for i in range(len(parts))}
    errors = []
    for path, text in texts.items():
        found = LITERAL_OR_COMMENT.finditer(text) if path.endswith((".c", ".h")) else [re.search(r"(?s).*", text)]
        comments = " ".join(match[0] for match in found if match and match[0][0] not in "\"'")
        named = set(NAMED_FILE.findall(comments)) - FOREIGN_FILES
        errors += [f"{path}: names {name}, which does not exist" for name in sorted(named) if name not in ends]
    return errors


def calls_between(symbols: Mapping[str, str]) -> dict[str, set[str]]:
    """Which files use what others define, by the output of `nm` for the object of each file.

    Data counts as well as functions: who names another file's table calls what stands in it.
    """
    defined_in = {}
    wanted: dict[str, set[str]] = {}
    for path, text in symbols.items():
        wanted[path] = set()
        for line in text.splitlines():
            *_, kind, name = line.split()
            if kind in "TDBRC":
                defined_in[name] = path
            elif kind == "U":
                wanted[path].add(name)
    return {
        path: {defined_in[name] for name in names if name in defined_in} - {path} for path, names in wanted.items()
    }


def knots(calls: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The largest sets of files each of which reaches each other one: Tarjan's components of more than one."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_paths: list[str] = []
    found = []

    def visit(path: str) -> None:
        order[path] = lowest[path] = len(order)
        open_paths.append(path)
        for other in sorted(calls[path]):
            if other not in order:
                visit(other)
            if other in open_paths:
                lowest[path] = min(lowest[path], lowest[other])
        if lowest[path] == order[path]:
            place = open_paths.index(path)
            component = frozenset(open_paths[place:])
            del open_paths[place:]
            if len(component) > 1:
                found.append(component)

    for path in sorted(calls):
        if path not in order:
            visit(path)
    return found


def call_errors(calls: Mapping[str, set[str]], knotted: Mapping[frozenset[str], str]) -> list[str]:
    """Calls into later rooms, and files that call each other in a circle without a reason."""
    errors = []
    for path, others in sorted(calls.items()):
        level = LEVELS.get(room_of(path) or "", MODULE_LEVEL)
        for other in sorted(others):
            below = LEVELS.get(room_of(other) or "", MODULE_LEVEL)
            if room_of(other) != room_of(path) and below >= level:
                errors.append(f"{path}: calls {other}, which is not below {room_of(path)}")
    found = knots(calls)
    errors += [f"call each other: {', '.join(sorted(knot))}" for knot in found if knot not in knotted]
    return errors + [f"listed without need: {', '.join(sorted(knot))}" for knot in knotted if knot not in found]


def table_errors(files: Mapping[str, str], listed: Mapping[str, str]) -> list[str]:
    """Structs of headers that hold functions without a reason: who calls by them calls what `nm` does not show."""
    found = {}
    for path, text in files.items():
        for tag, body, name in STRUCT.findall(blank(text) if path.endswith(".h") else ""):
            if re.search(r"\(\*\w+\)\(", body):
                found[name or tag] = path
    errors = [f"{path}: {name} holds functions" for name, path in found.items() if name not in listed]
    return errors + [f"listed without need: {name}" for name in listed if name not in found]


def private_api_errors(files: Mapping[str, str], allowed: Iterable[str]) -> list[str]:
    """Uses of what CPython keeps to itself, outside the files (prefixes of paths) that may."""
    errors = []
    for path, text in files.items():
        if path.startswith(tuple(allowed)):
            continue
        includes = " ".join(name for _, name in INCLUDE.findall(blank(text, literals=False)))
        for match in PRIVATE_API.finditer(f"{blank(text)}\n{includes}"):
            errors.append(f"{path}: uses {match[0].rstrip('( ')}, which is private to CPython")
    return errors


def own_header_errors(files: Mapping[str, str], headerless: Mapping[str, str]) -> list[str]:
    """C files without a header of their own and without a reason, and reasons without need."""
    without = {path for path in files if path.endswith(".c") and f"{path[:-2]}.h" not in files}
    errors = [f"{path}: has no header of its own and no reason" for path in sorted(without - set(headerless))]
    return errors + [f"{path}: is listed without need" for path in sorted(set(headerless) - without)]


def head_errors(files: Mapping[str, str]) -> list[str]:
    """Files that do not begin with a comment saying what they hold."""
    return [
        f"{path}: does not begin with a comment"
        for path, text in files.items()
        if not re.match(r"/\*[\s*]*[^\s*/].{10,}", text)
    ]


def length_errors(files: Mapping[str, str], exceptions: Mapping[str, str]) -> list[str]:
    """Files and functions over their limits. Exceptions are named `path` or `path:function`."""
    over = {}
    for path, text in files.items():
        limit = MAX_C_LINES if path.endswith(".c") else MAX_HEADER_LINES
        count = text.count("\n")
        if count > limit:
            over[path] = f"{path}: {count} lines, over {limit}"
        for function in functions(text):
            if function.lines > MAX_FUNCTION_LINES:
                over[f"{path}:{function.name}"] = (
                    f"{path}:{function.line}: {function.name} takes {function.lines} lines, over {MAX_FUNCTION_LINES}"
                )
    errors = [message for key, message in over.items() if key not in exceptions]
    return errors + [f"{key}: is listed without need" for key in exceptions if key not in over]


def map_errors(text: str, paths: Iterable[str]) -> list[str]:
    """Rooms and C files that a map of the source leaves out."""
    errors = []
    for path in paths:
        room, name = room_of(path), PurePosixPath(path).name
        if room is not None and f"{room}/" not in text:
            errors.append(f"the room {room}/ is not on the map")
        # `name` alone, not as the end of a longer one; `loop.c/.h` names both files of a pair.
        if path.endswith(".c") and not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
            errors.append(f"{path} is not on the map")
    return sorted(set(errors))


def is_instrumented(nm: str) -> bool:
    """Whether `nm -D` shows a module built with sanitizers or counters, which add data of their own."""
    return bool(re.search(r"\b(__asan_init|__gcov_\w+|__ubsan_\w+)", nm))


def exported_symbols(nm: str) -> set[str]:
    """Names in the output of `nm -D --defined-only`."""
    return {line.split()[-1] for line in nm.splitlines() if line.strip()}


def writable_symbols(nm: str) -> set[str]:
    """Names of writable static data in the output of `nm -f sysv`, those of the toolchain left out.

    Constants with addresses in them lie in .data.rel.ro, which the loader makes read-only.
    """
    names = set()
    for line in nm.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 7 and re.fullmatch(r"\.(t?data|t?bss)(\.(?!rel\.ro).*)?", fields[6]):
            names.add(re.sub(r"\.\d+$", "", fields[0]))
    return names - TOOLCHAIN_SYMBOLS


def api_tables(files: Mapping[str, str]) -> set[str]:
    """Names of the static tables that CPython's API wants writable and nobody writes."""
    types = "|".join(sorted(API_TABLES))
    pattern = re.compile(rf"^(?:static\s+)?(?:{types})\s+(\w+)\s*(?:\[\w*\]\s*)?=", re.MULTILINE)
    return {name for text in files.values() for name in pattern.findall(blank(text))}


def is_public(name: str) -> bool:
    return not name.startswith("_")


def live_statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a stub that hold for the running version of Python."""
    for statement in body:
        if isinstance(statement, ast.If):
            condition = compile(ast.Expression(statement.test), "stub", "eval")
            holds = eval(condition, {"sys": sys, "TYPE_CHECKING": True})
            yield from live_statements(statement.body if holds else statement.orelse)
        else:
            yield statement


def bound_names(body: Iterable[ast.stmt]) -> set[str]:
    """Names that the statements of a stub define; what it imports is its own affair."""
    names = set()
    for statement in live_statements(body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            names.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return names


def stub_errors(stub: str, module: object) -> list[str]:
    """Public names that only the stub or only the module has, on the module and on its types."""
    tree = ast.parse(stub)
    promised = {name for name in bound_names(tree.body) if is_public(name)}
    present = {name for name in vars(module) if is_public(name)}
    errors = [f"{name}: in the stub only" for name in sorted(promised - present)]
    errors += [f"{name}: in the module only" for name in sorted(present - promised)]
    for statement in live_statements(tree.body):
        if not isinstance(statement, ast.ClassDef) or not is_public(statement.name):
            continue
        found = vars(module).get(statement.name)
        if isinstance(found, type):
            errors += member_errors(statement, found)
    return errors


def member_errors(stub: ast.ClassDef, found: type) -> list[str]:
    """The same for one type. Inherited methods need not be repeated; special ones must exist if named."""
    promised = bound_names(stub.body)
    lost = [name for name in sorted(promised) if not hasattr(found, name)]
    errors = [f"{stub.name}.{name}: in the stub only" for name in lost]
    own = {name for name in vars(found) if is_public(name)}
    return errors + [f"{stub.name}.{name}: in the module only" for name in sorted(own - promised)]


def unit_test_errors(paths: Iterable[str], rooms: Iterable[str]) -> list[str]:
    """Files of tests/unit that lie elsewhere than a room's tests and support/ do, and tests of one name."""
    allowed = {(room, True) for room in rooms} | {("support", False)}
    errors = []
    seen: dict[str, str] = {}
    for path in paths:
        folder, _, name = path.removeprefix("tests/unit/").rpartition("/")
        is_test = name.startswith("test_")
        if name != "conftest.py" and (folder, is_test) not in allowed:
            errors.append(f"{path}: tests lie in the folder of a room, and what they share in support/")
        if is_test and seen.setdefault(name, path) != path:
            errors.append(f"{path}: has the name of {seen[name]}")
    return errors
