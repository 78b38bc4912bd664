"""What a worker of a Ray on this machine loads as it starts, while the driver still asks MLflow: Ray imports this.

It is what takes a worker longest to its first step. The Tracker does without torch, and says so in its environment.
"""

import os

from sweeps.execution.tracker_actor import LIGHT

if LIGHT not in os.environ:
    import sweeps.execution.worker  # noqa: F401
