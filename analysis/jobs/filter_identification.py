"""Filter identification: which images make a filter respond most, their classes, and what the filter sees in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.features import presence
from analysis.figures import Panel, matrix, panels, strips
from analysis.filters.claims import Claims, Nulls, Untrained, claims_table, sentence
from analysis.filters.layers import LayerClaims, headline, layers_table
from analysis.filters.naming import FilterChoice, Filters, chosen, filter_count, labels, written
from analysis.filters.patches import patch
from analysis.filters.responses import NORMS, STAGES, Response, highest
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job, WrongOption
from analysis.report import Column, Table, Value
from analysis.subject import Subject, names
from trainables.errors import UserError, suggest

MOST_FILTERS = 256  # of a layer, that are judged in all networks
MOST_SAID = 40  # rows with a sentence of their own
MOST_OF_EACH = ", most"  # ends the names of rows whose numbers are of one class each
UNTRAINED_SEED = 1000  # and on; the seeds of studies begin at 0


@dataclass(frozen=True)
class FilterIdentification(Job):
    """The images with the highest responses of each filter, counted by class, and the patches at which the filters
    look.

    `filters` as in analysis.filters. A filter's response to an image is its map summed over positions (`norm` "sum") or
    the map's Frobenius norm ("norm"), `stage` "before" or "after" the activation; in a residual block without what the
    shortcut adds. The chosen filters of a layer together ("ALL") respond with the sum of theirs. `top` images are
    counted, `patches` of them drawn for each filter; of filter `shown` (None: the first), `maps` images are drawn with
    their response maps.

    The counts are set against chance, against what brightness and colour alone give, and against the same layer's
    filters in `untrained` networks (0: none). Tables of filters are of the first seed's network; how many of a layer's
    filters are beyond each of these is told of the networks of all seeds.
    """

    name: ClassVar[str] = "filters"
    edition: ClassVar[int] = 3

    filters: FilterChoice | None = None
    norm: str = "sum"
    stage: str = "before"
    top: int = 100
    patches: int = 5
    shown: str | None = None
    maps: int = 10
    untrained: int = 3

    def __post_init__(self) -> None:
        if self.filters is not None:
            object.__setattr__(self, "filters", written(self.filters))
        for option, allowed in (("norm", NORMS), ("stage", STAGES)):
            if getattr(self, option) not in allowed:
                raise UserError(f"{option} is {getattr(self, option)!r}, but must be {' or '.join(map(repr, allowed))}")
        for option, least, most in (("top", 1, 1_000_000), ("patches", 1, 20), ("maps", 1, 20), ("untrained", 0, 20)):
            value = getattr(self, option)
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"{option} is {value!r}, but must be a whole number from {least} to {most}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no such filter, or it is not known what the filter sees."""
        filters = chosen(self.filters, subject)
        self.label(filters)
        _fields(subject, filters)

    def parts(self, subject: Subject) -> int:
        """Check the subject and return the parts: the networks of all seeds, the first first, then untrained ones."""
        self.check(subject)
        return len(subject.replicates) + self.untrained

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return what may be said of the filters of the chosen layers, Claims by the name of the field, one layer's
        filters after the other's, and `together` (layers, classes), the counts of the rows ALL.

        Of the first network also of each image and chosen filter the response, the map's largest value and its flat
        position, `responses`, `peaks` and `positions` (N, filters), and the `maps` of the filter shown, (n, h, w).
        """
        others = part - len(subject.replicates)
        network = subject.untrained(UNTRAINED_SEED + others) if others >= 0 else subject.replicates[part]
        filters = chosen(self.filters, subject)
        first = {layer: slice(count) for layer, count in _judged(subject, filters).items()}
        batches: list[tuple[np.ndarray, ...]] = []
        for _, _, features in network.batches():
            seen = [self.response.of(network, features, filters), self.response.of(network, features, first)]
            seen += self._peaks(network, features, filters) if part == 0 else []
            batches.append(tuple(each.cpu().numpy() for each in seen))
        responses, examined, *places = (np.concatenate(each) for each in zip(*batches, strict=True))
        nulls = self._nulls(subject)
        together = np.stack([responses[:, own].sum(axis=1, dtype=np.float64) for own in _columns(filters).values()], 1)
        arrays = nulls.judge(examined)._asdict() | {"together": nulls.counts(together)}
        if part == 0:
            arrays |= {"responses": responses} | dict(zip(("peaks", "positions"), places, strict=True))
            arrays["maps"] = self._maps(subject, filters, responses)
        return arrays

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Count the images of the highest responses by class, say what that is beyond, and draw it."""
        [subject] = subjects
        filters, nulls, arrays = chosen(self.filters, subject), self._nulls(subject), computed[0]
        rows, responses, alive = _rows(filters, arrays)
        claims, layers = nulls.judge(responses), _layers(subject, filters, computed)
        untrained = _reached(filters, layers, computed[len(subject.replicates) :])
        controls = _controls(nulls, layers)
        about = f"{_source(subject)}: the {nulls.top:,} images with the highest response"
        tables = {
            "filters": _table(subject, about, _counts(rows, claims), controls, (responses > 0).sum(axis=0), alive),
            "filters-claims": claims_table(rows, claims, nulls, subject.class_names, untrained, f"{about}, and nulls"),
            "filters-layers": layers_table(layers, f"{subject.name}: how many filters are beyond the nulls"),
        }
        figures = {
            "filters-classes": _draw_counts(self, subject, _counts(rows, claims) | controls),
            "filters-nulls": _draw_layers(subject, nulls, layers),
            "filters-patches": _draw_patches(self, subject, filters, arrays),
            "filters-maps": _draw_maps(self, subject, filters, arrays),
        }
        said = [sentence(row, claims, at, nulls, subject.class_names, untrained[at]) for at, row in enumerate(rows)]
        if len(said) > MOST_SAID:
            said[MOST_SAID:] = [f"The other {len(said) - MOST_SAID} rows are in the table of claims."]
        text = [*self._notes(subject, rows, alive), _controls_in_words(nulls, layers, subject.class_names), *said]
        text += [layer.sentence for layer in layers]
        kept = {"filters": np.array(rows), "top": highest(responses, self.top).T, "alive": alive} | claims._asdict()
        kept |= {name: arrays[name] for name in ("responses", "peaks", "positions", "maps")}
        return Finding(self.name, f"Filters: {headline(layers)}", tuple(text), tables, figures, kept)

    @property
    def response(self) -> Response:
        """What is made of a filter's map."""
        return Response(self.norm, self.stage)

    def _nulls(self, subject: Subject) -> Nulls:
        return Nulls(subject.images, presence(subject), self.top)

    def _peaks(self, network: Subject, features: Mapping[str, Tensor], filters: Filters) -> list[Tensor]:
        """Return the largest values of the filters' maps and their flat positions, (n, filters) each."""
        found = [self.response.maps(network, features, *each).flatten(2).max(2) for each in filters.items()]
        return [torch.cat(each, 1) for each in zip(*found, strict=True)]

    def _maps(self, subject: Subject, filters: Filters, responses: np.ndarray) -> np.ndarray:
        """Return the maps of the filter shown, of the images that it responds to most, (n, h, w)."""
        label = self.label(filters)
        layer, _, number = label.partition(":")
        best = highest(responses[:, labels(filters).index(label)], self.maps)
        [maps] = [
            self.response.maps(subject, features, layer, (int(number),))
            for _, _, features in subject.batches(best, len(best))
        ]
        return maps[:, 0].cpu().numpy()

    def label(self, filters: Filters) -> str:
        """Return the filter whose maps are drawn. Raises WrongOption where it is not one of the chosen."""
        known = labels(filters)
        if self.shown is None:
            return known[0]
        if self.shown not in known:
            raise WrongOption(
                f"shown is {self.shown!r}, but must be one of the chosen filters{suggest(self.shown, known)}"
            )
        return self.shown

    def _notes(self, subject: Subject, rows: list[str], alive: np.ndarray) -> list[str]:
        count = len(subject.images)
        response = f"Response: {self.response}; in a row ALL the sum over the layer's chosen filters."
        notes = [f"{response} Equal responses go by image number."]
        if count < self.top:
            notes.append(f"There are only {count:,} images: all are counted, instead of the {self.top:,} asked for.")
        if subject.multi_label:
            notes.append(
                "An image counts once for each of its labels, so that a row adds up to labels, not to images; each "
                "class is set against chance by itself, and p takes account of their number."
            )
        notes += [
            f"{row} is nearly dead: its map has a positive place in only {responds:,} of {count:,} images, so that "
            "its row says little."
            for row, responds in zip(rows, alive.tolist(), strict=True)
            if responds < min(self.top, count / 10)
        ]
        return notes


def _judged(subject: Subject, filters: Filters) -> dict[str, int]:
    """Return how many filters of each chosen layer, the first ones, are judged in all networks."""
    return {layer: min(filter_count(subject, layer), MOST_FILTERS) for layer in filters}


def _columns(filters: Filters) -> dict[str, slice]:
    """Return where each layer's filters are among all that were chosen."""
    ends = np.cumsum([0, *map(len, filters.values())]).tolist()
    return {layer: slice(*ends[at : at + 2]) for at, layer in enumerate(filters)}


def _rows(filters: Filters, arrays: Arrays) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the table's rows, the filters of each layer, then ALL of them; their responses, (N, rows); and of how many
    images each one's map has a value > 0.
    """
    rows, responses, alive = [], [], []
    for layer, columns in _columns(filters).items():
        own, positive = arrays["responses"][:, columns], arrays["peaks"][:, columns] > 0
        rows += [*labels({layer: filters[layer]}), f"{layer}:ALL"]
        responses += [*own.T, own.sum(axis=1, dtype=np.float64)]
        alive += [*positive.sum(axis=0), positive.any(axis=1).sum()]
    return rows, np.stack(responses, axis=1), np.array(alive)


def _layers(subject: Subject, filters: Filters, computed: Sequence[Arrays]) -> list[LayerClaims]:
    """Return what may be said of each layer, from what the parts computed."""
    seeds, start, layers = len(subject.replicates), 0, []
    for layer, count in _judged(subject, filters).items():
        networks = [Claims(*(arrays[name][start : start + count] for name in Claims._fields)) for arrays in computed]
        total = filter_count(subject, layer)
        layers.append(LayerClaims(layer, total, tuple(networks[:seeds]), tuple(networks[seeds:])))
        start += count
    return layers


def _reached(filters: Filters, layers: Sequence[LayerClaims], untrained: Sequence[Arrays]) -> list[Untrained | None]:
    """Return for each row what untrained networks reach: a filter's layer in them, and for ALL the same filters."""
    if not untrained:
        return [None] * sum(len(numbers) + 1 for numbers in filters.values())
    together = np.max([arrays["together"] for arrays in untrained], axis=0)
    reached: list[Untrained | None] = []
    for layer, largest in zip(layers, together, strict=True):
        reached += [layer.reached] * len(filters[layer.layer])
        reached.append(Untrained(largest, f"{len(untrained)} untrained networks"))
    return reached


def _controls(nulls: Nulls, layers: Sequence[LayerClaims]) -> dict[str, np.ndarray]:
    """Return the rows that filters are set against, name → (classes,)."""
    rows = dict(zip(nulls.rankings, nulls.colour, strict=True))
    rows |= {f"{each.layer} untrained{MOST_OF_EACH}": each.reached.largest for each in layers if each.reached}
    return rows | {f"chance{MOST_OF_EACH}": nulls.chance}


def _counts(rows: Sequence[str], claims: Claims) -> dict[str, np.ndarray]:
    return dict(zip(rows, claims.counts, strict=True))


def _controls_in_words(nulls: Nulls, layers: Sequence[LayerClaims], class_names: Sequence[str]) -> str:
    """Say what gives how much without any learning."""
    chance, colour = nulls.chance, nulls.colour
    spread = f"{chance.min()}" if chance.min() == chance.max() else f"{chance.min()} to {chance.max()}, by class,"
    best, name = divmod(int(colour.argmax()), len(class_names))
    said = (
        f"Of {nulls.top:,} images drawn at random, chance has at most {spread} of a class (95 % of draws); "
        f"{nulls.rankings[best]} alone has {colour.max()} of {class_names[name]}"
    )
    for each in layers:
        if each.reached:
            counts = each.largest_counts(each.untrained)
            said += f"; in {each.layer} the largest class of {each.reached.what} has {counts.min()} to {counts.max()}"
    return f"{said}."


def _table(
    subject: Subject,
    about: str,
    counts: Mapping[str, np.ndarray],
    controls: Mapping[str, np.ndarray],
    positive: np.ndarray,
    alive: np.ndarray,
) -> Table:
    """Return the counts by class: of the filters, then of what they are set against."""
    known = [*zip(positive.tolist(), alive.tolist(), strict=True), *[(None, None)] * len(controls)]
    body: list[tuple[Value, ...]] = []
    for (row, own), last in zip({**counts, **controls}.items(), known, strict=True):
        sums: tuple[Value, Value] = (None, None)  # of what is most of each class
        if not row.endswith(MOST_OF_EACH):
            largest = names(np.flatnonzero((own == own.max()) & (own > 0)), subject.class_names) or "none"
            sums = largest, int(own.sum())
        body.append((row, *own.tolist(), *sums, *last))
    heads = ("filter", *subject.class_names, "largest", "total", "responses > 0", "maps with a value > 0")
    return Table(f"{about}, {_counted(subject)}", tuple(map(Column, heads)), tuple(body), folded=True)


def _draw_counts(job: FilterIdentification, subject: Subject, counts: Mapping[str, np.ndarray]) -> Figure:
    caption = (
        f"{_source(subject)}. The {_counted(subject)} of the {min(job.top, len(subject.images)):,} images to which "
        f"each filter responds most; the largest number of a row in bold. Response: {job.response}; ALL: summed over "
        "the layer's chosen filters. Below them what needs no learning: the images ranked by mean brightness or by one "
        "colour alone; the most images of each class that any untrained filter has; and that chance has (in 95 % of "
        "draws for all classes at once)."
    )
    png = matrix(
        np.stack(list(counts.values())),
        row_labels=list(counts),
        column_labels=subject.class_names,
        title=f"{subject.name}: what the filters respond to",
        caption=caption,
        xlabel="class",
        ylabel="filter",
        emphasise_rows=True,
    )
    return Figure(png, caption)


def _draw_layers(subject: Subject, nulls: Nulls, layers: Sequence[LayerClaims]) -> Figure:
    rows: dict[str, np.ndarray] = {}
    for each in layers:
        for what, networks in (("trained", each.trained), ("untrained", each.untrained)):
            if networks:
                rows[f"{each.layer}, {what}"] = each.largest_counts(networks).astype(float)
    seeds = f"{len(subject.replicates)} seeds" if subject.others else f"seed {subject.seed}"
    best = int(nulls.colour.max(axis=1).argmax())
    marks = {"chance, most (95 %)": float(nulls.chance.max()), f"{nulls.rankings[best]}": float(nulls.colour.max())}
    caption = (
        f"{subject.name}, test images of {subject.dataset}, {seeds}. A point is a filter: how many of its "
        f"{nulls.top:,} images of the highest response have its largest class. {'; '.join(e.what for e in layers)}. "
        "The black line of a row is its median."
    )
    png = strips(
        rows,
        title=f"{subject.name}: filters against chance, colour and untrained networks",
        caption=caption,
        xlabel=f"images of the largest class, of {nulls.top:,}",
        marks=marks,
    )
    return Figure(png, caption)


def _draw_patches(job: FilterIdentification, subject: Subject, filters: Filters, arrays: Arrays) -> Figure:
    rows = []
    for column, label in enumerate(labels(filters)):
        layer, positions = subject.sees(label.partition(":")[0]), arrays["positions"][:, column]
        best = highest(arrays["responses"][:, column], job.patches)
        rows.append([_panel(subject, image, patch(subject.images[image], layer, positions[image])) for image in best])
    caption = (
        f"{_source(subject)}. For each filter the images of the highest responses, from left to right, and of each the "
        "receptive field of the place at which the filter's map is largest, gray beyond the border; the whole image "
        f"where the field is larger. Response: {job.response}. Receptive fields: {_fields(subject, filters)}. Above "
        "each patch: class, image number."
    )
    ranks = [f"{rank}." for rank in range(1, len(rows[0]) + 1)]
    title = f"{subject.name}: what the filters see"
    names_of = labels(filters)
    png = panels(rows, title=title, caption=caption, row_labels=names_of, column_labels=ranks, panel_inches=0.7)
    return Figure(png, caption)


def _draw_maps(job: FilterIdentification, subject: Subject, filters: Filters, arrays: Arrays) -> Figure:
    label = job.label(filters)
    best = highest(arrays["responses"][:, labels(filters).index(label)], job.maps)
    images = [_panel(subject, image, subject.images[image]) for image in best]
    high, wide = arrays["maps"].shape[1:]
    caption = (
        f"{_source(subject)}, filter {label}. The {len(best)} images of the highest response, from left to right, and "
        f"the filter's {high}×{wide} maps, {job.stage} the activation, on one scale. Response: {job.response}. Above "
        "each image: class, image number."
    )
    png = panels(
        [images, [Panel(response) for response in arrays["maps"]]],
        title=f"{subject.name}: where filter {label} responds",
        caption=caption,
        row_labels=("image", "response map"),
        column_labels=[f"{rank}." for rank in range(1, len(best) + 1)],
        colormap="RdBu_r" if job.stage == "before" else "viridis",
        colour_label=f"{label}, {job.stage} the activation",
    )
    return Figure(png, caption)


def _panel(subject: Subject, image: int, pixels: np.ndarray) -> Panel:
    present = np.flatnonzero(presence(subject)[image])
    return Panel(pixels, f"{names(present, subject.class_names)} {image}".strip())


def _fields(subject: Subject, filters: Filters) -> str:
    sides = {name: subject.sees(name).receptive_field for name in filters}
    return ", ".join(f"{name} {side}×{side}" for name, side in sides.items())


def _counted(subject: Subject) -> str:
    return "labels" if subject.multi_label else "classes"


def _source(subject: Subject) -> str:
    """Return what was looked at; of which seed, where there are several."""
    seed = f" (seed {subject.seed})" if subject.others else ""
    return f"{subject.name}{seed}, test images of {subject.dataset}"
