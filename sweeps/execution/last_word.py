"""A process of its own that has the last word where a command's own process was ended too fast to say anything.

    python last_word.py

Ray's C++ part ends a process so, and so does SIGKILL: then the standard input ends without a ".".
"""

from __future__ import annotations

import contextlib
import os
import sys

SAID = b"."  # by the command, which has said itself what there was to say
GO_ON = "each trial's last snapshot is kept; the same command goes on from there"
LINE = f"Ray on this machine, or this command with it, was killed: {GO_ON}\n"


def main() -> None:
    """Wait for the command's end, and say the line where the command could not."""
    if sys.stdin.buffer.read() != SAID:
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(2, LINE.encode())


if __name__ == "__main__":
    main()
