"""Types of what is read back: JSON can hold anything, and whoever changed a file may have put it there.

Each check raises ValueError, in one line, naming what is wrong.
"""

from __future__ import annotations

import sys
from typing import Any

LARGEST_COUNT = 1 << 53  # what every reader of JSON has exactly; as milliseconds beyond all dates


def check_text(name: str, text: Any) -> None:
    """Refuse what is not a text, or cannot be written as one."""
    if not isinstance(text, str):
        raise ValueError(f"{name} is {text!r:.100}, but must be a text")
    text.encode()  # a ValueError for half a character, which JSON can have and nothing else


def check_texts(name: str, texts: Any) -> None:
    """Refuse what does not map texts to texts."""
    _check_entries(name, texts)
    for key, text in texts.items():
        check_text(f"{name}: a key", key)
        check_text(f"{name}: {key!r:.100}", text)


def check_numbers(name: str, numbers: Any) -> None:
    """Refuse what does not map texts to finite numbers."""
    _check_entries(name, numbers)
    for key, number in numbers.items():
        check_text(f"{name}: a key", key)
        if type(number) not in (int, float) or not abs(number) <= sys.float_info.max:
            raise ValueError(f"{name}: {key!r:.100} is {number!r:.40}, but must be a finite number")


def check_count(name: str, count: Any) -> None:
    """Refuse what is not a whole number from 0."""
    if type(count) is not int or not 0 <= count <= LARGEST_COUNT:
        raise ValueError(f"{name} is {count!r:.40}, but must be a whole number from 0")


def _check_entries(name: str, form: Any) -> None:
    if not isinstance(form, dict):
        raise ValueError(f"{name} is {form!r:.100}, but must have entries")
