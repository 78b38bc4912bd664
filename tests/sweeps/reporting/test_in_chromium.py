"""The report as a reader has it: at three widths, in light and dark, on paper; and the page that shows it live. Skipped
where there is no Chromium.
"""

import json
import re
import time
from dataclasses import replace

import pytest

from sweeps.reporting import results
from sweeps.reporting.serving import serve
from sweeps.study import Claim
from tests.browser import measured, pages, shown
from tests.sweeps.reporting.live_state import STATE
from tests.sweeps.reporting.materials import STUDY, material, over

A4 = (595, 842)  # points

# How wide the page is, what reaches beyond its edge outside of what scrolls, what has to scroll though it is not
# folded, links and pictures that lead nowhere or say nothing, and texts with a contrast below 4.5 to 1 (WCAG 2.1,
# 1.4.3)
SCRIPT = """
  const root = page.documentElement, view = page.defaultView, all = [...page.body.querySelectorAll("*")];
  const right = each => each.closest(".scroll") ? 0 : each.getBoundingClientRect().right;
  const wide = all.filter(each => right(each) > root.clientWidth + 1);
  const scrolls = [...page.querySelectorAll(".scroll")].filter(each => each.scrollWidth > each.clientWidth + 1);
  const ids = page.querySelectorAll("a[href^='#']");
  const lost = [...ids].filter(each => !page.getElementById(each.getAttribute("href").slice(1)));
  const blank = [...page.images].filter(each => !each.alt || !each.complete || !each.naturalWidth);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const levels = text => text.startsWith("rgb") ? numbers(text).map((x, at) => at < 3 ? x / 255 : x) : numbers(text);
  const light = ([r, g, b]) => [r, g, b].map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, at) => sum + x * [0.2126, 0.7152, 0.0722][at], 0);
  const clear = each => (levels(view.getComputedStyle(each).backgroundColor)[3] ?? 1) === 0;
  const behind = each => { while (each !== root && clear(each)) each = each.parentElement; return each; };
  const ground = each => light(levels(view.getComputedStyle(clear(each) ? page.body : each).backgroundColor));
  const contrast = each => {
    const [low, high] = [light(levels(view.getComputedStyle(each).color)), ground(behind(each))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const told = all.filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const name = each => each.tagName + " " + each.textContent.trim().slice(0, 40);
  const faint = told.filter(each => contrast(each) < 4.5);
  const cut = [...wide, ...scrolls.filter(each => !each.closest("details"))];
  return {width: root.scrollWidth, wide: cut.map(name), lost: lost.map(name), blank: blank.length,
    faint: faint.map(name), links: ids.length, pictures: page.images.length,
    dark: light(levels(view.getComputedStyle(page.body).backgroundColor)) < 0.2};
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a small study that is over."""
    folder = tmp_path_factory.mktemp("report")
    claims = (Claim("depth", 3, delta=3, source="R0.1"), Claim("width", 6, (4,), source="R0.2"))
    made = material(over(study=replace(STUDY, claims=claims)))
    results.write(folder, made.agenda, made.facts, made.data)
    return folder / "report.html"


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1100, False), (1400, True)])
def test_it_fits_the_screen_and_is_legible(width, dark, report, tmp_path):
    found = measured(report.read_text(), SCRIPT, tmp_path, width=width, dark=dark)
    assert found.pop("links") > 5
    assert found.pop("pictures") > 5
    assert found == {"width": width, "wide": [], "lost": [], "blank": 0, "faint": [], "dark": dark}


def test_on_paper_it_takes_a_page_for_each_stage_and_three_more_at_most(report, tmp_path):
    found = pages(report, tmp_path)
    assert 2 <= len(found) <= len(STUDY.stages) + 3
    assert set(found) == {A4}


@pytest.mark.parametrize(
    ("over", "line"), [(False, "running: 3 of 10 trials done, about 2 min left"), (True, "ended ")]
)
def test_the_live_page_shows_what_runs_and_the_report_and_takes_names_for_text(over, line, report, tmp_path):
    running = [STATE["running"][0] | {"trial": "lr: <img src=x onerror=alert(1)>"}, STATE["running"][1]]
    state = STATE | {"written": time.time(), "over": over, "running": running}
    (tmp_path / "live.json").write_text(json.dumps(state))
    (tmp_path / "report.html").write_bytes(report.read_bytes())
    with serve(tmp_path, "127.0.0.1", 0) as address:
        page = shown(address, width=1000, seconds=5)
    assert re.search(r'id="line"[^>]*>([^<]*)<', page)[1].startswith(line)
    rows = [re.findall(r"<td>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    shows = [
        ["lr: &lt;img src=x onerror=alert(1)&gt;", "2/15", "1.500", "65.4 %", "1,234", "1.5 GB", "", "node1"],
        ["lr: 0.3", "0/15", "", "", "", "", "", ""],
    ]
    assert [row for row in rows if row] == ([] if over else shows)
    assert ("warning: lr: 0.1: steps are not captured" in page) is not over
    assert f'src="report.html?{(tmp_path / "report.html").stat().st_mtime}' in page
