"""A finished model on labelled images that were handed over later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from analysis import figures
from analysis.finding import Figure, Finding
from analysis.inference.confusion import confusion, confusion_table
from analysis.report import Column, Measured, Table
from trainables.augment import as_evaluated
from trainables.checkpoint import Checkpoint
from trainables.datasets import Split
from trainables.devices import prepare
from trainables.scoring import Score, score
from trainables.train import predict


def evaluation(checkpoint: Checkpoint, split: Split, dataset: str, name: str, device: torch.device) -> Finding:
    """Score every replicate of a checkpoint: loss, accuracy (or mAP), values per class, and the confusion matrix of
    single-label data.

    Labels are numbers of the checkpoint's classes; `name` is what the finding calls the model.
    """
    recipe, names = checkpoint.trial.training, checkpoint.class_names
    prepare(device)
    images = as_evaluated(torch.from_numpy(split.images), recipe)
    labels = torch.from_numpy(split.labels).to(device)
    logits = [predict(model.to(device), images) for model in checkpoint.models]
    scores = [score(each, labels, recipe.ap_rule) for each in logits]
    metric = "mAP" if labels.ndim == 2 else "accuracy"
    about = f"{name} on {len(split):,} images of {dataset}" + (f", {len(scores)} seeds" if len(scores) > 1 else "")
    value, loss = Measured.of([100 * each.value for each in scores]), Measured.of([each.loss for each in scores])
    text = (f"{about}: {metric} {value:.2f} %, loss {loss:.3f}.",)
    tables = {"evaluation": _table(scores, names, split.labels, about)}
    if labels.ndim == 2:
        return Finding("evaluation", "Evaluation", text, tables)
    predicted = [each.argmax(1).cpu().numpy() for each in logits]
    counts = np.mean([confusion(split.labels, each, len(names)) for each in predicted], axis=0)
    tables["confusion"] = confusion_table(counts, names, "Confusion: rows are true classes")
    drawn = {
        "confusion": _drawn(
            counts, names, f"{about}." + (" Counts are means over the seeds." if len(scores) > 1 else "")
        )
    }
    return Finding("evaluation", "Evaluation", text, tables, drawn, {"confusion": counts})


def _drawn(counts: np.ndarray, names: Sequence[str], caption: str) -> Figure:
    png = figures.matrix(
        counts,
        row_labels=names,
        column_labels=names,
        title="Confusion matrix",
        caption=caption,
        xlabel="predicted class",
        ylabel="true class",
    )
    return Figure(png, caption)


def _table(scores: Sequence[Score], class_names: Sequence[str], labels: np.ndarray, title: str) -> Table:
    multi_label = labels.ndim == 2
    counts = (labels == 1).sum(axis=0) if multi_label else np.bincount(labels, minlength=len(class_names))
    rows: list[tuple] = [("all", len(labels), Measured.of([100 * each.value for each in scores]))]
    for number, class_name in enumerate(class_names):
        values = [each.per_class[number] for each in scores]
        known = [100 * value for value in values if value is not None]
        rows.append((class_name, int(counts[number]), Measured.of(known) if known else None))
    columns = (Column("class"), Column("images"), Column("AP %" if multi_label else "accuracy %", digits=1))
    return Table(title, columns, tuple(rows))
