import helpers
import pytest


@pytest.fixture(scope="session")
def serially(tmp_path_factory):
    """Return the answer of each of the small studies, run in this process."""
    folder = tmp_path_factory.mktemp("serially")
    for name, document in helpers.STUDIES.items():
        helpers.run(document, folder / name)
    return {name: helpers.answer(folder / name) for name in helpers.STUDIES}


@pytest.fixture
def peacefully(tmp_path):
    """Return the answer of a study in this test's folder to which nothing happens."""
    helpers.run(helpers.hazard(tmp_path, "peace"), tmp_path / "peace")
    return helpers.answer(tmp_path / "peace")
