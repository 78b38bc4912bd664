"""A program as somebody else may write it, with nothing but Python: it plans, runs and steers a study, and reads what
came out.

python tests/program.py sweeps/simple_cnn.py --quick
python tests/program.py --drop "activation: none" sweeps/simple_cnn.py --quick
"""

import json
import subprocess
import sys
from pathlib import Path


def plan(command):
    """Return what the study would run."""
    return json.loads(subprocess.run([*command, "--dry-run", "--json"], check=True, capture_output=True).stdout)


def run(command):
    """Run the study; yield its events as they come."""
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as study:
        yield from map(json.loads, study.stdout)


def steer(command, study, *act):
    """Ask for an act while the study runs; return the answer."""
    python, program, *_ = command
    asked = subprocess.run([python, Path(program).with_name("steer.py"), study, *act], capture_output=True, text=True)
    return asked.stdout if asked.returncode == 0 else asked.stderr


def main(arguments):
    drop = arguments[1] if arguments[0] == "--drop" else None
    command = [sys.executable, *arguments[2 if drop else 0 :]]
    planned = plan(command)
    assert planned["version"] == 1
    print(f"{planned['study']}: {planned['trials']} trials")
    for event in run(command):
        match event:
            case {"event": "stored"} if drop:
                print(steer(command, planned["study"], "drop", drop, "--reason", "not wanted"), end="")
            case {"event": "ended", "trial": trial, "status": "done", "validation": {"mean": mean}}:
                print(f"{trial}: {100 * mean:.1f} %")
            case {"event": "ended", "trial": trial, "status": status}:
                print(f"{trial}: {status}")
            case {"event": "decided", "stage": stage, "winner": {"value": value}}:
                print(f"{stage}: {value} wins")
            case {"event": "end", "status": status, "report": report}:
                print(f"{status}: {report}")


if __name__ == "__main__":
    main(sys.argv[1:])
