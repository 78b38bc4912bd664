"""Part B. What has Part A's best network learned, and what are its filters worth?

    python sweeps/part_b.py                      # the best trial of part_a on validation
    python sweeps/part_b.py RUN --num-gpus 1     # another finished trial

Where does it look (occlusion), what do its filters answer to (the images and patches of the highest response), and what
happens without them (ablation)?
"""

import sys

from sweeps.analyse import Analyses, run

# the first three filters of conv 1 and of conv 2, and the first four of conv 3, as in the report
FILTERS = "conv1:0,1,2 conv2:0,1,2 conv3:0,1,2,3"
ANALYSES: Analyses = {
    "occlusion": {"windows": (3, 5, 7, 9), "per_class": 2, "fill": "gray"},
    "filters": {"filters": FILTERS, "norm": "sum", "top": 100},
    "ablation": {"filters": FILTERS, "fill": "zero"},
}

if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console(), ANALYSES, default="part_a")))
