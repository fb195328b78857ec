import json
import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import optuna
import pytest
from driver import FLOATS, MIXED, drive, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.registry import to_table
from hpo.core.segments import Segment
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pruners import (
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import CMAES, GP, QMC, TPE, Random


def roots(run):
    return [dict(segment.hparams) for segment in run.segments if segment.interval == 0]


def test_later_proposals_differ_from_random_search():
    of = problem(10, 2, concurrency=5)
    tpe, random = roots(drive(OptunaSearch(), of)), roots(drive(RandomSearch(), of))
    assert tpe[:5] == random[:5]
    assert all(mine != theirs for mine, theirs in zip(tpe[5:], random[5:], strict=True))


def bare_loop(of, sampler, pruner, initial, first_step, diverges, suggest=None):
    """Optuna's own ask and tell, for the rounds of virtual time; returns proposals and trained intervals by trial."""
    seed = of.streams.key("sampler") % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            direction="maximize", sampler=sampler(seed), pruner=pruner(), study_name=f"hpo-{seed}"
        )
        for slot in range(initial):
            study.enqueue_trial(of.hparams(slot))
        prunes = pruner is not optuna.pruners.NopPruner
        proposed, trained, running = [], [], []
        left = of.budget
        while True:
            while len(running) < of.concurrency and left >= of.intervals:
                trial = study.ask() if suggest else study.ask(of.space.to_optuna())
                running.append(trial)
                proposed.append(of.space.cast(suggest(trial) if suggest else trial.params))
                trained.append(0)
                left -= of.intervals
            if not running:
                return proposed, trained
            for trial in sorted(running, key=lambda trial: trial.number):
                number, interval = trial.number, trained[trial.number]
                segment = Segment(number, None, interval, proposed[number])
                trained[number] += 1
                over = trained[number] == of.intervals
                if not diverges(segment):
                    trial.report(smooth(segment), interval + first_step)
                if over or (prunes and (diverges(segment) or trial.should_prune())):
                    running.remove(trial)
                    left += of.intervals - trained[number]
                    if diverges(segment):
                        study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    elif over:
                        study.tell(trial, smooth(segment))
                    else:
                        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def fourth(segment):
    return segment.member % 4 == 1


def same_as_bare(of, options, sampler, pruner=optuna.pruners.NopPruner, first_step=1, suggest=None):
    run = drive(options, of, diverges=fourth)
    members = [segment.member for segment in run.segments]
    trained = [members.count(member) for member in range(max(members) + 1)]
    assert (roots_by_member(run), trained) == bare_loop(
        of, sampler, pruner, options.initial, first_step, fourth, suggest
    )
    return run


def roots_by_member(run):
    return [dict(s.hparams) for s in sorted(run.segments, key=lambda s: s.member) if s.interval == 0]


SAMPLERS = {
    "tpe": (
        TPE(),
        lambda startup, seed: optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup, n_ei_candidates=24, multivariate=True, constant_liar=True, group=False
        ),
    ),
    "tpe-independent": (
        TPE(n_startup_trials=3, n_ei_candidates=5, multivariate=False, constant_liar=False),
        lambda startup, seed: optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=3, n_ei_candidates=5, multivariate=False, constant_liar=False
        ),
    ),
    "tpe-group": (
        TPE(group=True),
        lambda startup, seed: optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True, group=True
        ),
    ),
    "cmaes": (CMAES(), lambda startup, seed: optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup)),
    "cmaes-margin": (
        CMAES(n_startup_trials=1, popsize=4, with_margin=True),
        lambda startup, seed: optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=1, popsize=4, with_margin=True),
    ),
    "cmaes-separable": (
        CMAES(use_separable_cma=True),
        lambda startup, seed: optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, use_separable_cma=True),
    ),
    "cmaes-adapting": (
        CMAES(lr_adapt=True),
        lambda startup, seed: optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, lr_adapt=True),
    ),
    "qmc": (QMC(), lambda startup, seed: optuna.samplers.QMCSampler(seed=seed, scramble=True)),
    "qmc-halton": (
        QMC("halton", scramble=False),
        lambda startup, seed: optuna.samplers.QMCSampler(seed=seed, qmc_type="halton", scramble=False),
    ),
    "random": (Random(), lambda startup, seed: optuna.samplers.RandomSampler(seed=seed)),
}


@pytest.mark.parametrize("space", [FLOATS, MIXED], ids=["floats", "mixed"])
@pytest.mark.parametrize("initial", [0, 2, 4])
@pytest.mark.parametrize("name", SAMPLERS)
def test_it_is_a_bare_optuna_loop(name, space, initial):
    options, bare = SAMPLERS[name]
    of = problem(12, 2, space, concurrency=3)
    run = same_as_bare(of, OptunaSearch(options, initial=initial), partial(bare, initial))
    assert roots_by_member(run)[:initial] == roots_by_member(drive(RandomSearch(), of))[:initial]


def conditional(trial):
    """Define by run: the same as CONDITIONAL."""
    hparams = {"kind": trial.suggest_categorical("kind", ("sgd", "adam"))}
    if hparams["kind"] == "adam":
        hparams["beta"] = trial.suggest_float("beta", 0.9, 0.999)
    hparams["lr"] = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    if hparams["kind"] == "sgd":
        hparams["momentum"] = trial.suggest_float("momentum", 0.0, 0.99)
    return hparams


CONDITIONAL = SearchSpace(
    {
        "beta": Float(0.9, 0.999, when={"kind": "adam"}),
        "lr": Float(1e-5, 1.0, log=True),
        "momentum": Float(0.0, 0.99, when={"kind": "sgd"}),
        "kind": Categorical(("sgd", "adam")),
    }
)


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"cmaes-margin"}))
def test_conditional_hyperparameters_are_defined_by_run(name):
    options, bare = SAMPLERS[name]
    of = problem(12, 2, CONDITIONAL, concurrency=3)
    run = same_as_bare(of, OptunaSearch(options, initial=2), partial(bare, 2), suggest=conditional)
    assert {len(hparams) for hparams in roots_by_member(run)} == {3}
    assert {"beta" in hparams for hparams in roots_by_member(run)} == {True, False}


def test_a_margin_needs_a_space_of_fixed_dimension():
    with pytest.raises(OptionError) as caught:
        OptunaSearch(CMAES(with_margin=True)).start(problem(12, 2, CONDITIONAL))
    assert caught.value.option == "sampler.with_margin"


@pytest.mark.parametrize("deterministic", [False, True])
def test_gaussian_processes_are_a_bare_optuna_loop(deterministic):
    def bare(seed):
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=2, deterministic_objective=deterministic)

    options = OptunaSearch(GP(deterministic_objective=deterministic), initial=2)
    same_as_bare(problem(5, 1, FLOATS, concurrency=2), options, bare)


PRUNERS = {
    "median": (MedianPruner(2, 1), lambda: optuna.pruners.MedianPruner(2, 1), 0),
    "percentile": (
        PercentilePruner(40.0, 3, interval_steps=2, n_min_trials=2),
        lambda: optuna.pruners.PercentilePruner(40.0, 3, interval_steps=2, n_min_trials=2),
        0,
    ),
    "halving": (
        SuccessiveHalvingPruner(reduction_factor=2),
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        1,
    ),
    "hyperband": (
        HyperbandPruner(reduction_factor=2),
        lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=5, reduction_factor=2),
        1,
    ),
    "patient": (
        PatientPruner(MedianPruner(2), patience=1),
        lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(2), patience=1),
        0,
    ),
    "threshold": (ThresholdPruner(lower=-1.0), lambda: optuna.pruners.ThresholdPruner(lower=-1.0), 0),
}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
@pytest.mark.parametrize("name", PRUNERS)
def test_with_a_pruner_it_is_a_bare_optuna_loop(name, sampler):
    pruner, bare_pruner, first_step = PRUNERS[name]
    options, bare = SAMPLERS[sampler]
    search = OptunaSearch(options, pruner, initial=3)
    run = same_as_bare(problem(12, 5, FLOATS, concurrency=3), search, partial(bare, 3), bare_pruner, first_step)
    if name != "patient":  # scores here grow with training: nothing has patience to lose
        assert run.counts["pruned"] > 0


def proposals():
    """What each sampler proposes, and a GP with more than one thread to use, as one text."""
    searches = [OptunaSearch(options, initial=2) for options, _ in SAMPLERS.values()]
    runs = [drive(search, problem(7, 2, MIXED, concurrency=2)) for search in searches]
    runs.append(drive(OptunaSearch(GP(), MedianPruner(2), initial=2), problem(5, 3, FLOATS, concurrency=2)))
    return json.dumps([[segment.to_json() for segment in run.segments] for run in runs])


@pytest.mark.slow
def test_other_processes_with_other_hash_seeds_and_threads_propose_the_same():
    mine = proposals()
    for seed, threads in (("1", "1"), ("2", "2")):
        env = os.environ | {
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }
        code = "import test_optuna as t; print(t.proposals())"
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert (done.stdout.strip(), done.stderr) == (mine, "")


@pytest.mark.parametrize("sampler", [TPE(group=True), CMAES(lr_adapt=True), QMC(), QMC("halton"), Random()])
def test_all_samplers_are_quiet(sampler, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drive(OptunaSearch(sampler, MedianPruner(2), initial=2), problem(6, 3, MIXED, concurrency=2), diverges=fourth)
    assert capfd.readouterr() == ("", "")


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
    assert OptunaSearch(initial=4).resolved() == {
        "sampler_options": {
            "n_startup_trials": 4,
            "n_ei_candidates": 24,
            "multivariate": True,
            "group": False,
            "constant_liar": True,
        }
    }
    assert OptunaSearch(GP(7), initial=4).resolved()["sampler_options"]["n_startup_trials"] == 7
    assert OptunaSearch(CMAES(), initial=4).resolved()["sampler_options"] == {
        "n_startup_trials": 4,
        "popsize": None,
        "consider_pruned_trials": False,
        "use_separable_cma": False,
        "with_margin": False,
        "lr_adapt": False,
    }
    assert OptunaSearch(QMC()).resolved() == {"sampler_options": {"qmc_type": "sobol", "scramble": True}}
    assert OptunaSearch(Random()).resolved() == {"sampler_options": {}}


def test_tables_name_every_option_of_the_sampler_and_the_pruner():
    table = to_table(OptunaSearch(QMC(), PatientPruner(HyperbandPruner(), patience=2)))
    assert table["sampler"] == {"name": "qmc", "qmc_type": "sobol", "scramble": True}
    assert table["pruner"] == {
        "name": "patient",
        "wrapped": {"name": "hyperband", "min_resource": 1, "reduction_factor": 3, "bootstrap_count": 0},
        "patience": 2,
        "min_delta": 0.0,
    }


@pytest.mark.parametrize(
    ("sampler", "options", "named"),
    [
        (TPE, {"multivariate": False, "group": True}, "group"),
        (CMAES, {"with_margin": True, "lr_adapt": True}, "lr_adapt"),
        (CMAES, {"use_separable_cma": True, "with_margin": True}, "with_margin"),
    ],
)
def test_options_that_exclude_each_other(sampler, options, named):
    with pytest.raises(OptionError) as caught:
        sampler(**options)
    assert caught.value.option == named


def test_only_its_own_module_imports_optuna_and_none_imports_torch():
    code = (
        "import sys, hpo.optimizers, hpo.optimizers.pbt, hpo.optimizers.random_search;"
        "assert not {'optuna', 'torch'} & set(sys.modules);"
        "import hpo.optimizers.optuna; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
