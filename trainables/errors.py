"""The one kind of error that is the user's to mend: shown as a single line, exit status 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A value from outside (flag, study, file) breaks a rule.

    The message is one line: the value and the rule, or the alternatives.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows of it in a notebook: that line."""
        return [f"error: {self}"]


def suggest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, else "; known: a, b, c"."""
    known = list(known)
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else f"; known: {', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, None where none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
