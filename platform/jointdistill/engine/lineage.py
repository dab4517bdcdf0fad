"""Which code computed a run. Recorded and compared, but no part of its identity: a bug fix may resume."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

import jointdistill

PACKAGE = Path(jointdistill.__file__).parent


@cache
def package_digest() -> str:
    """sha256 over the package's .py files and their names."""
    return code_digest(PACKAGE, PACKAGE)


def code_digest(root: Path, *folders: Path) -> str:
    """sha256 over the .py files in some folders, and their names as seen from the root."""
    found = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.py")):
        found.update(f"{file.relative_to(root).as_posix()}\n".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


@cache
def commit() -> str:
    """The git commit the package lies in; empty where it was installed without its repository."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:  # no git on this machine
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
