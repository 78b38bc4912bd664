"""Ray's own processes are killed."""

import os
import re
import signal

import pytest

from tests.faults.site import FAULT, TRAINING, until

pytestmark = FAULT
# by the command, or in its place where Ray's C++ part ended it first
LINE = r"Ray on this machine (has ended \(its {} is gone\)|, or this command with it, was killed): each trial's .*"
RAYLET, GCS = "raylet/raylet", "gcs/gcs_server"


@pytest.mark.parametrize(("title", "name"), [(RAYLET, "raylet"), (GCS, "gcs_server")])
def test_a_study_whose_ray_is_killed_says_so_in_one_line_and_goes_on_with_the_same_command(
    site, undisturbed, title, name
):
    process = site.start()
    until(lambda: site.trained() > 15 and site.processes(process, TRAINING))
    [killed] = site.processes(process, title)
    os.kill(killed, signal.SIGKILL)
    status, said = site.end(process, timeout=30)
    assert status == 1
    until(lambda: re.fullmatch(LINE.format(name), site.said.read_text().splitlines()[-1]), seconds=5)
    assert said.count("Ray on this machine") == 1
    for raw in ("raylet)", "Traceback", "rpc_client", "Error", "state-dump"):
        assert raw not in said
    status, said = site.run()
    assert status == 0, said
    assert site.outcome() == undisturbed
