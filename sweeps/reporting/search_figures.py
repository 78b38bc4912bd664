"""The figures of a search: its course, what it drew, what mattered, and what is worth its price."""

from __future__ import annotations

from functools import partial

from analysis.page import Picture
from sweeps.decisions.search_run import SearchResult
from sweeps.reporting.album import Album
from sweeps.reporting.leaderboard import what_mattered
from sweeps.reporting.material import Material


def search_pictures(result: SearchResult, material: Material, album: Album) -> list[Picture]:
    """Return the figures, drawn into the album; those for which there is too little are left out."""
    search = result.search
    mattered = what_mattered(search)
    if mattered is None:
        return []
    epoch, shares = mattered
    about = f"{material.agenda.study.name}, {material.data.name}, PED-ANOVA over the trials' scores at epoch {epoch}"

    def draw() -> partial[bytes]:
        import numpy as np

        from analysis import figures

        return partial(
            figures.bars,
            list(shares),
            {"share": np.array(list(shares.values()))},
            title=f"{search.stage.name}: what mattered",
            caption=about,
            ylabel="share, %",
            percent=True,
            sort=True,
        )

    caption = f"What made the best quarter of the trials good. {about}."
    return [album.add(f"{search.stage.name}-importance", caption, tuple(shares.items()), draw)]
