# The verbs of this repository. `make` alone lists them; each installs what it needs into .venv by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
# Test files that run at the same time; each of them brings up what it needs, an embedded AWS included. More than
# processors, because many tests wait.
JOBS := 3
PYTEST := $(PY) -m pytest -n $(JOBS) --dist loadscope

# Thousands of processes import the same modules. Where this is set, each of them would compile them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo check test test-all test-localaws soak fuzz lint docs bench lock clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -t -s '|'

venv: $(VENV)/.installed ## create .venv from requirements.lock and localaws/ (done by the others on their own)

$(VENV)/.installed: requirements.lock scripts/venv.sh localaws/pyproject.toml
	@scripts/venv.sh $(VENV) requirements.lock localaws

demo: venv ## the whole product in the embedded AWS: bootstrap, build, deploy, invoke, change, deploy again
	@scripts/system-tools.sh
	@$(PY) -m examples.demo

check: lint ## the daily verb: lint, and every quick test that needs no server
	@$(PYTEST) -q -m "not server and not slow and not long"

test: venv ## every test, then what was skipped and why; one cell of the matrix of localaws if nothing of it changed
	@scripts/system-tools.sh test
	@$(PYTEST)

test-all: venv ## every test in full, and record in tests/measured.json how long each took
	@scripts/system-tools.sh test
	@$(PYTEST) --everything

test-localaws: venv ## the tests of localaws alone, in every cell of its matrix, and record that they passed
	@$(PYTEST) --everything tests/localaws

soak: venv ## 300 builds of ten projects in one environment, half of them hostile, in each mode
	@SOAK_BUILDS=300 $(PY) -m pytest tests/security/test_soak.py

fuzz: venv ## damaged input for every parser of it, FUZZ_RUNS each (50,000: some 10 minutes of one processor)
	@FUZZ_RUNS=$${FUZZ_RUNS:-50000} $(PY) -m pytest tests/fuzz

lint: venv ## ruff, mypy --strict, shellcheck
	@scripts/lint.sh $(VENV)

docs: venv ## schemas/ and the tables of docs/reference.md, from the code
	@$(PY) -m scripts.docs

bench: venv ## measure against peers, as ratios (see benchmarks/README.md)
	@$(PY) -m benchmarks

lock: venv ## resolve requirements.lock and builder/requirements.lock again
	@scripts/lock.sh $(VENV)

clean: ## remove what the verbs made
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache out deploy.log
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
