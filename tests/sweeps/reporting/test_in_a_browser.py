"""The report in headless Chromium: widths, light and dark, contrast, paper."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.reporting.results import write
from sweeps.study import Claim
from tests.sweeps.reporting.materials import DATA, STUDY, material, over

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")

SEEN = """<script>
function parts(color) {
  const numbers = color.match(/[0-9.]+/g).map(Number);
  return color.startsWith("color(") ? numbers.slice(0, 3) : numbers.slice(0, 3).map(each => each / 255);
}
function light(color) {
  const [r, g, b] = parts(color).map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$|\\/ 0\\)$/.test(color)) return color;
  }
  return "rgb(255, 255, 255)";
}
const faint = [];
for (const element of document.querySelectorAll("h1, h2, h3, p, td, th, caption, figcaption, summary, a, code")) {
  const [low, high] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
  if ((high + 0.05) / (low + 0.05) < 4.5) faint.push(element.outerHTML.slice(0, 80));
}
document.title = JSON.stringify({
  width: document.documentElement.scrollWidth, window: window.innerWidth, faint: faint,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  cut: [...document.querySelectorAll(".scroll")].filter(each => each.scrollWidth > each.clientWidth + 1
    && !each.closest("details")).map(each => each.innerText.slice(0, 60)),
  images: [...document.images].map(each => [each.alt.length > 0, each.naturalWidth > 0]),
});
</script>"""


def browse(*arguments: str, cwd: Path) -> str:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Return a report, and beside it a copy that tells in its title how it is seen."""
    folder = tmp_path_factory.mktemp("report")
    study = replace(STUDY, claims=(Claim("depth", 3, delta=3, source="R0.1"), Claim("width", 6, (4,), source="R0.2")))
    found = material(over(study=study))
    write(folder, found.agenda, found.facts, DATA)
    text = (folder / "report.html").read_text()
    without_policy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (folder / "seen.html").write_text(without_policy.replace("</body>", f"{SEEN}</body>"))
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1100, 500])
def test_nothing_overflows_and_all_can_be_read(page, width, dark):
    how = ["--force-dark-mode"] if dark else []
    dom = browse(
        *how, f"--window-size={width},1000", "--dump-dom", f"file://{page.parent / 'seen.html'}", cwd=page.parent
    )
    seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL)[1]))
    assert seen["width"] <= seen["window"] == width
    assert (seen["faint"], seen["cut"], seen["dark"]) == ([], [], dark)
    assert seen["images"]
    assert all(all(each) for each in seen["images"])


def test_on_paper_it_takes_a_page_for_each_stage_and_three_more_at_most(page):
    browse("--no-pdf-header-footer", "--print-to-pdf=report.pdf", f"file://{page}", cwd=page.parent)
    pages = re.findall(rb"/MediaBox \[([^\]]*)\]", (page.parent / "report.pdf").read_bytes())
    assert 1 <= len(pages) <= len(STUDY.stages) + 3
    for box in pages:
        _, _, wide, high = map(float, box.split())
        assert (round(wide), round(high)) == (595, 842)  # A4, portrait
