"""What is asked of studies that run, kept in MLflow: a tag of the experiment for each act, with its answer."""

from __future__ import annotations

from collections.abc import Callable

from sweeps.decisions.acts import Act
from sweeps.tracking.store import Store

PREFIX = "act."


def write(store: Store, experiment: str, act: Act) -> None:
    """Ask for an act, or answer it. `experiment` is an id."""
    store.client.set_experiment_tag(experiment, PREFIX + act.id, act.to_json())


def withdraw(store: Store, experiment: str, act: Act) -> None:
    """Ask for an act no longer."""
    store.client.delete_experiment_tag(experiment, PREFIX + act.id)


def read(store: Store, experiment: str, say: Callable[[str], object] = lambda _: None) -> list[Act]:
    """Return all acts, as they were asked for, one after another. What is damaged is left out, and `say` is told."""
    found = []
    for name, text in store.client.get_experiment(experiment).tags.items():
        if name.startswith(PREFIX):
            try:
                found.append(Act.from_json(text))
            except ValueError as error:
                say(f"warning: an act of this study in MLflow cannot be read, and is left out: {error}")
    return sorted(found, key=lambda act: (act.time, act.id))


def taken(store: Store, study: str, say: Callable[[str], object]) -> list[Act]:
    """Return the acts of a study that were carried out. Raises UserError where MLflow is away."""
    with store.readable():
        known = store.client.get_experiment_by_name(study)
        found = read(store, known.experiment_id, say) if known else []
    return [act for act in found if act.effect is not None]
