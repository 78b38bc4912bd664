"""All analyses by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import jobs
from analysis.jobs import FILES, JOBS, kind, make, option_types
from analysis.jobs.compare import Compare
from trainables.errors import UserError


def test_every_file_of_the_folder_is_listed_once():
    there = {path.stem for path in Path(jobs.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(FILES.values()) == sorted(there)


def test_the_names_that_users_type_and_their_order_in_a_report():
    known = (
        "contact_sheet mistakes occlusion grad_cam filters ablation filters_drawn feature_maps neighbours tsne compare"
    )
    assert [name for name in JOBS if name in known.split()] == known.split()
    assert {name for name in known.split() if kind(name).together} == {"neighbours", "tsne", "compare"}


def test_jobs_are_made_by_name_with_their_options():
    assert list(JOBS) == [kind(name).name for name in JOBS]
    [job] = make({"occlusion": {"windows": (5,)}})
    assert job == kind("occlusion")(windows=(5,))


def test_options_are_known_with_their_types():
    assert option_types("occlusion") == {
        "windows": "tuple[int, ...] | None",
        "per_class": "int",
        "fill": "str",
        "stride": "int | None",
    }
    assert kind("compare") is Compare


def test_what_most_studies_ask_is_checked_without_torch_and_matplotlib():
    """Which take two seconds: a command that finds all done does without."""
    code = (
        "import sys, analysis.jobs as j; j.make({'mistakes': {}}); print({'torch', 'matplotlib'} & sys.modules.keys())"
    )
    variables = os.environ | {"PYTHONPATH": str(Path(jobs.__file__).parents[2])}
    end = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert end.stdout == "set()\n"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"occlusoin": {}}, "there is no analysis 'occlusoin'; did you mean 'occlusion'?"),
        ({"occlusion": {"window": 3}}, "analysis occlusion has no option 'window'; did you mean 'windows'?"),
        (
            {"occlusion": {"per_class": "two"}},
            "analysis occlusion: per_class is 'two', but must be a whole number",
        ),
        ({"occlusion": {"per_class": True}}, "analysis occlusion: per_class is True, but must be a whole number"),
        (
            {"occlusion": {"windows": (3, "5")}},
            "analysis occlusion: windows is (3, '5'), but must be whole numbers or None",
        ),
        ({"tsne": {"perplexity": "30"}}, "analysis tsne: perplexity is '30', but must be a number"),
        ({"grad_cam": {"layer": 3}}, "analysis grad_cam: layer is 3, but must be a text or None"),
    ],
)
def test_what_is_no_job_is_refused_in_one_line(wanted, message):
    with pytest.raises(UserError) as caught:
        make(wanted)
    assert str(caught.value) == message


def test_values_of_the_written_types_are_taken():
    made = make({"occlusion": {"windows": [3, 5], "stride": None}, "tsne": {"perplexity": 30}, "filters": {"maps": 2}})
    assert [job.name for job in made] == ["occlusion", "tsne", "filters"]
