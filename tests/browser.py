"""A page in headless Chromium: what its elements measure at a width, in light or dark, and its pages on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60  # seconds
DARK = "preferredColorScheme=0"  # in Blink's words

# A page in a frame of its own width, as a window of Chromium is never narrower than 500 pixels
FRAME = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0 }} iframe {{ border: 0 }}</style>
<iframe style="width: {width}px; height: {height}px" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  document.title = JSON.stringify((page => {{ {script} }})(page));
}};
</script>"""


def browser() -> str:
    """Return the path of a Chromium, or skip with the reason."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the path")
    return found


def measured(page: str, script: str, folder: Path, *, width: int = 1100, dark: bool = False) -> Any:
    """Return what the body of a function of `page` (a Document) returns, on this page in a frame so wide."""
    wrapped = folder / "frame.html"
    wrapped.write_text(FRAME.format(width=width, height=1200, page=html.escape(page), script=script))
    shown = _run("--dump-dom", wrapped.as_uri(), dark=dark)
    found = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert found, "the script did not come to its end"
    return json.loads(html.unescape(found.group(1)))


def pages(file: Path, folder: Path) -> list[tuple[int, int]]:
    """Return the width and height, in points, of each page of paper that a file takes."""
    paper = folder / "paper.pdf"
    _run(f"--print-to-pdf={paper}", "--no-pdf-header-footer", file.as_uri())
    boxes = re.findall(rb"/MediaBox \[([^\]]*)\]", paper.read_bytes())
    return [(round(float(box.split()[2])), round(float(box.split()[3]))) for box in boxes]


def shown(address: str, *, width: int, height: int = 1400, seconds: int = 60) -> str:
    """Return a served page as it is after so many seconds, as HTML. They pass as soon as nothing is being loaded."""
    budget = f"--virtual-time-budget={seconds * 1000}"
    return _run(budget, f"--window-size={width},{height}", "--dump-dom", address)


def _run(*arguments: str, dark: bool = False) -> str:
    look = [f"--blink-settings={DARK}"] if dark else []
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *look, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
