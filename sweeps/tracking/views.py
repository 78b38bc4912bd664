"""Views of a study's trials in MLflow's own pages: a table with their scores, best first, and charts of the same.

MLflow's front end (seen in 3.17) keeps a saved view in a tag of the experiment; it is in the menu "Views" above the
runs, and opens by its link. What a tag looks like is not documented: a version that does not understand it leaves the
view out and shows its default table. So nothing is read back from it, and nothing else depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.tracking.entry import params
from sweeps.tracking.store import TAG_LENGTH, Store
from trainables.config import Trial

TAG = "mlflow.sharedViewState."
EVERY = "trials"  # the key of the view of all
COUNTS = f"tags.key LIKE '%' AND tags.status != '{Status.SUPERSEDED.value}'"
NAMED = 60  # runs that a filter names one by one, so that the tag is not too long

TITLES = {"PARALLEL": "Parallel coordinates", "LINE": "Validation, epoch by epoch", "BAR": "At the chosen epoch"}
OURS = {"deleted": False, "isGenerated": False}  # what MLflow notes of a chart and of a section


@dataclass(frozen=True)
class View:
    """Some trials: those that `where` finds, with the params and metrics that a table and charts are to show."""

    key: str
    name: str
    where: str  # a filter of MLflow's
    params: tuple[str, ...]
    metric: str  # that of the scores

    def tag(self, created: int) -> str:
        """Return the value of its tag; `created` are milliseconds since 1970."""
        scores = [f"chosen_val_{self.metric}", f"chosen_test_{self.metric}"]
        columns = [*(("params", name) for name in self.params), *(("metrics", name) for name in scores)]
        columns += [("metrics", "chosen_epoch"), ("tags", "status")]
        charts = [_chart("LINE", metricKey=f"val_{self.metric}", selectedMetricKeys=[f"val_{self.metric}"])]
        charts += [_chart("BAR", metricKey=name) for name in scores]
        if self.params:
            across = _chart("PARALLEL", selectedParams=list(self.params), selectedMetrics=scores, showAllRuns=True)
            charts.insert(0, across)
        kinds = list(dict.fromkeys(chart["type"] for chart in charts))
        state = {
            "searchFilter": self.where,
            "orderByKey": f"metrics.`{scores[0]}`",
            "orderByAsc": False,
            "selectedColumns": [f"{kind}.`{name}`" for kind, name in columns],
            "runsHiddenMode": "SHOW_ALL",  # else charts show the first ten alone
            "compareRunCharts": charts,
            "isAccordionReordered": True,  # else the sections are shown by name
            "compareRunSections": [_section(kind) for kind in kinds],
        }
        return json.dumps({"name": self.name, "createdAt": created, "updatedAt": created, "state": json.dumps(state)})


def of(results: Sequence[StageResult], runs: Mapping[str, str], metric: str) -> list[View]:
    """Return a view of all trials and one of each stage that has some; `runs` are those of trials, by key."""
    every = [outcome for result in results for outcome in result.outcomes]
    found = [View(EVERY, "all trials", COUNTS, varied(_trials(every)), metric)]
    for result in filter(lambda result: result.outcomes, results):
        name, ids = result.stage.name, [runs[outcome.key] for outcome in result.outcomes if outcome.key in runs]
        # the tag `stage` is that of the first stage alone that has a trial
        named = ", ".join(f"'{each}'" for each in ids)
        where = f"attributes.run_id IN ({named})" if 0 < len(ids) <= NAMED else f"tags.stage = '{name}'"
        found.append(View(_key(name), name, where, varied(_trials(result.outcomes)), metric))
    return found


def varied(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the params that all trials have and in which they differ, as numbers or as words: MLflow's parallel
    coordinates leave out trials that lack one, and words among numbers.
    """
    every = [{name: str(value) for name, value in params(trial).items()} for trial in trials]
    shared = [name for name in every[0] if all(name in each for each in every)] if every else []
    values = {name: {each[name] for each in every} for name in shared}
    return tuple(name for name in shared if len(values[name]) > 1 and len(set(map(_is_number, values[name]))) == 1)


def save(store: Store, study: str, views: Iterable[View]) -> None:
    """Have MLflow show these views of a study. One that is too long for a tag is left out."""
    number = store.experiment_id(study)
    experiment = store.client.get_experiment(number)
    for view in views:
        name, value = TAG + view.key, view.tag(experiment.creation_time)
        if experiment.tags.get(name) != value and len(value) <= TAG_LENGTH:
            store.client.set_experiment_tag(number, name, value)


def describe(store: Store, study: str, markdown: str) -> None:
    """Set the experiment's description, with a link to all of its trials in the first line, which is all that a folded
    one shows. From its list MLflow opens an experiment as one of GenAI, whatever its kind; the link does not.
    """
    first, gap, rest = markdown.partition("\n\n")
    store.describe(study, f"{first} [Trials by score]({address(store.experiment_id(study), EVERY)}){gap}{rest}")


def words(experiment: str, stage: str) -> str:
    """Return the description of a stage's run: where its trials are to be seen side by side."""
    key = _key(stage)
    return f"[Its trials by score]({address(experiment, key)}) · [as charts]({address(experiment, key, charts=True)})"


def address(experiment: str, key: str, *, charts: bool = False) -> str:
    """Return where a view opens, as a link within MLflow's pages, as its table or as its charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={quote(key)}{mode}"


def _key(stage: str) -> str:
    return f"stage.{stage}"


def _trials(outcomes: Iterable[Outcome]) -> list[Trial]:
    return [outcome.cell.trial for outcome in outcomes]


def _chart(kind: str, **what: Any) -> dict[str, Any]:
    """Return a chart in a section of its own kind."""
    name = what.get("metricKey", "")
    return {"type": kind, "uuid": kind + name, "metricSectionId": kind} | OURS | what


def _section(kind: str) -> dict[str, Any]:
    """Return a part of the page, with the charts of one kind: parallel coordinates need its whole width."""
    columns = 1 if kind == "PARALLEL" else 2
    return {"uuid": kind, "name": TITLES[kind], "display": True, "columns": columns} | OURS


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
