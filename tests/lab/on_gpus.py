"""The study of wide.py on GPUs that only Ray believes in: it places its trials as on real ones, and they train on the
CPU.
"""

from sweeps.execution import messages
from sweeps.main import main
from tests.lab.wide import STUDY

if __name__ == "__main__":
    messages.Place.device = "cpu"  # type: ignore[method-assign, assignment]  # which the driver writes into orders
    main(STUDY)
