"""What a submitted job takes along: the code, and nothing heavy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = yaml.safe_load((ROOT / "cluster" / "runtime-env.yaml").read_text())


def git(*arguments: str, where: Path = ROOT, given: str = "") -> list[str]:
    said = subprocess.run(
        ["git", *arguments], cwd=where, input=given, capture_output=True, text=True, check=False
    )
    assert said.returncode in (0, 1), said.stderr
    return said.stdout.split("\n")[:-1]


def left_out(paths: Iterable[str], scratch: Path) -> set[str]:
    """The paths that the excludes match; their patterns are git's."""
    git("init", "--quiet", where=scratch)
    (scratch / ".gitignore").write_text("\n".join(ENVIRONMENT["excludes"]))
    return set(git("check-ignore", "--no-index", "--stdin", where=scratch, given="\n".join(paths)))


def test_what_travels_is_small(tmp_path: Path) -> None:
    files = git("ls-files", "--cached", "--others", "--exclude-standard")
    out = left_out(files, tmp_path)
    travelling = [file for file in files if file not in out and (ROOT / file).is_file()]
    assert sum((ROOT / file).stat().st_size for file in travelling) < 5e6
    code = [
        str(path.relative_to(ROOT))
        for folder in ("platform", "jobs")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert set(code) <= set(travelling)


def test_nothing_heavy_travels(tmp_path: Path) -> None:
    heavy = [
        ".git/objects/pack/pack-1.pack", ".venv/bin/python", "storage/data/scenes/train-00000.parquet",
        "data/mine/card.json", "platform/jointdistill.egg-info/PKG-INFO", "build/lib/x.py", "dist/x.whl",
        "mlruns/0/meta.yaml", ".mypy_cache/3.11/x.json", ".ruff_cache/x", "jobs/__pycache__/x.pyc",
    ]  # fmt: skip
    assert left_out(heavy, tmp_path) == set(heavy)


def test_workers_find_the_package() -> None:
    assert ENVIRONMENT["working_dir"] == "."
    assert ENVIRONMENT["env_vars"] == {"PYTHONPATH": "platform:.", "MALLOC_ARENA_MAX": "1"}
