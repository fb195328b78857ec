"""Packages with trackers of their own, and W&B without a network."""

import sys

import pytest

from hpo.core.registry import trackers


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that installs a package with trackers, given as source, by entry points."""

    def install(source, *names):
        folder = tmp_path / "site"
        info = folder / "own_trackers-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "own_trackers.py").write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-trackers\nVersion: 1.0\n")
        points = "".join(f"{name} = own_trackers:{cls}\n" for name, cls in names)
        (info / "entry_points.txt").write_text(f"[hpo.trackers]\n{points}")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return folder

    yield install
    sys.modules.pop("own_trackers", None)
    for name in set(trackers._classes) - set(trackers._builtin):
        del trackers._classes[name]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Keep W&B offline, and its files in the test's folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
