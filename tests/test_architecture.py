"""Imports run one way, each library has its home, each module its test file, and nothing is too long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for package in ("trainables", "analysis", "sweeps") for path in sorted((ROOT / package).rglob("*.py"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

# The rooms, and what of ours each may import beside itself.
ROOMS: dict[str, tuple[str, ...]] = {
    "trainables/datasets": ("trainables.errors", "trainables.files", "trainables.memory"),
    "trainables": (),
    "analysis/figures": (),
    "analysis/jobs": ("trainables", "analysis"),
    "analysis": ("trainables",),
    "sweeps/decisions": ("trainables",),
    "sweeps/tracking": ("trainables", "sweeps.decisions", "sweeps.interruption"),
    "sweeps/reporting": ("trainables", "analysis", "sweeps.decisions", "sweeps.tracking"),
    "sweeps/execution": (
        *("trainables", "analysis", "sweeps.decisions", "sweeps.tracking", "sweeps.reporting"),
        "sweeps.interruption",
    ),
    "sweeps": ("trainables", "analysis"),
}
HOMES = {
    "ray": "sweeps/execution/",
    "mlflow": "sweeps/tracking/",
    "matplotlib": "analysis/figures/",
    "optuna": ("sweeps/decisions/as_optuna.py", "sweeps/decisions/importance.py", "sweeps/decisions/samplers.py"),
    "cmaes": "sweeps/decisions/samplers.py",
}
LONGEST_FILE = 400  # lines
LONGEST: dict[type, int] = {ast.ClassDef: 200, ast.FunctionDef: 40}  # likewise, decorators aside
UNTESTED = {  # by a file of their own: declarations alone, and the studies, which share test_studies.py
    "sweeps/decisions/stage_run.py",
    "sweeps/decisions/status.py",
    "sweeps/part_b.py",
    *(name for name in NAMES if name.count("/") == 1 and "\nSTUDY = Study(" in (ROOT / name).read_text()),
}


def room(name: str) -> str:
    """Return the room that a file is in, by its path."""
    return next(each for each in ROOMS if name.startswith(f"{each}/"))


def imported(name: str) -> set[str]:
    """Return the dotted names that a file imports, wherever in it; of `from a import b` that is `a.b`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in packages)


@pytest.mark.parametrize("name", NAMES)
def test_imports_run_one_way(name):
    own = room(name)
    allowed = (own.replace("/", "."), *ROOMS[own])
    ours = {each for each in imported(name) if below(each, ("trainables", "analysis", "sweeps"))}
    assert {each for each in ours if not below(each, allowed)} == set()
    if own == "analysis":  # a job may use whatever is in analysis/, but nothing there may know the jobs
        assert {each for each in ours if below(each, ("analysis.jobs",))} == set()


@pytest.mark.parametrize("name", NAMES)
def test_each_library_has_its_home(name):
    libraries = {each.partition(".")[0] for each in imported(name)}
    assert {each for each in libraries & HOMES.keys() if not name.startswith(HOMES[each])} == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_module_hides_one_of_the_standard_library(name):
    """`python sweeps/part_a.py` puts sweeps/ first on the path."""
    parts = Path(name).with_suffix("").parts[1:]
    assert {part for part in parts if part != "__init__"} & sys.stdlib_module_names == set()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("__init__.py")])
def test_every_module_has_its_test_file(name):
    path = Path(name)
    mirror = ROOT / "tests" / path.with_name(f"test_{path.name}")
    assert mirror.exists() != (name in UNTESTED), mirror


@pytest.mark.parametrize("name", NAMES)
def test_no_file_class_or_function_is_too_long(name):
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    parts = [node for node in ast.walk(ast.parse(text)) if type(node) in LONGEST]
    lines = [(node.name, node.end_lineno - node.lineno + 1, LONGEST[type(node)]) for node in parts]
    assert [(name, long) for name, long, most in lines if long > most] == []


def test_a_plan_needs_neither_ray_nor_mlflow_nor_torch_nor_optuna():
    code = "import sys, sweeps.main, sweeps.engine, sweeps.part_a, sweeps.decisions.samplers; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())
    assert not loaded & {"ray", "mlflow", "torch", "matplotlib", "optuna", "cmaes", "scipy"}
