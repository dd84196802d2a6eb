"""Builds the extension module loopmod._loopmod; the metadata stands in pyproject.toml.

Switches, all read from the environment (1 switches on, 0 or nothing off):

    LOOPMOD_DEBUG=1         -O0 -g3, asserts on
    LOOPMOD_SANITIZE=1      AddressSanitizer and UndefinedBehaviorSanitizer, asserts on
    LOOPMOD_SANITIZE=thread ThreadSanitizer, asserts on, for an interpreter that is built with it
    LOOPMOD_COVERAGE=1      gcov counters
    LOOPMOD_WERROR=1        warnings are errors
    LOOPMOD_LIBEV_SRC=DIR   compile DIR/ev.c in, in place of linking the system's libev

An ordinary build is hardened with what the compiler and the linker take of HARDENED; what CC, CFLAGS, CPPFLAGS and
LDFLAGS say otherwise wins.

Relies on setuptools alone. An object is compiled again when its source, any header, this file or a switch
changed, and objects are compiled side by side, one job for each processor.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

ROOT = Path(__file__).resolve().parent
NO_LIBEV = (
    "loopmod needs the headers of libev, which the compiler did not find: install libev-dev (apt), "
    "libev-devel (dnf), libev-dev (apk) or libev (brew), or set LOOPMOD_LIBEV_SRC"
)
NO_PYTHON = (
    "loopmod needs the headers of this Python, which the compiler did not find: install python3-dev (apt), "
    "python3-devel (dnf) or python3-dev (apk)"
)
NO_COMPILER = "loopmod needs a C compiler, and {} did not run: install gcc (apt, dnf), build-base (apk)"

# Each is asked for by itself. Of the last two, for the targets of indirect jumps, a processor's compiler knows one.
HARDENED = ("-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection", "-mbranch-protection=standard")
# Checked calls of the C library; 3 where it and the compiler know sizes that are known when it runs, else 2.
FORTIFIED = (["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"], ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"])
# The tables of the linker are read-only when the module is loaded; no page is written and executed, or data and code.
HARDENED_LINK = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,separate-code")


def is_on(switch: str) -> bool:
    return os.environ.get(switch, "") not in ("", "0")


def version() -> str:
    text = (ROOT / "loopmod" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__(?:: \w+)? = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        raise PlatformError("loopmod/__init__.py names no __version__")
    return match[1]


def embedded_libev() -> str | None:
    """The directory of libev's source, or None where the system's library is to be linked."""
    directory = os.environ.get("LOOPMOD_LIBEV_SRC")
    if not directory:
        return None
    if not Path(directory, "ev.c").is_file():
        raise SystemExit(f"error: LOOPMOD_LIBEV_SRC={directory} holds no ev.c")
    return str(Path(directory).resolve())


def compile_flags() -> list[str]:
    flags = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-fno-omit-frame-pointer", "-Wall", "-Wextra"]
    # Slots and method tables have the signatures that CPython gives them, used or not, and are
    # written with as many fields as they need.
    flags += ["-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    # Python's own flags come first and say -DNDEBUG: what is said here wins.
    if is_on("LOOPMOD_DEBUG"):
        flags += ["-O0", "-g3", "-UNDEBUG", "-DLM_DEBUG=1"]
    elif is_on("LOOPMOD_SANITIZE"):
        flags += ["-O1", "-g", "-UNDEBUG", "-DLM_DEBUG=1"]
    elif is_on("LOOPMOD_COVERAGE"):
        flags += ["-O0", "-g", "-DNDEBUG"]
    else:
        flags += ["-O3", "-DNDEBUG"]
    if is_on("LOOPMOD_WERROR"):
        flags.append("-Werror")
    return flags + instrument_flags()


def instrument_flags() -> list[str]:
    """What both the compiler and the linker must be told."""
    flags = []
    if os.environ.get("LOOPMOD_SANITIZE") == "thread":
        flags.append("-fsanitize=thread")
    elif is_on("LOOPMOD_SANITIZE"):
        flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    if is_on("LOOPMOD_COVERAGE"):
        flags.append("--coverage")
    return flags


def is_instrumented() -> bool:
    """Whether this build is one to look into: not optimized, or with checks that hardening would hide things from."""
    return any(map(is_on, ("LOOPMOD_DEBUG", "LOOPMOD_SANITIZE", "LOOPMOD_COVERAGE")))


def put_first(command: list[str], flags: list[str]) -> list[str]:
    """The command with flags before its own, which then win."""
    names = next((at for at, word in enumerate(command) if word.startswith("-")), len(command))
    return [*command[:names], *flags, *command[names:]]


def extension() -> Extension:
    macros = [("LOOPMOD_VERSION", f'"{version()}"')]
    flags = compile_flags()
    libraries = ["ev"]
    source = embedded_libev()
    if source is not None:
        macros.append(("LM_LIBEV_EMBEDDED", "1"))
        # As a system directory: the warnings of a foreign source are not ours.
        flags += ["-isystem", source]
        libraries = []
    return Extension(
        "loopmod._loopmod",
        sources=sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("src/**/*.c")),
        depends=["setup.py", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("src/**/*.h"))],
        include_dirs=["src"],
        define_macros=macros,
        libraries=libraries,
        extra_compile_args=flags,
        extra_link_args=instrument_flags(),
        language="c",
    )


class BuildExt(build_ext):
    """build_ext that asks for the headers first, compiles in parallel and knows when switches changed."""

    def build_extensions(self) -> None:
        (ext,) = self.extensions
        self.check_headers(ext)
        if not is_instrumented():
            self.harden(ext)
        stamp = Path(self.build_temp, "switches")
        command = [*self.compiler.compiler_so, *self.compiler.include_dirs, *ext.extra_compile_args]
        command += self.compiler.linker_so
        switches = "\n".join([*command, repr(ext.define_macros)])
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != switches:
            self.force = True
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        super().build_extensions()
        # Only a build that went through to its end may be trusted by the next one.
        stamp.write_text(switches, encoding="utf-8")

    def check_headers(self, ext: Extension) -> None:
        """Stop with one line that says what to install, before the compiler says it for every file."""
        for header, complaint in (("Python.h", NO_PYTHON), ("ev.h", NO_LIBEV)):
            command = [*self.compiler.compiler_so, *(f"-I{path}" for path in self.compiler.include_dirs)]
            command += [*ext.extra_compile_args, "-fsyntax-only", "-x", "c", "-"]
            try:
                source = f"#include <{header}>\n"
                probe = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
            except OSError:
                raise PlatformError(NO_COMPILER.format(command[0])) from None
            if probe.returncode:
                raise PlatformError(complaint)

    def harden(self, ext: Extension) -> None:
        """Add what the compiler and the linker take without a word."""
        compiler, linker = self.compiler.compiler_so, self.compiler.linker_so
        with tempfile.TemporaryDirectory() as directory:
            out = ["-o", str(Path(directory, "probe"))]

            def takes(*command: str) -> bool:
                source = "#include <string.h>\nint probe(void);\nint probe(void) { return 0; }\n"
                probe = subprocess.run(
                    [*command, "-x", "c", "-", *out], input=source, capture_output=True, text=True, check=False
                )
                return probe.returncode == 0 and not probe.stderr

            flags = [flag for flag in HARDENED if takes(*put_first(compiler, [flag]), "-c")]
            links = [flag for flag in HARDENED_LINK if takes(*put_first(linker, [flag]))]
            own = " ".join(os.environ.get(name, "") for name in ("CC", "CFLAGS", "CPPFLAGS"))
            if "_FORTIFY_SOURCE" not in own:
                # After Python's flags, which may name another level.
                words = (words for words in FORTIFIED if takes(*compiler, *ext.extra_compile_args, *words, "-c"))
                ext.extra_compile_args += next(words, [])
        self.compiler.set_executables(compiler_so=put_first(compiler, flags), linker_so=put_first(linker, links))

    def build_extension(self, ext: Extension) -> None:
        compile_serially = self.compiler.compile
        newest_depend = max(os.stat(path).st_mtime for path in ext.depends)

        def compile_one(source: str, output_dir: str, **options: object) -> list[str]:
            objects = self.compiler.object_filenames([source], output_dir=output_dir)
            newest = max(newest_depend, os.stat(source).st_mtime)
            if not self.force and all(os.path.exists(o) and os.stat(o).st_mtime > newest for o in objects):
                return objects
            return compile_serially([source], output_dir=output_dir, **options)

        def compile_all(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(self.parallel or os.cpu_count() or 1) as pool:
                lists = pool.map(lambda source: compile_one(source, **options), sources)
                return [name for objects in lists for name in objects]

        self.compiler.compile = compile_all
        try:
            super().build_extension(ext)
        finally:
            self.compiler.compile = compile_serially


if sys.implementation.name != "cpython":
    raise SystemExit("error: loopmod is an extension of CPython and does not build for other interpreters")

setup(ext_modules=[extension()], cmdclass={"build_ext": BuildExt})
