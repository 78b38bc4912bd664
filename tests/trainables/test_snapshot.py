import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.files import zipped
from trainables.history import History, Record
from trainables.snapshot import CURVES, PER_CLASS, STATE, TRIAL, WEIGHTS, curves, records, state_file

RECORD = Record(1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.1, 1000.0, 1.0, (0.5, None))


def test_names_are_those_that_stored_runs_have():
    assert (CURVES, PER_CLASS, STATE) == ("curves.json", "per_class.json", "state.zip")
    assert (WEIGHTS, TRIAL) == ("checkpoint/weights.safetensors", "checkpoint/trial.json")
    assert state_file(12) == "state/seed-12.safetensors"


def test_records_of_all_replicates_are_counted():
    form = json.dumps(History({0: (RECORD,) * 3, 7: (RECORD,)}).to_dict())
    state = zipped({CURVES: form.encode(), state_file(0): b"x"})
    assert records(state) == 4
    assert curves(state) == form.encode()


@pytest.mark.parametrize(
    "state",
    [b"", b"x" * 100, zipped({}), zipped({CURVES: b"{"}), zipped({CURVES: b"[]"}), zipped({CURVES: b'{"seeds": [1]}'})],
)
def test_a_damaged_state_is_said_to_be_one(state):
    with pytest.raises(ValueError, match=r"not whole|has no curves\.json|Expecting|must have entries|cannot be read"):
        records(state)


def test_the_layout_needs_no_torch():
    code = "import sys, trainables.snapshot; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
