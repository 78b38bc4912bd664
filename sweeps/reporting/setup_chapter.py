"""How a study was set up: the data, the network layer by layer, the recipe, the protocol, the machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial

import numpy as np

from analysis.page import Beside, Block, Chapter, Folded, Heading, Picture, Pictures, Words
from analysis.report import Column, Table
from sweeps.decisions.labels import counted, label
from sweeps.decisions.seeding import FIRST
from sweeps.reporting.album import Album
from sweeps.reporting.material import SAMPLES, Material
from trainables.config import Training, Trial
from trainables.plan import flops, parameters, plan

MOST_LAYERS = 20  # of a network that is not folded
SIDE = 0.52  # inches of a sample image
# fields of the recipe that say nothing where they have this value
SILENT = {
    "crop_padding": 0,
    "flip": False,
    "resize": None,
    "crop": None,
    "vary_split": False,
    "weight_decay": 0.0,
    "threads": 1,
}
ONLY_FOR = {"gamma": ("schedule", "exponential"), "momentum": ("optimizer", "sgd")}


def setup_chapter(material: Material, album: Album) -> Chapter:
    """Return the chapter, with its figures in the album."""
    baseline = material.agenda.study.baseline
    layers = _layers(baseline, material)
    network: Block = layers if len(layers.rows) <= MOST_LAYERS else Folded(layers.title, (layers,))
    pictures = [*_samples(material, album), *_learning_rate(material, album)]
    blocks: list[Block] = [
        Words(about_data(material)),
        *([Pictures(tuple(pictures))] if pictures else []),
        Heading("The baseline"),
        Beside((network, _recipe(baseline.training, material))),
        Heading("The protocol"),
        Words(protocol(material)),
        Words(legend(material), "note"),
    ]
    runs = _runs(material)
    tables = [table for table in (runs, _acts(material)) if table.rows]
    return Chapter("Setup", (*blocks, *tables))


def about_data(material: Material) -> str:
    """Return what the data is."""
    data, shape = material.data, "×".join(map(str, material.facts.image_shape))
    return (
        f"{data.name}: {data.train:,} training, {data.val:,} validation and {data.test:,} test images of {shape} "
        f"(channels, height, width) in {len(data.class_names)} classes"
        + (", with any number of labels per image." if data.multi_label else ".")
    )


def protocol(material: Material) -> str:
    """Return how trials are run and winners chosen."""
    seeds = material.terms.seeds_in_words
    stopping = (
        "trials that fall behind are stopped early" if material.terms.early_stopping else "all trials run in full"
    )
    text = (
        f"{'One seed' if seeds == '1 seed' else seeds} per trial; {stopping}. Winners are chosen on validation, at "
        "the epoch where the centred three-epoch mean of the validation score is highest. Test scores are reported at "
        "that epoch and decide nothing."
    )
    if material.terms.seeding:
        text += f" More than {FIRST} seeds have those trials between which a stage was not decided."
    return text + about_splits(material)


def legend(material: Material) -> str:
    """Return what the words in tables mean."""
    text = (
        f"“Best test {material.facts.score}” is the best over all epochs, as in the published reports; this is "
        "optimistic. Quote the test scores at the chosen epoch."
    )
    if not material.data.multi_label:
        return text
    rule = material.agenda.study.baseline.training.ap_rule
    return f"{text} mAP: the mean over classes of the average precision, {rule} rule."


def about_splits(material: Material) -> str:
    """Say where seeds split the data themselves; nothing where none does."""
    outcomes = (each for result in material.results for each in result.outcomes)
    varied = {each.cell.trial.training.vary_split for each in outcomes}
    if True not in varied:
        return ""
    where = " In trials with vary_split" if len(varied) > 1 else " With vary_split"
    return (
        f"{where} each seed has its own split into training and validation images, so that the spread over seeds "
        "includes that of the split; on validation, trials are compared seed by seed."
    )


def _layers(baseline: Trial, material: Material) -> Table:
    shape = baseline.training.input_shape(material.facts.image_shape)
    layers = plan(baseline.model, shape, len(material.facts.class_names))
    rows = [("input", "×".join(map(str, shape)), None, None, None)] + [
        (each.name, "×".join(map(str, each.shape)), each.receptive_field, each.parameters or None, _mega(each.flops))
        for each in layers
    ]
    columns = (
        *map(Column, ("layer", "output", "receptive field, px", "parameters")),
        Column("MFLOPs", digits=2),
    )
    total = f"{parameters(layers):,} parameters, {flops(layers) / 1e6:.2f} MFLOPs an image"
    return Table(f"Layers: {total}", columns, tuple(rows))


def _mega(count: int) -> float | None:
    return count / 1e6 if count else None


def _recipe(training: Training, material: Material) -> Table:
    form = asdict(training)
    rows = [
        (name.replace("_", " "), label(value))
        for name, value in form.items()
        if not (name in SILENT and value == SILENT[name])
        and not (name in ONLY_FOR and form[ONLY_FOR[name][0]] != ONLY_FOR[name][1])
        and (name != "ap_rule" or material.data.multi_label)
    ]
    return Table("Recipe", (Column("setting"), Column("value")), tuple(rows))


def _runs(material: Material) -> Table:
    source = material.source
    rows = {
        "trials": f"{material.ended} ended" if material.ended else "",
        "from other studies": taken(material),
        "time": source.time,
        "hardware": source.machine,
        "command": source.command,
        "commit": source.commit,
        "versions": ", ".join(f"{name} {version}" for name, version in source.versions.items()),
    }
    return Table("Runs", (Column("what"), Column("value")), tuple((k, v) for k, v in rows.items() if v))


def taken(material: Material) -> str:
    """Return how many trials have their runs in which other studies, where they had been trained already."""
    known, own = material.agenda.ledger.known, material.agenda.study.name
    keys = dict.fromkeys(each.key for result in material.results for each in result.outcomes)
    studies = Counter(known[key].study for key in keys if key in known and known[key].study not in ("", own))
    return ", ".join(f"{counted(number, 'trial')} of {study}" for study, number in sorted(studies.items()))


def _acts(material: Material) -> Table:
    rows = tuple((act.asked, act.by, act.answer) for act in material.source.acts)
    return Table("What was asked for while it ran", (Column("act"), Column("by"), Column("answer")), rows)


def _samples(material: Material, album: Album) -> list[Picture]:
    samples = material.data.samples
    if not samples:
        return []

    def draw() -> partial[bytes]:
        from analysis import figures

        names = list(dict.fromkeys(name for name, _ in samples))
        images = {name: [image for of, image in samples if of == name] for name in names}
        columns = [names[start : start + 10] for start in range(0, len(names), 10)]
        rows = [
            [
                figures.Panel(images[name][at], name if not at else "") if at < len(images[name]) else None
                for name in part
            ]
            for part in columns
            for at in range(SAMPLES)
        ]
        return partial(figures.panels, rows, title="Training images", caption="", panel_inches=SIDE)

    return [
        album.add(
            "samples",
            f"{material.data.name}: the first training images of each class.",
            len(samples),
            draw,
            vector=False,
        )
    ]


def _learning_rate(material: Material, album: Album) -> list[Picture]:
    """Draw the learning rate of the first trial whose rate moves."""
    trained = (each for result in material.results for each in result.outcomes if each.history.epochs > 1)
    moving = next((each for each in trained if np.ptp(each.history.curve("lr")) > 0), None)
    if moving is None:
        return []
    rates = moving.history.curve("lr")[:1]

    def draw() -> partial[bytes]:
        from analysis import figures

        curve = figures.Curve(moving.cell.named, rates)
        return partial(figures.curves, [curve], title="Learning rate", ylabel="learning rate", size=(6.2, 2.2))

    caption = f"The learning rate of {moving.cell.named} by epoch."
    return [album.add("learning-rate", caption, (moving.key, rates.shape), draw)]
