"""Part B. What has Part A's best network learned, and what are its filters worth?

    python sweeps/part_b.py                      # the best trial of part_a on validation (else of part_a --quick)
    python sweeps/part_b.py RUN --num-gpus 1     # another finished trial, of any depth

Where does it look (occlusion), what do its filters answer to (the images and patches of the highest response), and what
happens without them (ablation)?
"""

import sys

from sweeps.analyse import Analyses, run

# Filters by place: as in the report the first three of the first convolution and of the second, and the first four of
# the third; of a residual network the first three of each stage's last. Windows of 3 to 9 pixels on small images.
ANALYSES: Analyses = {
    "occlusion": {"per_class": 2, "fill": "gray"},
    "filters": {"norm": "sum", "top": 100},
    "ablation": {"fill": "zero"},
}

if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console(), ANALYSES, default="part_a")))
