"""The report as a page: blocks in, one HTML file out."""

from analysis.page.blocks import Beside, Block, Chapter, Code, Folded, Heading, Heat, Page, Picture, Pictures, Words
from analysis.page.writing import of_section, write_page

__all__ = [
    "Beside",
    "Block",
    "Chapter",
    "Code",
    "Folded",
    "Heading",
    "Heat",
    "Page",
    "Picture",
    "Pictures",
    "Words",
    "of_section",
    "write_page",
]
