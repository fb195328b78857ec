"""Changes to a study file that would alter finished work."""

from collections.abc import Mapping
from typing import Any

from hpo.core.registry import to_table
from hpo.study.identity import search_options
from hpo.study.spec import Arm, StudySpec, plain

_ABSENT = object()


def resolved(spec: StudySpec) -> dict[str, Any]:
    """Return a study as a document with all defaults, except `[comparison]`, which alters no work."""
    return {
        "study": {
            "name": spec.name,
            "seeds": list(spec.seeds),
            "population_size": spec.population_size,
            "budget": float(spec.budget),
            "interval": float(spec.interval),
            "initial": [dict(hparams) for hparams in spec.initial],
            "retrains": spec.retrains,
        },
        "task": {
            "name": spec.bound.name,
            **plain(spec.bound.identity["options"]),
            **search_options(spec.task),
            "search_space": spec.space.to_json(),
        },
        "arms": [_arm(arm) for arm in spec.arms],
    }


def _arm(arm: Arm) -> dict[str, Any]:
    derived = {} if arm.replay is None else {"derived_from": arm.derived_from, "replay": arm.replay}
    return {
        "label": arm.label,
        **derived,
        "optimizer": arm.optimizer_name,
        "stream": arm.stream,
        "concurrency": arm.concurrency,
        "without": list(arm.without),
        **to_table(arm.optimizer),
    }


def begun_part(document: Mapping[str, Any], seeds: set[int], arms: set[str]) -> dict[str, Any]:
    """Return a resolved document without the seeds and arms that have not begun.

    Args:
        document: the result of `resolved`.
        seeds: the seeds that have begun.
        arms: the labels of the arms that have begun.
    """
    study = {**document["study"], "seeds": [seed for seed in document["study"]["seeds"] if seed in seeds]}
    return {**document, "study": study, "arms": [arm for arm in document["arms"] if arm["label"] in arms]}


def with_trials_of(spec: StudySpec, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved document of a function with the number of trials of a study that has more of them.

    More trials alter no finished one: an optimizer that asks for the same trials again gets them from the store.
    """
    before, now = document["study"]["population_size"], spec.population_size
    defaults = {
        arm.label: (arm.optimizer.default_concurrency(before), arm.optimizer.default_concurrency(now))
        for arm in spec.arms
    }
    arms = [
        {**arm, "concurrency": new} if arm["concurrency"] == old else arm
        for arm in document["arms"]
        for old, new in [defaults.get(arm["label"], (None, None))]
    ]
    return {**document, "study": {**document["study"], "population_size": now}, "arms": arms}


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study document's leaf values by dotted key; arms are named by label, other tables in lists by position.

    >>> flatten({"arms": [{"label": "pbt", "selection": {"name": "none"}}]})
    {'arms[pbt].label': 'pbt', 'arms[pbt].selection.name': 'none'}
    """
    leaves: dict[str, Any] = {}

    def walk(key: str, value: Any) -> None:
        if isinstance(value, Mapping) and (value or not key):
            for name, item in value.items():
                walk(f"{key}.{name}" if key else str(name), item)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                label = item.get("label", index) if key == "arms" and isinstance(item, Mapping) else index
                walk(f"{key}[{label}]", item)
        else:
            leaves[key] = plain(value)

    walk("", document)
    return leaves


def differing(before: Mapping[str, Any], after: Mapping[str, Any], absent: object = None) -> dict[str, tuple[Any, Any]]:
    """Return the leaf values in which two nested mappings differ, by dotted key, with `absent` for missing ones."""
    old, new = flatten(before), flatten(after)
    pairs = {key: (old.get(key, absent), new.get(key, absent)) for key in sorted({*old, *new})}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def changed_keys(old_document: Mapping[str, Any], new_document: Mapping[str, Any]) -> list[str]:
    """Return the changes between two study documents that would alter finished work, one line each.

    More seeds, new arms, the order of keys, another way to write the same seeds, and changes of `[comparison]` alter none.

    >>> changed_keys({"study": {"interval": 0.5}}, {"study": {"interval": 1.0}})
    ['study.interval: 0.5 -> 1.0']
    """
    old, new = (_settings(document) for document in (old_document, new_document))
    old_arms, new_arms = (_labels(document) for document in (old_document, new_document))
    lines = []
    removed = sorted(_seeds(old_document) - _seeds(new_document))
    if removed:
        lines.append(f"study.seeds: removed {', '.join(map(str, removed))}")
    lines += [f"arms[{label}]: removed" for label in old_arms if label not in new_arms]
    others = tuple(f"arms[{label}]." for label in {*old_arms} ^ {*new_arms})
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if not key.startswith(others) and not _same(before, after):
            lines.append(f"{key}: {_spelled(before)} -> {_spelled(after)}")
    return lines


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    leaves = flatten({name: value for name, value in document.items() if name != "comparison"})
    return {key: value for key, value in leaves.items() if key not in ("study.seeds", "study.replicates")}


def _labels(document: Mapping[str, Any]) -> list[object]:
    return [arm.get("label", index) for index, arm in enumerate(document.get("arms", []))]


def _seeds(document: Mapping[str, Any]) -> set[int]:
    study = document.get("study", {})
    seeds = study.get("seeds")
    return set(range(study.get("replicates") or 1) if seeds is None else seeds)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return before == after and isinstance(before, bool) == isinstance(after, bool)


def _spelled(value: Any) -> str:
    return "(absent)" if value is _ABSENT else repr(value)
