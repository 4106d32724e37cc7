# Everything here works on a fresh clone with Python 3.11 or later, git and make: each target makes .venv by itself.
#
#   make demo    two homeservers that talk through a relay      ARGS="--exit --fresh --base-port 18000"
#   make check   lint, types, import directions, spelling, docs
#   make test    the tests                                      ARGS="tests/unit -k tree"
#   make interop the tests against Pinecone's own nodes (needs Go) and libtorrent
#   make dendrite rooms shared with Dendrite, which is built first (needs Go and root, takes minutes)
#   make docs    the documentation, in docs/_build/html
#   make bench   speed beside plain HTTPS and Go nodes          ARGS="--quick", ARGS="--rows 1,9"
#   make bench-compare BASE=main~10                             ARGS="--rows 1,9"
#   make soak    mixed load while links come and go             ARGS="--minutes 1"
#   make testbed three homeservers and two relays in containers, with trouble (needs Docker)   ARGS="--seconds 300"
#   make coverage, make clean
#
# PYTHON=/path/to/python3.12 chooses the interpreter that .venv is made with.

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := pinecone_transport twisted_endpoints synapse_module
ARGS ?=

.PHONY: help demo check test testbed interop dendrite docs bench bench-compare soak coverage clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed-demo
	@$(BIN)/python -m demo $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/sphinx-build -n -W --keep-going -q -b html docs docs/_build/html

# The Twisted side runs under Twisted's own runner, too; pytest comes last so that its closing line is the last one.
test: $(VENV)/.installed-dev
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m twisted.trial --temp-directory=.cache/trial --reporter=text tests.unit.twisted_endpoints
	$(BIN)/python -m pytest -n 2 --dist loadfile
else
	$(BIN)/python -m pytest $(ARGS)
endif

interop: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/interop $(ARGS)

dendrite: $(VENV)/.installed-dev
	PINECONE_DENDRITE=1 $(BIN)/python -m pytest tests/interop/test_dendrite.py --log-cli-level=info $(ARGS)

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -n -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

bench: $(VENV)/.installed-demo
	@$(BIN)/python -m benchmarks $(ARGS)

bench-compare: $(VENV)/.installed-demo
	@$(BIN)/python -m benchmarks.compare $(BASE) $(ARGS)

soak: $(VENV)/.installed-demo
	@$(BIN)/python -m benchmarks.soak $(ARGS)

testbed: $(VENV)/.installed-demo
	@$(BIN)/python -m testbed.run $(ARGS)

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term-missing tests/unit tests/property tests/fuzz $(ARGS)

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* docs/_build build dist

# One environment, filled in two steps: the demo needs much less than the checks do.
$(BIN)/python:
	@./.ci/make-venv $(VENV) $(PYTHON)

$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	@echo "Installing the project into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,synapse]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing the project and its development tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,dev,docs,metrics,synapse]'
	@touch $@ $(VENV)/.installed-demo
