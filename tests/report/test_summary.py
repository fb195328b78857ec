"""A result in a few lines, and its figures as objects."""

import re
from pathlib import Path

import helpers
import matplotlib.pyplot as plt
import pytest

import hpo

PNG = b"\x89PNG"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cells(html: str) -> list[str]:
    return re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> hpo.StudyResult:
    return helpers.run(helpers.document(replicates=3), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> hpo.StudyResult:
    space = {"<i>x</i>": hpo.Float(0, 1), "kind": hpo.Categorical(["<b>", "&"])}

    def objective(hparams: dict[str, float]) -> float:
        return hparams["<i>x</i>"] if hparams["kind"] == "<b>" else float("nan")

    return hpo.tune(objective, space, trials=9, out=tmp_path_factory.mktemp("tuned"), report=False)


def test_the_answer_comes_first(compared: hpo.StudyResult, tuned: hpo.StudyResult) -> None:
    verdict, first, *others = repr(compared).splitlines()
    best = compared.best
    assert best is not None
    assert "cannot show a difference between pbt and random" in verdict
    assert f"best validation score {best.value:.4g}, test score {best.test['score']:.4g}" in first
    assert (f"arm {best.arm}, seed {best.seed}" in first, "h0 = " in first) == (True, True)
    assert "3 seeds" in others[-1]
    first, last = repr(tuned).splitlines()
    assert tuned.best is not None
    assert f"best value {tuned.best.value:.4g}: " in first
    diverged = int(tuned.frame()["diverged"].sum())
    assert last == f"objective: 9 trials, tpe, {diverged} diverged, in {tuned.run_dir}"


def test_a_notebook_shows_small_tables_with_everything_escaped(
    compared: hpo.StudyResult, tuned: hpo.StudyResult
) -> None:
    html = tuned._repr_html_()
    assert tuned.best is not None
    assert cells(html) == ["&lt;i&gt;x&lt;/i&gt;", f"{tuned.best.value:.4g}", "kind", "&lt;b&gt;"]
    html = compared._repr_html_()
    assert {"random", "pbt"} <= {*cells(html)}
    assert html.index("cannot show a difference") < html.index("best validation score")
    assert not re.search(r"src|href|script|http", html)


class Shrinking:
    def __init__(self, hparams: dict[str, float]) -> None:
        self.left = 1.0

    def train(self, batches: range, hparams: dict[str, float]) -> None:
        self.left *= 1 - hparams["rate"] / 2

    def evaluate(self) -> dict[str, float]:
        return {"loss": self.left}


def test_nothing_is_called_a_test_where_there_is_no_test_set(tmp_path: Path) -> None:
    space = {"rate": hpo.Float(0, 1)}
    result = hpo.tune(Shrinking, space, optimizer="random_search", population_size=3, budget=2, out=tmp_path)
    assert "best validation loss" in repr(result)
    assert "test" not in repr(result).replace(str(tmp_path), "")
    text = (tmp_path / "report.md").read_text()
    assert "test" not in text.replace("this task has no test set", "").replace("test-set openings | 0 | 0", "")


def test_of_a_study_that_finished_nothing_there_is_no_answer(tmp_path: Path) -> None:
    result = helpers.run(helpers.document(), tmp_path, seeds=[])
    assert "no replicate has finished" in repr(result).splitlines()[1]
    assert "no replicate has finished" in result._repr_html_()


def test_the_best_shows_its_hyperparameters_in_full(compared: hpo.StudyResult) -> None:
    best = compared.best
    assert best is not None
    assert f"hparams={dict(best.hparams)}" in repr(best)
    assert len(repr(best)) < 250


def test_figures_are_drawn_without_a_file_or_global_state(compared: hpo.StudyResult, tuned: hpo.StudyResult) -> None:
    before = files(compared.run_dir) | files(tuned.run_dir)
    figures = [compared.figure(name) for name in ("incumbent", "pairs", "differences", "validation", "schedule")]
    figures += [tuned.figure(name) for name in ("incumbent", "trials", "hyperparameters")]
    assert all(figure._repr_png_().startswith(PNG) for figure in figures)  # type: ignore[attr-defined]
    assert not plt.get_fignums()
    assert files(compared.run_dir) | files(tuned.run_dir) == before
    titles = {compared.figure("validation", seed).get_suptitle() for seed in range(3)}
    assert len(titles) == 3
    assert compared.best is not None
    assert str(compared.best.seed) in compared.figure("validation").get_suptitle()


@pytest.mark.parametrize(
    ("name", "seed", "words"),
    [
        ("validatoin", None, "did you mean 'validation'"),
        ("validation", 7, r"\[0, 1, 2\]"),
        ("anytime", None, "nothing to show"),
    ],
)
def test_a_figure_that_is_not_there_is_named(
    compared: hpo.StudyResult, name: str, seed: int | None, words: str
) -> None:
    with pytest.raises(hpo.InputError, match=words):
        compared.figure(name, seed)
