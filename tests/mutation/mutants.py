"""The mutants of a module: its text with one small wrong change each. The changes are mutmut's and a few more.

Left as they are: annotations, names of types, decorators, docstrings, what only type checkers read, and the wording of
errors. Of a string one change is enough, and f-strings keep their words: tests of messages compare them whole in any
case. So are `strict=`, which guards against what does not happen, and `device=`, which only a GPU could show wrong.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from mutmut.mutation.mutators import mutation_operators, operator_string

OTHER = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A module with one change: in which function or class, the lines changed as they were and as they are now."""

    where: str
    was: str
    now: str
    code: str


def mutants(code: str) -> list[Mutant]:
    """Return all mutants of a module, in order."""
    finder = _Finder()
    module = cst.parse_module(code)
    module.visit(finder)
    found = {}
    for where, node, changed in finder.changes:
        mutated = module.deep_replace(node, changed).code
        was, now = _difference(code, mutated)
        if mutated != code and UNSEEN.findall(mutated) == UNSEEN.findall(code):
            found.setdefault((where, was, now), Mutant(where, was, now, mutated))
    return list(found.values())


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, without indentation, in one line each."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    was, now = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return was, now


def _string(node: cst.BaseString) -> Iterable[cst.CSTNode]:
    return itertools.islice(operator_string(node), 1)


def _fraction(node: cst.Float) -> Iterator[cst.CSTNode]:
    """Four fifths of it: a rate of 0.5 becomes 0.4."""
    yield node.with_changes(value=repr(0.8 * node.evaluated_value))


def _name(node: cst.Call) -> Iterator[cst.CSTNode]:
    if isinstance(node.func, cst.Name) and node.func.value in OTHER:
        yield node.with_changes(func=cst.Name(OTHER[node.func.value]))


def _statement(node: cst.Expr) -> Iterator[cst.CSTNode]:
    """A call that is made for its effect is left out."""
    if isinstance(node.value, cst.Call):
        yield cst.Pass()


OPERATORS = [(kind, _string if operator is operator_string else operator) for kind, operator in mutation_operators]
OPERATORS += [(cst.Float, _fraction), (cst.Call, _name), (cst.Expr, _statement)]
UNSEEN = re.compile(r"\b(?:strict|device)=[\w.]+")
LEFT = (
    m.Annotation()
    | m.Assign(targets=[m.AssignTarget(m.Name(m.MatchRegex(r"[A-Z][a-z]\w*")))])
    | m.Decorator()
    | m.If(test=m.Name("TYPE_CHECKING"))
)
WORDING = m.SimpleString() | m.ConcatenatedString()


class _Finder(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[str, cst.CSTNode, cst.CSTNode]] = []
        self._scope: list[str] = []
        self._raising = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, LEFT) or (self._raising and m.matches(node, WORDING)):
            return False
        self._raising += isinstance(node, cst.Raise)
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._scope.append(node.name.value)
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                self.changes += [(".".join(self._scope), node, changed) for changed in operator(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._raising -= isinstance(original_node, cst.Raise)
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._scope.pop()
