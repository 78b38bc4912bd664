"""A finished model on labelled images that were handed over later."""

from __future__ import annotations

import numpy as np
import torch

from analysis import figures
from analysis.confusion import confusion
from analysis.finding import Figure, Finding
from analysis.report import Column, Measured, Table
from trainables.augment import as_evaluated
from trainables.checkpoint import Checkpoint
from trainables.datasets import Split
from trainables.scoring import Score, score
from trainables.train import predict


def evaluation(checkpoint: Checkpoint, split: Split, dataset: str, name: str, device: torch.device) -> Finding:
    """Score every replicate of a checkpoint: loss, accuracy (or mAP), values per class, and the confusion matrix of
    single-label data.

    Labels are numbers of the checkpoint's classes; `name` is what the finding calls the model.
    """
    recipe = checkpoint.trial.training
    images = as_evaluated(torch.from_numpy(split.images), recipe).to(device)
    labels = torch.from_numpy(split.labels).to(device)
    logits = [predict(model.to(device), images) for model in checkpoint.models]
    scores = [score(each, labels, recipe.ap_rule) for each in logits]
    multi_label = labels.ndim == 2
    metric = "mAP" if multi_label else "accuracy"
    about = f"{name} on {len(split):,} images of {dataset}" + (f", {len(scores)} seeds" if len(scores) > 1 else "")
    tables = {"evaluation": _table(scores, checkpoint.class_names, split.labels, metric, about)}
    value = _measured([100 * each.value for each in scores])
    text = [f"{about}: {metric} {_words(value)} %, loss {_words(_measured([each.loss for each in scores]), 3)}."]
    if multi_label:
        return Finding("evaluation", "Evaluation", tuple(text), tables)
    predicted = [each.argmax(1).cpu().numpy() for each in logits]
    counts = np.mean([confusion(split.labels, each, len(checkpoint.class_names)) for each in predicted], axis=0)
    caption = f"{about}. Counts are means over the seeds." if len(scores) > 1 else f"{about}."
    drawn = figures.matrix(
        counts,
        row_labels=checkpoint.class_names,
        column_labels=checkpoint.class_names,
        title="Confusion matrix",
        caption=caption,
        xlabel="predicted class",
        ylabel="true class",
    )
    names = checkpoint.class_names
    rows = tuple((true, *row) for true, row in zip(names, counts.tolist(), strict=True))
    tables["confusion"] = Table(
        "Confusion: rows are true classes", (Column("true class"), *(Column(each) for each in names)), rows
    )
    return Finding(
        "evaluation", "Evaluation", tuple(text), tables, {"confusion": Figure(drawn, caption)}, {"confusion": counts}
    )


def _table(scores: list[Score], class_names: tuple[str, ...], labels: np.ndarray, metric: str, title: str) -> Table:
    counts = (labels == 1).sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(class_names))
    rows: list[tuple] = [("all", len(labels), _measured([100 * each.value for each in scores]))]
    for number, class_name in enumerate(class_names):
        values = [each.per_class[number] for each in scores]
        known = [100 * value for value in values if value is not None]
        rows.append((class_name, int(counts[number]), _measured(known) if known else None))
    score = "accuracy %" if metric == "accuracy" else "AP %"
    return Table(title, (Column("class"), Column("images"), Column(score, digits=1)), tuple(rows))


def _measured(values: list[float]) -> Measured:
    return Measured(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))


def _words(value: Measured, digits: int = 2) -> str:
    spread = "" if value.sd is None else f" ± {value.sd:.{digits}f} ({value.n})"
    return f"{value.mean:.{digits}f}{spread}"
