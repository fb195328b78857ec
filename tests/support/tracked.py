"""Readers of what trackers have written, each with the tool's own library."""

import csv
import json
from collections import Counter
from contextlib import suppress

import pytest

KINDS = ("metric", "hparam", "lineage", "test")


def segments_of(run_dir):
    """Return what segments.csv holds: numbers by place and name, as trackers call them."""
    found = {}
    with (run_dir / "segments.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = int(row["seed"]), row["arm"], int(row["member"]), int(row["interval"])
            numbers = {}
            for name, cell in row.items():
                kind, _, short = name.partition(":")
                if kind in ("hparam", "metric"):
                    with suppress(ValueError):  # a text, or empty
                        numbers[f"{kind}/{short}"] = float(cell)
            numbers["lineage/parent_member"] = float(row["parent_member"] or row["member"])
            numbers["lineage/diverged"] = float(row["diverged"])
            found[place] = numbers
    return found


def in_tensorboard(folder):
    """Return (numbers by place, tests by seed and arm) that event files hold; fails unless each is there once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found, tests = {}, {}
    for path in sorted({path.parent for path in folder.rglob("*tfevents*")}):
        names = path.relative_to(folder).parts
        if not names:
            continue
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            scalars = events.Scalars(tag)
            assert len({each.step for each in scalars}) == len(scalars), f"{path}, {tag}: a step is there twice"
            for each in scalars:
                seed = int(names[1].removeprefix("seed-"))
                if len(names) == 2:
                    tests.setdefault((seed, names[0]), {})[tag] = each.value
                else:
                    place = seed, names[0], int(names[2].removeprefix("member-")), each.step - 1
                    found.setdefault(place, {})[tag] = each.value
    return found, tests


def in_mlflow(uri, experiment="small"):
    """Return the same as `in_tensorboard` of a tracking store."""
    from mlflow import MlflowClient

    client, found, tests = MlflowClient(tracking_uri=uri), {}, {}
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    for run in runs:
        tags = run.data.tags
        for key in run.data.metrics:
            metrics = client.get_metric_history(run.info.run_id, key)
            assert len({each.step for each in metrics}) == len(metrics), f"{tags}, {key}: a step is there twice"
            for each in metrics:
                at = int(tags["hpo.seed"]), tags["hpo.arm"]
                if "hpo.member" in tags:
                    found.setdefault((*at, int(tags["hpo.member"]), each.step - 1), {})[key] = each.value
                else:
                    tests.setdefault(at, {})[key] = each.value
    keys = Counter((tags["hpo.seed"], tags["hpo.arm"], tags.get("hpo.member")) for tags in (r.data.tags for r in runs))
    assert set(keys.values()) == {1}, "a run is there twice"
    return found, tests


def in_wandb(folder):
    """Return the same of the offline files of W&B, read by the service that uploads them."""
    from wandb.proto.wandb_internal_pb2 import Record

    from hpo.trackers.wandb import _records

    found, tests, seen = {}, {}, Counter()
    for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
        for data in _records(path.read_bytes()):
            items = {
                item.key or "/".join(item.nested_key): item.value_json for item in Record.FromString(data).history.item
            }
            if "hpo/place" in items:
                seed, arm, member, interval = json.loads(items["hpo/place"])
                seen[seed, arm, member, interval] += 1
                numbers = {key: json.loads(text) for key, text in items.items() if key.split("/")[0] in KINDS}
                (tests if member is None else found)[
                    (seed, arm) if member is None else (seed, arm, member, interval)
                ] = numbers
    assert set(seen.values()) <= {1}, "a segment is there twice"
    return found, tests


def same(found, expected):
    """Return whether the numbers are those expected, up to the 32 bits of TensorBoard."""
    assert found.keys() == expected.keys()
    for place, numbers in expected.items():
        assert found[place] == pytest.approx(numbers, rel=1e-6), place
