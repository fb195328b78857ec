import subprocess
import sys
import warnings

import optuna
import pytest
from driver import FLOATS, MIXED, drive, problem, smooth

from hpo.errors import OptionError
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.random_search import RandomSearch
from hpo.segments import Segment


def roots(run):
    return [dict(segment.hparams) for segment in run.segments if segment.interval == 0]


def test_later_proposals_differ_from_random_search():
    of = problem(10, 2, concurrency=5)
    tpe, random = roots(drive(OptunaSearch(), of)), roots(drive(RandomSearch(), of))
    assert tpe[:5] == random[:5]
    assert all(mine != theirs for mine, theirs in zip(tpe[5:], random[5:], strict=True))


@pytest.mark.parametrize("space", [FLOATS, MIXED])
@pytest.mark.parametrize("initial", [0, 2, 4])
def test_it_is_a_bare_optuna_loop(space, initial):
    n, concurrency, intervals = 11, 3, 2
    of = problem(n, intervals, space, concurrency=concurrency)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=of.streams.key("sampler") % 2**32,
            n_startup_trials=initial,
            n_ei_candidates=24,
            multivariate=True,
            constant_liar=True,
            group=False,
        ),
    )
    for slot in range(initial):
        study.enqueue_trial(of.hparams(slot))
    expected = []
    for start in range(0, n, concurrency):
        trials = [study.ask(space.to_optuna()) for _ in range(start, min(start + concurrency, n))]
        for trial in trials:
            hparams = space.cast(trial.params)
            expected.append(hparams)
            if trial.number % 4 == 1:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, smooth(Segment(trial.number, None, intervals - 1, hparams)))
    run = drive(OptunaSearch(initial=initial), of, diverges=lambda segment: segment.member % 4 == 1)
    assert roots(run) == expected


def test_it_learns():
    run = drive(OptunaSearch(), problem(60, 1, concurrency=5))
    distances = [abs(smooth(segment)) for segment in run.segments]
    assert sum(distances[40:]) < 0.5 * sum(distances[:20])


def test_it_is_quiet_and_leaves_the_users_verbosity(capfd):
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drive(OptunaSearch(initial=2), problem(6, 2, MIXED), diverges=lambda segment: segment.member == 1)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_concurrency_is_the_initial_population_and_at_least_one():
    assert OptunaSearch(initial=5).default_concurrency(15) == 5
    assert OptunaSearch(initial=5).default_concurrency(3) == 3
    assert OptunaSearch(initial=0).default_concurrency(3) == 1


@pytest.mark.parametrize("initial", [-1, 6])
def test_initial_must_fit_the_population(initial):
    with pytest.raises(OptionError, match="initial"):
        OptunaSearch(initial=initial).start(problem(5, 2))


def test_resolved_names_the_options():
    resolved = OptunaSearch(initial=4).resolved()
    assert resolved["sampler_options"]["n_startup_trials"] == 4


def test_only_its_own_module_imports_optuna_and_none_imports_torch():
    code = (
        "import sys, hpo.optimizers, hpo.optimizers.pbt, hpo.optimizers.random_search;"
        "assert not {'optuna', 'torch'} & set(sys.modules);"
        "import hpo.optimizers.optuna; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
