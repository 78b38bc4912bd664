"""Imports run one way, and each library has its home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for package in ("trainables", "analysis", "sweeps") for path in sorted((ROOT / package).glob("*.py"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_run_one_way_and_each_library_has_its_home(path):
    package, found = path.parent.name, imports(path)
    forbidden = {"trainables": {"analysis", "sweeps", "ray"}, "analysis": {"sweeps", "ray"}, "sweeps": set()}[package]
    homes = {
        "mlflow": {"sweeps/store.py", "sweeps/tracking.py"},
        "matplotlib": {"analysis/figures.py"},
        "optuna": {"sweeps/suggest.py"},
        "cmaes": {"sweeps/suggest.py"},
    }
    forbidden |= {library for library, places in homes.items() if f"{package}/{path.name}" not in places}
    assert not found & forbidden


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_module_hides_one_of_the_standard_library(path):
    """`python sweeps/part_a.py` puts sweeps/ first on the path."""
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


def test_a_plan_needs_neither_ray_nor_mlflow_nor_torch_nor_optuna():
    code = "import sys, sweeps.main, sweeps.part_a, sweeps.study, sweeps.suggest, trainables.datasets; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())
    assert not loaded & {"ray", "mlflow", "torch", "matplotlib", "optuna", "cmaes"}
