"""What the MLflow of a cluster's head has of a study: `python told.py STUDY` prints its runs as JSON.

Those that are superseded are left out.
"""

import json
import sys
from itertools import pairwise

from sweeps.tracking.store import Store
from trainables.files import unsealed


def main() -> None:
    store = Store("http://127.0.0.1:5000")
    experiment = store.client.get_experiment_by_name(sys.argv[1])
    runs = store.client.search_runs([experiment.experiment_id], "tags.key LIKE '%'") if experiment else []
    told = []
    for run in runs:
        run_id = run.info.run_id
        if run.data.tags["status"] == "superseded":
            continue
        files = store.files(run_id)
        epochs = sorted(
            (metric.step, metric.timestamp) for metric in store.client.get_metric_history(run_id, "train_loss")
        )
        told.append(
            {
                "name": run.info.run_name,
                "key": run.data.tags["key"],
                "status": [run.info.status, run.data.tags["status"]],
                "steps": [step for step, _ in epochs],
                "pause": max((after - before for (_, before), (_, after) in pairwise(epochs)), default=0) / 1000,
                "files": sorted(files),
                "findings": [each.path for each in store.client.list_artifacts(run_id, "analysis")],
                "curves": unsealed(files["curves.json"]) if "curves.json" in files else None,
            }
        )
    print("told", json.dumps(sorted(told, key=lambda each: each["name"])))


if __name__ == "__main__":
    main()
