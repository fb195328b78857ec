"""Runs the quick studies of `studies/` and draws their figures for docs/reference/studies.md: about six minutes on two cores.

    python docs/figures/studies.py [FOLDER]

With a FOLDER, the runs are kept there, and only what is missing is computed. On the same kind of processor, the figures are
the same each time, byte for byte.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from picture import save

from hpo.report.data import load_run
from hpo.report.figures import canvas
from hpo.report.figures.gallery import draw

STUDIES = Path(__file__).parents[2] / "studies"
QUICK = ("toy_figure2", "known_answers", "digits_quick", "mnist_quick", "cartpole_quick")


def main(folder):
    files = [STUDIES / f"{name}.toml" for name in QUICK]
    subprocess.run([sys.executable, "-m", "hpo.run", *files, "--no-report"], cwd=folder, check=True)
    for run_dir in sorted((folder / "runs").iterdir()):
        with canvas.look():
            figure = draw(load_run(run_dir), "differences" if "tie" in run_dir.name else "incumbent", None)
            save(figure, f"study_{run_dir.name}", width=800)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
