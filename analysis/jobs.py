"""All analyses, by name, in the order in which a report shows them."""

from __future__ import annotations

from analysis.ablation import Ablation
from analysis.compare import Compare
from analysis.contact_sheet import ContactSheet
from analysis.feature_maps import FeatureMaps
from analysis.filter_identification import FilterIdentification
from analysis.filters_drawn import FiltersDrawn
from analysis.finding import Job
from analysis.grad_cam import GradCam
from analysis.mistakes import Mistakes
from analysis.neighbours import Neighbours
from analysis.occlusion import Occlusion
from analysis.tsne import TSNE

JOBS: dict[str, type[Job]] = {
    kind.name: kind
    for kind in (
        ContactSheet,
        Mistakes,
        Occlusion,
        GradCam,
        FilterIdentification,
        Ablation,
        FiltersDrawn,
        FeatureMaps,
        Neighbours,
        TSNE,
        Compare,
    )
}
