"""Runs an example with other options: `python run_example.py EXAMPLE WORKERS OUT [KILL_AFTER]`.

With `KILL_AFTER`, the process kills itself after so many computed results.
"""

import os
import runpy
import signal
import sys

import hpo

example, workers, out, *kill_after = sys.argv[1:]
tune = hpo.tune


class Kill(hpo.Observer):
    left = int(kill_after[0]) if kill_after else -1

    def segment(self, segment):
        self.left -= segment.computed
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def with_options(*arguments, **options):
    given = {"workers": int(workers), "out": out, "report": False, "observer": Kill()}
    return tune(*arguments, **{**options, **given})


if __name__ == "__main__":
    hpo.tune = with_options
    runpy.run_path(example, run_name="__main__")
