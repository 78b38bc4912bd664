"""What the start on a folder of many small images costs: python -m tests.benchmarks.folders [--images N] [--rounds R]

Noise as PNGs of 32×32 pixels in ten class folders, each start a process of its own. The peer is a loop over
torchvision's ImageFolder that decodes each image into an array, in the same run. A start is a plan's question for the
shape, then reading: the first one decodes and keeps, later ones find and verify. With `--cold` the files are put out of
the system's memory before each start (needs root).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CLASSES = 32, 10


def write(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(count // CLASSES):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number:05}.png")


def peer(root: Path) -> dict[str, float]:
    """Return the seconds of ImageFolder's own way: listing, then one image after another."""
    from torchvision.datasets import ImageFolder

    begin = time.perf_counter()
    folder = ImageFolder(str(root))
    images = np.empty((len(folder), SIDE, SIDE, 3), np.uint8)
    for position in range(len(folder)):
        images[position] = folder[position][0]
    return {"whole": time.perf_counter() - begin}


def start(root: Path, data_dir: Path) -> dict[str, float]:
    """Return the seconds of a start, by step."""
    from trainables import datasets

    times = [time.perf_counter()]
    found = datasets.find(f"folder:{root}", data_dir)
    times.append(time.perf_counter())
    shape = found.image_shape
    times.append(time.perf_counter())
    data = found.load()
    times.append(time.perf_counter())
    if shape != (3, SIDE, SIDE) or data.mapped is None:
        raise ValueError(f"not the images that were written: {shape}, {data.mapped}")
    listing, headers, reading = np.diff(times).tolist()
    return {"listing": listing, "shape": headers, "reading": reading, "whole": times[-1] - times[0]}


def measured(what: str, root: Path, data_dir: Path, cold: bool) -> dict[str, float]:
    """Return what one process measures."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    code = (
        "import json, sys; from pathlib import Path; from tests.benchmarks import folders\n"
        f"print(json.dumps(folders.{what}(*map(Path, sys.argv[1:]))))"
    )
    places = [root] if what == "peer" else [root, data_dir]
    ended = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def median(found: list[dict[str, float]]) -> dict[str, float]:
    return {step: statistics.median(each[step] for each in found) for step in found[0]}


def told(name: str, times: dict[str, float], whole: float) -> str:
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in times.items() if step != "whole")
    return f"{name:20} {times['whole']:6.2f} s  {whole / times['whole']:5.1f} × the peer  {steps}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "own"
        write(root, options.images)
        peers, firsts, laters = [], [], []
        for number in range(options.rounds):
            data_dir = Path(folder) / f"data{number}"
            peers.append(measured("peer", root, data_dir, options.cold))
            firsts.append(measured("start", root, data_dir, options.cold))
            laters.append(measured("start", root, data_dir, options.cold))
    whole = median(peers)["whole"]
    for name, found in (("ImageFolder", peers), ("first start", firsts), ("later starts", laters)):
        print(told(name, median(found), whole), flush=True)


if __name__ == "__main__":
    main()
