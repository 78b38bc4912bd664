"""The page as a browser gets it: parsed, and held against the blocks that it is made of."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.page import Beside, Chapter, Code, Folded, Heading, Heat, Page, Picture, Pictures, Words, of_section
from analysis.page.writing import MOST_ROWS, html, table_html, write_page
from analysis.report import Column, Measured, Section, Table

PNG = b"\x89PNG"
HOSTILE = "</style><script>alert(1)</script>\"><img src=x onerror=alert(1)> {{ 7 * 7 }} & '"
TABLE = Table(
    "a & b",
    (Column("name <i>"), Column("n", best="max"), Column("key", show=False)),
    (("x <b>", 1, "k"), ("y", Measured(68.31, 0.42, 3), "l"), ("z", 93, "m")),
    (True, True, False),
)


class Parsed(HTMLParser):
    """The elements of a page, each with its attributes and the text right below it, and whether all are closed."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        assert not self.open, [self.elements[at][0] for at in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        if self.open:
            self.elements[self.open[-1]][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(text).strip() for name, _, text in self.elements if name == tag]

    def all(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes, _ in self.elements if found == tag]


def page(*blocks, **more) -> Parsed:
    return Parsed(html(Page("t", [Chapter("c", blocks)], **more)))


def test_a_table_is_marked_and_escaped_and_shows_its_columns():
    assert table_html(TABLE) == (
        "<table>\n<caption>a &amp; b</caption>\n"
        '<thead><tr><th scope="col">name &lt;i&gt;</th><th scope="col" class="number">n</th></tr></thead>\n'
        "<tbody>\n"
        '<tr><td>x &lt;b&gt;</td><td class="number">1</td></tr>\n'
        '<tr><td>y</td><td class="best">68.31 ± 0.42 (3)</td></tr>\n'
        '<tr class="unranked"><td>z</td><td class="number">93</td></tr>\n'
        "</tbody>\n</table>"
    )


def test_a_table_of_many_words_has_its_heads_at_each_cell_for_a_phone():
    words = tuple(Column(name) for name in "abcd")
    assert re.findall(r"<t[dh][^>]*>|<table[^>]*>", table_html(Table("t", words, (tuple("wxyz"),))))[0] == (
        '<table class="cards">'
    )
    cells = re.findall(r"<td[^>]*>", table_html(Table("t", words, (tuple("wxyz"),))))
    assert cells == ["<td>", *(f'<td data-name="{name}">' for name in "bcd")]
    assert "cards" not in table_html(Table("t", words, (("w", "x", 1, 2),)))


@pytest.mark.parametrize(("columns", "by_row"), [(4, False), (5, False), (6, True), (10, True), (11, False)])
def test_so_do_numbers_that_do_not_fit_a_phone_unless_they_fill_it(columns, by_row):
    table = Table("t", tuple(Column(f"c{number}") for number in range(columns)), (tuple(range(columns)),))
    assert ("cards" in table_html(table)) == by_row


def test_each_block_becomes_its_element_in_order(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    heat = Heat("shares", ("cat", "dog"), (("1", (10.0, None)), ("2", (20.0, 15.0))), "layers")
    found = page(
        *(Words("Why?", "lead"), Words("plain"), Heading("Then"), Code("a\nb")),
        *(TABLE, heat, Pictures((Picture(tmp_path / "a.png", "seen"),))),
        *(Folded("more", (Words("hidden"),)), Beside((Words("left"), Words("right")))),
        question="What?",
        about=("here", "now"),
    )
    assert found.texts("p")[:3] == ["What?", "here", "now"]
    assert found.all("p", "class")[:3] == ["question", "about", "about"]
    assert found.texts("p")[4:] == ["Why?", "plain", "hidden", "left", "right"]  # the fourth is the legend
    assert found.texts("h3") == ["Then"]
    assert found.texts("code") == ["a\nb"]
    assert found.texts("summary") == ["more"]
    cells = [
        (style, "".join(text)) for tag, each, text in found.elements if tag == "td" and (style := each.get("style"))
    ]
    assert cells == [("--depth: 0", "10"), ("--depth: 0", "–"), ("--depth: 100", "20"), ("--depth: 50", "15")]
    assert found.all("img", "alt") == ["seen"] == found.texts("figcaption")


def test_text_is_shown_as_it_stands_wherever_it_comes_from(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    table = Table(HOSTILE, (Column(HOSTILE),), ((HOSTILE,),))
    heat = Heat(HOSTILE, (HOSTILE,), ((HOSTILE, (1.0,)),), HOSTILE)
    blocks = (
        *(Words(HOSTILE, "lead"), Heading(HOSTILE), Code(HOSTILE), table, heat),
        *(Folded(HOSTILE, (Words(HOSTILE),)), Pictures((Picture(tmp_path / "a.png", HOSTILE),))),
    )
    found = Parsed(html(Page(HOSTILE, [Chapter(HOSTILE, blocks)], HOSTILE, (HOSTILE,))))
    own = (
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "b", "span", "nav", "ol", "li", "a"),
        *("section", "h2", "h3", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre", "code"),
        *("details", "summary", "figure", "img", "figcaption"),
    )
    assert {tag for tag, _, _ in found.elements} == set(own)
    known = [
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "aria-label",
        "href",
        "id",
        "class",
        "tabindex",
        "scope",
        "src",
        "alt",
        "style",
    ]
    assert {name for _, attributes, _ in found.elements for name in attributes} <= set(known)
    for tag in ("h1", "h2", "h3", "code", "summary", "caption", "title", "figcaption"):
        assert HOSTILE in found.texts(tag)
    assert found.all("img", "alt") == [HOSTILE]


def test_the_page_is_one_file_that_needs_no_other(tmp_path: Path):
    (tmp_path / "loss.png").write_bytes(PNG)
    (tmp_path / "loss.svg").write_bytes(b"<svg/>")
    pictures = Pictures(tuple(Picture(tmp_path / f"loss.{end}", "loss") for end in ("png", "svg")))
    write_page(tmp_path / "report.html", Page("t", [Chapter("c", (pictures,)), Chapter("d", ())]))
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    found = Parsed(text)
    contents = [base64.b64decode(str(source).partition(",")[2]) for source in found.all("img", "src")]
    assert contents == [PNG, b"<svg/>"]
    assert [str(source)[:19] for source in found.all("img", "src")] == ["data:image/png;base", "data:image/svg+xml;"]
    assert found.all("a", "href") == ["#section-1", "#section-2"]
    assert found.all("section", "id") == ["section-1", "section-2"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["loss.png", "loss.svg", "report.html"]


def test_the_same_page_is_the_same_bytes():
    one = Page("t", [Chapter("c", (TABLE,))], "why?", ("now",))
    assert html(one) == html(one)


def test_contents_and_legend_stand_where_there_is_something_for_them():
    bare = html(Page("t", [], "", ("words",)))
    assert "<nav" not in bare
    assert 'class="legend"' not in bare
    assert 'class="legend"' in html(Page("t", [Chapter("c", (Beside((TABLE,)),))]))
    assert 'class="legend"' not in html(Page("t", [Chapter("c", (Words("x"),))]))


@pytest.mark.parametrize("captioned", [True, False])
def test_a_caption_stands_below_a_picture_unless_the_picture_bears_it(tmp_path: Path, captioned):
    (tmp_path / "map.png").write_bytes(PNG)
    found = page(Pictures((Picture(tmp_path / "map.png", "a < b", captioned),)))
    assert found.texts("figcaption") == ([] if captioned else ["a < b"])


def test_a_finding_comes_first_and_its_long_tables_are_folded(tmp_path: Path):
    (tmp_path / "map.png").write_bytes(PNG)
    short, long = (Table(f"{n} rows", (Column("a"),), ((1,),) * n) for n in (MOST_ROWS, MOST_ROWS + 1))
    section = Section("Seen", ("It sees.",), (short, long), ((tmp_path / "map.png", "c"),), captioned=True)
    chapter = of_section(section)
    assert (chapter.title, [block.block for block in chapter.blocks]) == (
        "Seen",
        ["words", "pictures", "table", "folded"],
    )
    assert [block.block for block in of_section(section, fold=True).blocks[2:]] == ["folded", "folded"]
    assert [block.block for block in of_section(Section("s", ("w",))).blocks] == ["words"]
