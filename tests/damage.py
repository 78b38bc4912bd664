"""What a power cut, a worn disk or a hostile hand makes of a file, for tests of whatever reads files back.

Each generator yields pairs: what was done, in words for the test's message, and what is then read. The same file
gives the same damage every time. What reads such a file must find it whole, mend it and say so, or raise its one kind
of error.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations, islice
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Damage = Iterator[tuple[str, bytes]]

DEEP = 100_000  # levels, where Python's own readers give up at about a thousand
LONGEST_LINE = 500  # characters
HUGE = 1 << 40  # bytes: more than memory holds, and as a sparse file nothing on the disk

# Values that JSON can hold, one of them surely of the wrong type or out of range wherever it stands.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 0.5, 1e308, 10**400, float("nan"), float("inf"), -float("inf")),
    *("", "x", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "a\nb", "\ud800", "x" * 10_000),
    *([], [[]], {}, {"": None}),
)


def any_of(content: bytes, most: int = 200) -> Damage:
    """Yield all kinds of damage to one file; of truncations and flipped bits `most` of each."""
    yield from truncated(content, most)
    yield from flipped(content, most)
    yield from foreign()
    yield from mistyped(content)


def truncated(content: bytes, most: int | None = None) -> Damage:
    """Yield the file cut off at every length, or at `most` lengths spread over it."""
    for length in _spread(len(content), most):
        yield f"cut to {length} of {len(content)} bytes", content[:length]


def flipped(content: bytes, most: int | None = None) -> Damage:
    """Yield the file with each of its bits flipped in turn, or `most` of them spread over it."""
    for bit in _spread(8 * len(content), most):
        at, mask = bit // 8, 1 << bit % 8
        yield f"bit {bit % 8} of byte {at} flipped", content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


def foreign() -> Damage:
    """Yield what was never such a file."""
    yield "empty", b""
    yield "zeros", bytes(4096)  # what some file systems leave of a file after a power cut
    yield "not UTF-8", b'{"a": "\xff\xfe\xc3\x28"}'
    yield "UTF-16", '{"a": 1}'.encode("utf-16")
    yield "a web page", b"<!doctype html><title>502 Bad Gateway</title>"
    for opening in (b"[", b'{"a":', b'{"seeds":{"0":['):
        yield f"{opening!r} nested", opening * DEEP
    yield "nested and closed", b"[" * DEEP + b"]" * DEEP
    yield "a long number", b"9" * 100_000
    yield "the same key twice", b'{"a": 1, "a": 2}'
    for value in ODD_VALUES:
        yield f"{_named(value)} alone", json.dumps(value).encode()


def mistyped(content: bytes) -> Damage:
    """Yield a JSON file with each of its values in turn left out, and replaced by each of the odd ones.

    Nothing where the file is not JSON.
    """
    try:
        form = json.loads(content)
    except ValueError:
        return
    for path in _paths(form):
        where = "/".join(map(str, path))
        yield f"{where} left out", _changed(form, path)
        for value in ODD_VALUES:
            yield f"{where} is {_named(value)}", _changed(form, path, value)


def swapped(files: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the files with the contents of each two exchanged."""
    for one, other in combinations(files, 2):
        yield f"{one} and {other} swapped", {**files, one: files[other], other: files[one]}


def survey(damage: Iterable[tuple[str, T]], read: Callable[[T], R]) -> tuple[dict[str, R], dict[str, str]]:
    """Return what `read` makes of each damaged file, and the lines in which it refuses the others, by what was done.

    A refusal is a ValueError of one line, no longer than a terminal shows with comfort. Any other exception is raised,
    with a note of what was done.
    """
    whole, refused = {}, {}
    for what, content in damage:
        try:
            whole[what] = read(content)
        except ValueError as error:
            refused[what] = str(error)
        except Exception as error:
            error.add_note(what)
            raise
    long = [what for what, line in refused.items() if len(line) > LONGEST_LINE or len(line.splitlines()) != 1]
    assert long == []
    return whole, refused


def make_huge(path: Path, begin: bytes = b"", size: int = HUGE) -> None:
    """Write a file of so many bytes that takes no room: `begin`, then zeros."""
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(size)


def _spread(count: int, most: int | None) -> Iterator[int]:
    """Yield the numbers below `count`; if these are too many, `most` of them, the first and the last included."""
    if most is None or count <= most:
        yield from range(count)
    else:
        yield from (round(at * (count - 1) / (most - 1)) for at in range(most))


def _paths(form: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value below `form`; of a list to its first two alone, as the others are read alike."""
    steps = form if isinstance(form, dict) else range(len(form)) if isinstance(form, list) else ()
    for step in steps if isinstance(form, dict) else islice(steps, 2):
        yield (*above, step)
        yield from _paths(form[step], (*above, step))


def _changed(form: Any, path: tuple[Any, ...], *value: Any) -> bytes:
    changed = copy.deepcopy(form)
    below = changed
    for step in path[:-1]:
        below = below[step]
    if value:
        below[path[-1]] = value[0]
    else:
        del below[path[-1]]
    return json.dumps(changed).encode()


def _named(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:20]}… ({len(text)} characters)"
