"""Hand a job to a Ray cluster, follow its log, and end with its exit code.

    python jobs/submit.py --address http://HEAD:8265 -- jobs/distill.py scenes --workers 8

The code of this folder travels with it (cluster/runtime-env.yaml). While the same command is running, it is
not submitted again but followed; once it has ended, submitting it again goes on from its last snapshot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jointdistill.launch.command import carry_out, fill
from jointdistill.launch.submit import Submission, show_on_console, submit


def main(arguments: Sequence[str]) -> None:
    """Submit what stands after `--`."""
    words = [*arguments, "--"]
    flags, command = words[: words.index("--")], words[words.index("--") + 1 : -1]
    asked = fill(Submission(tuple(command)), __doc__ or "", flags)
    sys.exit(submit(asked, show_on_console))


if __name__ == "__main__":
    carry_out(main)
