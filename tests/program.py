"""A program as somebody else may write it, with nothing but Python: it plans a study, runs it, and reads what came out.

python tests/program.py sweeps/simple_cnn.py --quick
"""

import json
import subprocess
import sys


def plan(command):
    """Return what the study would run."""
    return json.loads(subprocess.run([*command, "--dry-run", "--json"], check=True, capture_output=True).stdout)


def run(command):
    """Run the study; yield its events as they come."""
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as study:
        yield from map(json.loads, study.stdout)


def main(arguments):
    command = [sys.executable, *arguments]
    planned = plan(command)
    assert planned["version"] == 1
    print(f"{planned['study']}: {planned['trials']} trials")
    names = {}
    for event in run(command):
        match event:
            case {"event": "started", "key": key, "trial": trial}:
                names[key] = trial
            case {"event": "ended", "key": key, "status": "done", "validation": {"mean": mean}}:
                print(f"{names[key]}: {100 * mean:.1f} %")
            case {"event": "ended", "key": key, "status": status}:
                print(f"{names[key]}: {status}")
            case {"event": "decided", "stage": stage, "winner": {"value": value}}:
                print(f"{stage}: {value} wins")
            case {"event": "end", "status": status, "report": report}:
                print(f"{status}: {report}")


if __name__ == "__main__":
    main(sys.argv[1:])
