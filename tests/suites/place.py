"""Where the suites run: a virtual environment, and the unpacked sdists of the projects. Everything is kept.

Relies on pip, which takes the sdists from the registry that it is set up for.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from projects import Project

ROOT = Path(__file__).resolve().parents[2]
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")


class Place:
    """The directory of one interpreter's runs."""

    def __init__(self) -> None:
        version = "{}.{}{}".format(*sys.version_info[:2], sys.abiflags)
        self.directory = ROOT / "build" / "suites" / version
        self.sdists = self.directory.parent / "sdists"
        self.python = self.directory / "venv" / "bin" / "python"

    def make_environment(self) -> None:
        """Make the virtual environment, or fill it anew where the requirements have changed."""
        lists = sorted((ROOT / "requirements").glob("*.txt"))
        wanted = hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()
        stamp = self.directory / "installed"
        if self.python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        say("installing requirements/suites.txt")
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", self.directory / "venv"], check=True)
        subprocess.run([self.python, *PIP, "install", "-r", ROOT / "requirements" / "suites.txt"], check=True)
        stamp.write_text(wanted)

    def unpack(self, project: Project) -> Path:
        """The directory of the project's sdist, as it was published but for what would hide the package."""
        stem = f"{project.name.replace('-', '_')}-{project.version}"
        archive = self.sdists / f"{stem}.tar.gz"
        if not archive.exists():
            say(f"downloading {stem}")
            options = ("--no-binary", ":all:", "--no-deps", "-d", self.sdists)
            requirement = f"{project.name}=={project.version}"
            subprocess.run([self.python, *PIP, "download", *options, requirement], check=True)
        unpacked = self.directory / stem
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(self.directory, filter="data")
        for name in project.hides:
            shutil.rmtree(unpacked / name)
        return unpacked


def say(text: str) -> None:
    print(f"test-apps: {text}", flush=True)
