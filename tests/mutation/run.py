"""Change the pure modules in small wrong ways, one at a time, and see whether the tests of the module notice.

    python tests/mutation/run.py                               all pure modules: about an hour on one free core
    python tests/mutation/run.py sweeps/decisions/rules.py     one of them
    python tests/mutation/run.py --sample 50                   at most 50 mutants of each, always the same
    python tests/mutation/run.py --again                       only those that survived the last time

A mutant is killed where a test of the module's mirrored file fails, or takes five times as long as all of them. What
survives is kept in survivors.toml; there it gets its reason: why it is equivalent, or left. The status is 1 where a
survivor has none, or less than 85 % are killed. Work is done in a copy of the tree, and each mutant in a fork of one
process that has imported torch and the like already.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
OURS = ("trainables", "analysis", "sweeps", "tests")
LEAST = 0.85  # the share to be killed
IMPURE = {  # no decisions or arithmetic of their own: protocols, files, networks, training
    "trainables": {"__init__", "checkpoint", "models", "pretrained", "train"},
    "analysis": {"__init__", "evaluation", "subject"},
    "analysis/filters": {"__init__", "chain", "responses", "switching"},
    "analysis/inference": {"__init__"},
    "analysis/maps": {"__init__", "cam", "fills", "occluded", "randomised", "recognised"},
    "sweeps/decisions": {"__init__", "stage_run", "status"},
}
PURE = [
    path.relative_to(ROOT).as_posix()
    for room, impure in IMPURE.items()
    for path in sorted((ROOT / room).glob("*.py"))
    if path.stem not in impure
]

Key = tuple[str, str, str, str]  # module, function, the lines as they were, and as they are now


def mirrored(module: str) -> str:
    """Return the test file of a module."""
    path = Path(module)
    return str(Path("tests") / path.with_name(f"test_{path.name}"))


def passes(tests: str) -> bool:
    """Run a test file here and now, up to the first failure."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", tests]) == pytest.ExitCode.OK


def warm_up(tests: str) -> int:
    """Run the tests of an unchanged module, here so that all they import is there, and in a fork.

    Return the seconds of processor time after which a mutant counts as killed.
    """
    sys.dont_write_bytecode = False
    if not passes(tests):
        raise SystemExit(f"{tests} fails without any change")
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    gc.collect()
    gc.freeze()  # forks need not look through all of it again
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    if killed(tests, resource.RLIM_INFINITY):
        raise SystemExit(f"{tests} fails in a fork without any change")
    return 2 + round(5 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before))


def killed(tests: str, seconds: int) -> bool:
    """Run the tests in a fork, and tell whether one fails or they take more than `seconds` of processor time."""

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        os._exit(0 if passes(tests) else 1)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode != 0


def run(module: str, sample: int | None, only: set[Key] | None) -> tuple[int, int, list[Key]]:
    """Return how many mutants a module has, how many of them were tried, and which survived."""
    from tests.mutation.mutants import mutants

    path, tests = Path(module), mirrored(module)
    code = path.read_text()
    tried = found = {(module, each.where, each.was, each.now): each.code for each in mutants(code)}
    if only is not None:
        tried = {key: found[key] for key in found if key in only}
    elif sample and sample < len(found):
        tried = {key: found[key] for key in sorted(random.Random(0).sample(list(found), sample))}  # noqa: S311
    seconds = warm_up(tests)
    Path(importlib.util.cache_from_source(module)).unlink(missing_ok=True)
    survivors = []
    for key, mutated in tried.items():
        path.write_text(mutated)
        if not killed(tests, seconds):
            survivors.append(key)
            print(f"  {key[1]}: {key[2]}  →  {key[3]}", flush=True)
    path.write_text(code)
    return len(found), len(tried), survivors


def load() -> tuple[dict[str, dict], dict[Key, str]]:
    """Return what is kept: each module's counts, and the reasons of the survivors."""
    kept = tomllib.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    survivors = {(s["module"], s["where"], s["was"], s["now"]): s["why"] for s in kept.get("survivor", ())}
    return kept.get("modules", {}), survivors


def save(modules: dict[str, dict], survivors: dict[Key, str]) -> None:
    """Write what is kept. A JSON string is one of TOML too."""
    lines = ["# Written by run.py, except for the reasons.", "", "[modules]"]
    lines += [f'"{module}" = {{ {_pairs(modules[module])} }}' for module in sorted(modules)]
    for key in sorted(survivors, key=lambda key: key[:2]):
        entry = dict(zip(("module", "where", "was", "now", "why"), (*key, survivors[key]), strict=True))
        lines += [
            "",
            "[[survivor]]",
            *(f"{name} = {json.dumps(text, ensure_ascii=False)}" for name, text in entry.items()),
        ]
    SURVIVORS.write_text("\n".join(lines) + "\n")


def _pairs(counts: dict[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in counts.items())


def copy_tree(folder: str) -> None:
    """Make a copy of what tests need, and the current folder of it."""
    for name in (*OURS, "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, Path(folder) / name)
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path = [folder, *(path for path in sys.path if Path(path) not in (ROOT, Path(__file__).parent))]


def test(module: str, sample: int | None, again: bool) -> None:
    """Run the mutants of a module, and keep what survives."""
    before, survivors = load()
    earlier = {key for key in survivors if key[0] == module} if again else None
    if again and not earlier:
        return
    print(module, flush=True)
    count, tried, left = run(module, sample, earlier)
    if again:
        tried = before[module]["tried"]
    date = dt.datetime.now(dt.UTC).date()
    modules, survivors = load()
    modules[module] = {"mutants": count, "tried": tried, "killed": tried - len(left), "date": date}
    others = {key: why for key, why in survivors.items() if key[0] != module}
    save(modules, others | {key: survivors.get(key, "") for key in left})
    print(f"{module}: {tried - len(left)} of {tried} killed, {100 * (1 - len(left) / tried):.0f} %", flush=True)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=PURE, help="paths from the root; all pure modules otherwise")
    parser.add_argument("--sample", type=int, help="how many mutants of each to try at most; all otherwise")
    parser.add_argument("--again", action="store_true", help="try only what survived the last time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(folder)
        for module in options.modules:
            test(module, options.sample, options.again)
    modules, survivors = load()
    killed, count = (sum(each[name] for each in modules.values()) for name in ("killed", "tried"))
    unexplained = sum(not why for why in survivors.values())
    print(f"{killed} of {count} killed, {100 * killed / count:.1f} %; {unexplained} survivors without a reason")
    return 0 if killed >= LEAST * count and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
