# Everything runs in .venv, which `make setup` makes when it is not there or pyproject.toml is newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup study quick test test-all coverage lint docs bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch torchvision
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

study: setup
	$(BIN)/python -m hpo.run studies/mnist_pbt_vs_random.toml

quick: setup
	$(BIN)/python -m hpo.run studies/mnist_quick.toml

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

# Also what is marked `slow`, and four times as many cases of each property. TESTS=tests/browser runs those of a folder.
test-all: setup
	HPO_TEST_SCALE=4 $(BIN)/python -m pytest -n auto --dist loadfile -m "" $(TESTS)

# Lines and branches that `make test` covers, worker processes included. Tests of what a process imports or may write see
# coverage at work, and fail: the report comes all the same.
coverage: setup
	$(BIN)/python -m coverage erase
	-$(BIN)/python -m coverage run -m pytest -n auto --dist loadfile
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in site/; open site/index.html. A dead link, or a page that docs/README.md does not list, is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: setup
	$(BIN)/python -m mkdocs build --strict

bench: setup
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only

clean:
	rm -rf $(VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
