# `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# dvc and the stages call `python`: the one of the virtual environment
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help repro scrape attributions review compare sweep report verify clean-cache git test lint requirements clean

help:  ## list the targets
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv: $(VENV)/installed  ## create the virtual environment and install everything, pinned

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("semireal needs Python 3.11 or newer: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --requirement requirements.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

# DVC keeps experiments in git and does not work without it
git:
	@test -e .git || { echo "error: no git history here (unpacked from a zip?). Either clone the repository, or start one:"; \
	  echo "  git init && git add -A && git commit -m 'semireal, unpacked'"; exit 2; }

repro: git .venv  ## run the whole graph on the embedded demo, offline, and print what came out
	dvc repro
	dvc metrics show results/metrics.json
	@echo 'Open results/report.html in a browser to see it all.'

KIND ?= web
scrape: .venv  ## make a collection, or go on with it: make scrape CHARACTER=elf (KIND=open, own)
	@test -n "$(CHARACTER)" || { echo "error: which character? make scrape CHARACTER=elf"; exit 2; }
	python -m semireal.pipeline.collection "$(KIND)/$(CHARACTER)"

attributions: .venv  ## write the credits of the dataset to results/attributions
	python -m semireal.collect.attributions

review: .venv  ## look through the images in the browser and keep or reject them by hand
	python -m semireal.review

# the columns that people compare; `dvc exp show` alone has a hundred
COLUMNS := Experiment|State|name|train.epochs|train.photo_ratio|sample.psi|yield|face_rate|(kernel|precision|recall|blend)_r64|fid|kid|inception_score|precision|recall|blend
compare: .venv  ## a table of all experiments
	dvc exp show --md --drop '.*' --keep '^($(COLUMNS))$$'

EXPERIMENTS :=
report: .venv  ## experiments side by side in report.html; EXPERIMENTS="workspace NAME ..." chooses
	python -m semireal.report $(EXPERIMENTS)

SET ?=
JOBS ?= 2
sweep: git .venv  ## a grid of experiments, JOBS at a time: make sweep SET="character=elf sample.psi=0.5,0.7"
	python -m semireal.pipeline.sweep --jobs $(JOBS) $(SET)

verify: git .venv  ## make the demo anew in a fresh clone and compare all hashes with dvc.lock
	python -m semireal.pipeline.verify

clean-cache: git .venv  ## free disk: delete data that no commit, branch, tag or experiment refers to
	python -m semireal.pipeline.clean_cache

test: .venv lint  ## everything CI runs: ruff, mypy, the check of the parameters, pytest
	python -m semireal.pipeline.check
	OMP_NUM_THREADS=1 pytest -n logical --dist loadfile --no-loadscope-reorder

lint: .venv  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

requirements: .venv  ## compile requirements.in to requirements.txt
	pip-compile --quiet --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.txt requirements.in

clean:  ## remove what the stages left to resume from (not the data, not the virtual environment)
	rm -rf .work
