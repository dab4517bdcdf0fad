"""The rules of the house that no linter holds."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_platform_is_a_source_root_and_never_a_package():
    shadowing = [
        *(ROOT / "platform").glob("__init__.py"),
        *(ROOT / "platform").glob("conftest.py"),
        *(ROOT / "platform").glob("test_*.py"),
        *(ROOT / "tests").glob("platform"),
    ]
    assert not shadowing


def test_the_standard_librarys_platform_is_found_from_the_root():
    said = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.machine(), platform.__file__)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    machine, file = said.stdout.split()
    assert machine
    assert not Path(file).is_relative_to(ROOT / "platform")


def test_no_file_hides_what_it_is_about():
    names = {"utils", "helpers", "manager", "common", "misc"}
    assert not [path for path in (ROOT / "platform").rglob("*.py") if names & {path.stem, *path.parts}]


def test_every_init_is_only_a_docstring():
    for init in (ROOT / "platform" / "jointdistill").glob("*/**/__init__.py"):
        lines = [line for line in init.read_text().splitlines() if line.strip()]
        assert len(lines) == 1, f"{init} does work"


def test_constraints_pin_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().split():
        name, _, version = line.partition("==")
        assert name and version and "://" not in line and "@" not in line, line


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {item.partition("[")[0].partition(">")[0].partition("=")[0].lower() for item in asked}
    assert names <= pinned
