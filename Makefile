# `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := remotes export animeface cluster video dev
# dvc and the stages call `python`: the one of the virtual environment, with the code of this clone
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := src
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help whole repro scrape credits review compare sweep report verify clean-cache git test drills lint \
  requirements platforms licences sbom audit clean

help:  ## list the targets
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# An environment holds the path that it was made at and its Python: it outlives neither a move of the folder nor a
# change of Python, and says so in odd ways.
whole:
	@test -e $(VENV)/pyvenv.cfg || exit 0; \
	is() { sed -n "s/^$$1 = //p" $(VENV)/pyvenv.cfg; }; \
	wanted=$(if $(filter file,$(origin PYTHON)),$(BIN)/python,$(PYTHON)); \
	if [ $$wanted != $(BIN)/python ] && ! command -v $$wanted >/dev/null; then echo "error: no $$wanted here" >&2; exit 2; fi; \
	python=$$($$wanted -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none); \
	case "$$(is version):$$(is command)" in "$$python".*:*" $(CURDIR)/$(VENV)" | "$$python".*:) exit 0;; esac; \
	echo "error: .venv was made by Python $$(is version) ($$(is command)); here are $(CURDIR)/$(VENV) and Python $$python. Remove it (rm -rf .venv), and the same command makes it anew" >&2; \
	exit 2

.venv: $(VENV)/installed  ## create the virtual environment and install everything, pinned

$(VENV)/installed: requirements.txt pyproject.toml | whole
	$(PYTHON) -c 'import sys; sys.exit("semireal needs Python 3.11 or newer: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes --requirement requirements.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

# what the tests need on top
$(VENV)/tested: $(VENV)/installed $(EXTRAS:%=requirements-%.txt) | whole
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes $(EXTRAS:%=--requirement requirements-%.txt)
	touch $@

# DVC keeps experiments in git and does not work without it
git:
	@test -e .git || { echo "error: no git history here (unpacked from a zip?). Either clone the repository, or start one:"; \
	  echo "  git init && git add -A && git commit -m 'semireal, unpacked'"; exit 2; }

repro: git .venv  ## run the whole graph on the embedded demo, offline, and print what came out
	@python -m semireal mend
	dvc repro
	dvc metrics show results/metrics.json
	@python -m semireal compare-lock
	@echo 'Open results/report.html in a browser to see it all.'

KIND ?=
scrape: .venv  ## make a collection, or go on with it: make scrape CHARACTER=elf (KIND=web, open, own)
	@test -n "$(CHARACTER)" || { echo "error: which character? make scrape CHARACTER=elf"; exit 2; }
	python -m semireal scrape "$(CHARACTER)" $(if $(KIND),--kind "$(KIND)")

credits: .venv  ## write the credits of the dataset to results/attributions
	python -m semireal credits

review: .venv  ## look through the images in the browser and keep or reject them by hand
	python -m semireal review

compare: .venv  ## a table of all experiments
	@python -m semireal compare

EXPERIMENTS :=
report: .venv  ## experiments side by side in report.html; EXPERIMENTS="workspace NAME ..." chooses
	python -m semireal report $(EXPERIMENTS)

SET ?=
JOBS ?= 2
sweep: git .venv  ## a grid of experiments, JOBS at a time: make sweep SET="character=elf sample.psi=0.5,0.7"
	python -m semireal sweep --jobs $(JOBS) $(SET)

verify: git .venv  ## make the demo anew in a fresh clone and compare all hashes with dvc.lock
	python -m semireal verify

clean-cache: git .venv  ## free disk: delete data that no commit, branch, tag or experiment refers to
	python -m semireal clean-cache

test: $(VENV)/tested lint  ## everything CI runs: ruff, mypy, the check of the parameters, pytest
	python -m semireal check
	OMP_NUM_THREADS=1 pytest -n logical --dist loadfile --no-loadscope-reorder

# each goes on from its results: remove benchmarks/results/drills-*.json to begin anew
SEED ?= 0
drills: git $(VENV)/tested  ## kill, stop and starve everything for hours; what came of it goes to docs/reliability.md
	set -e; for drill in $(filter-out tests/drills/test_% tests/drills/faults.py tests/drills/table.py,$(wildcard tests/drills/*.py)); do \
	  python $$drill --seed $(SEED) --out benchmarks/results/drills-$$(basename $$drill .py).json; \
	done
	python tests/drills/table.py

lint: $(VENV)/tested  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
requirements: $(VENV)/tested  ## compile requirements*.in to requirements*.txt, for all Pythons and machines
	$(COMPILE) --output-file requirements.txt requirements.in
	set --; for extra in $(EXTRAS); do \
	  $(COMPILE) --constraint requirements.txt "$$@" --output-file requirements-$$extra.txt requirements-$$extra.in || exit; \
	  set -- "$$@" --constraint requirements-$$extra.txt; \
	done

platforms: $(VENV)/tested  ## try all pins for Python 3.11 to 3.14 on x86-64 and arm64 against the registry
	python benchmarks/platforms.py

licences: $(VENV)/tested  ## list the licence of each pinned package; fails where supply/licences.yaml does not allow it
	python supply/licences.py

sbom: $(VENV)/tested  ## write the bill of materials of all pins to sbom.json (CycloneDX)
	python supply/sbom.py > sbom.json

# strict: what the database could not be asked about is a failure, and not a package without faults
audit: $(VENV)/tested  ## ask for known vulnerabilities of all pins (needs the network)
	pip-audit --strict --require-hashes --disable-pip $(patsubst %,--requirement %,requirements.txt $(EXTRAS:%=requirements-%.txt))

clean:  ## remove what the stages left to resume from (not the data, not the virtual environment)
	rm -rf .work
