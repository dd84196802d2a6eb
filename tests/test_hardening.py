"""The module that the tests import was built hardened: what setup.py asked the compiler for is in the binary.

Reads the file itself. What a compiler or a C library at hand does not have is not asked for; builds to look into
(sanitizers, coverage, -O0) are not hardened.
"""

import os
import platform
from pathlib import Path

import pytest

elffile = pytest.importorskip("elftools.elf.elffile", reason="pyelftools comes with auditwheel")
dynamic = pytest.importorskip("elftools.elf.dynamic")
loopmod = pytest.importorskip("loopmod._loopmod")

# The flags of a segment, and of the dynamic section: elf.h.
PF_X, PF_W = 1, 2
DF_BIND_NOW, DF_1_NOW = 0x8, 0x1
# Where a function may be jumped to: endbr64; bti c, paciasp (which is one too).
LANDINGS = {
    "x86_64": {b"\xf3\x0f\x1e\xfa"},
    "aarch64": {b"\x5f\x24\x03\xd5", b"\x3f\x23\x03\xd5"},
}

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", "")
    or any(os.environ.get(f"LOOPMOD_{name}", "0") not in ("", "0") for name in ("DEBUG", "SANITIZE", "COVERAGE"))
    or list(Path(loopmod.__file__).parent.parent.glob("build/**/*.gcno")) != [],
    reason="an instrumented build",
)


@pytest.fixture(scope="module")
def elf():
    with open(loopmod.__file__, "rb") as file:
        yield elffile.ELFFile(file)


def segments(elf, kind):
    return [segment for segment in elf.iter_segments() if segment["p_type"] == kind]


def tags(elf, name):
    (segment,) = segments(elf, "PT_DYNAMIC")
    return [tag for tag in segment.iter_tags() if tag.entry.d_tag == name]


def imports(elf):
    """Names that the module takes from libraries."""
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    return {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"}


def test_no_page_is_written_and_executed(elf):
    (stack,) = segments(elf, "PT_GNU_STACK")
    assert not stack["p_flags"] & PF_X
    loads = segments(elf, "PT_LOAD")
    assert [load for load in loads if load["p_flags"] & PF_X and load["p_flags"] & PF_W] == []
    assert tags(elf, "DT_TEXTREL") == []


def test_tables_of_the_linker_are_read_only(elf):
    (relro,) = segments(elf, "PT_GNU_RELRO")
    flags = sum(tag.entry.d_val for tag in tags(elf, "DT_FLAGS"))
    flags_1 = sum(tag.entry.d_val for tag in tags(elf, "DT_FLAGS_1"))
    assert flags & DF_BIND_NOW or flags_1 & DF_1_NOW
    got = elf.get_section_by_name(".got")
    assert relro["p_vaddr"] <= got["sh_addr"] < relro["p_vaddr"] + relro["p_memsz"]


def test_libraries_are_looked_for_where_python_looks(elf):
    """No path of the build's own: none, one beside the module, or what Python's own build links with."""
    import sysconfig

    python = f"{sysconfig.get_config_var('LDSHARED')} {os.environ.get('LDFLAGS', '')}"
    for tag in [*tags(elf, "DT_RPATH"), *tags(elf, "DT_RUNPATH")]:
        path = getattr(tag, "rpath", None) or tag.runpath
        assert all(part.startswith("$ORIGIN") or part in python for part in path.split(":")), path


def test_the_stack_is_watched(elf):
    assert any(name.startswith("__stack_chk_fail") for name in imports(elf))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no checked calls")
def test_calls_of_the_c_library_are_checked(elf):
    assert {"__memcpy_chk", "__snprintf_chk"} <= imports(elf)


@pytest.mark.skipif(platform.machine() not in LANDINGS, reason="no landing pads for this processor")
def test_functions_begin_with_a_landing_pad(elf):
    """The note that lets the system enforce it needs the C library's start files to have been built so, too."""
    (symbol,) = elf.get_section_by_name(".dynsym").get_symbol_by_name("PyInit__loopmod")
    section = elf.get_section(symbol["st_shndx"])
    at = symbol["st_value"] - section["sh_addr"]
    assert section.data()[at : at + 4] in LANDINGS[platform.machine()]
