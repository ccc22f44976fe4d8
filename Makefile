# Two commands for a new machine: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo
TASK   := maze-medium
# onnxruntime and onnxruntime-gpu own the same import name: take the one that this machine can use.
ORT    := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
ORDINARY := 'not timing and not faults and not thorough and not matrix'

.PHONY: demo test check unit thorough faults reliability guard matrix envpool g1 peers docs bench clean lock lowest

EXTRAS := $(ORT),report,metrics,sign,sim,train,sweep,export,dev
# Of the runtime's unit tests, those that need no other floor: a robot has none.
OTHERS := grep -rlE 'odeploy_(sim|train|export)|import torch|tests\.(policies|recurrent|endless|integration)' \
	--include='test_*.py' tests/unit/runtime

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

# The newest versions that pyproject.toml admits become the installed ones, and those of everybody.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --upgrade --upgrade-strategy eager \
		-e '.[$(EXTRAS)]'
	deploy/lock $(BIN)
	touch $(VENV)/.installed

# The runtime's unit tests with the oldest versions that its ranges admit, in an environment of its own.
lowest: $(VENV)/.installed
	rm -rf runs/lowest && mkdir -p runs/lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-header --no-annotate \
		--extra cpu --extra report --extra metrics --extra sign pyproject.toml >runs/lowest/requirements.txt
	$(BIN)/uv venv --quiet --python $(BIN)/python runs/lowest/venv
	$(BIN)/uv pip install --quiet --python runs/lowest/venv/bin/python -r runs/lowest/requirements.txt \
		pytest pytest-timeout pytest-xdist hypothesis onnx
	PYTHONPATH=.:runtime runs/lowest/venv/bin/python -m pytest -m $(ORDINARY) -W ignore::DeprecationWarning \
		$$($(OTHERS) | sed 's/^/--ignore=/') tests/unit/runtime

demo: $(VENV)/.installed
	$(BIN)/odeploy collect $(TASK) --episodes 300 --quality noisy:0.5 --out $(RUN)/$(TASK)-expert-v0
	$(BIN)/odeploy train fm-bc --task $(TASK) --demos $(RUN)/$(TASK)-expert-v0 --out $(RUN)/teacher
	$(BIN)/odeploy train distill --teacher $(RUN)/teacher --demos $(RUN)/$(TASK)-expert-v0 --out $(RUN)/student
	$(BIN)/odeploy export $(RUN)/teacher --solver euler --steps 10 --noise normal --out $(RUN)/teacher.onnx
	$(BIN)/odeploy export $(RUN)/student --out $(RUN)/student.onnx
	$(BIN)/odeploy bench $(RUN)/teacher.onnx $(RUN)/student.onnx --task $(TASK) \
		--rates 100,200 --episodes 50,20 --transport lane,zmq --lockstep 50 --out $(RUN)/bench
	$(BIN)/odeploy report $(RUN)/bench --out $(RUN)/report.html

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	deploy/lint

# Otherwise each process of torch starts a thread on every core.
test unit thorough faults reliability matrix envpool g1 docs: export OMP_NUM_THREADS = 1

# mypy uses one core and runs beside the unit tests; tests of whole processes run alone.
test: $(VENV)/.installed
	$(MAKE) --jobs 2 --output-sync check unit
	$(BIN)/pytest -m $(ORDINARY) -n auto --dist loadfile tests/integration tests/faults

unit: $(VENV)/.installed
	$(BIN)/pytest -m $(ORDINARY) -n auto tests/unit tests/house

thorough: $(VENV)/.installed
	$(BIN)/pytest -m 'thorough and not faults' -n auto --timeout 600 tests

faults: $(VENV)/.installed
	$(BIN)/pytest tests/faults tests/integration/test_sweep.py

# Run the fault tests and write what each fault led to.
reliability: $(VENV)/.installed
	$(BIN)/pytest --reliability docs/reference/reliability.md tests

# Branch coverage of the guard and its states, and tests against mutations of them. mutmut takes a module's name from
# its path below the working directory, so it gets a folder of its own.
GUARD  := runtime/odeploy_runtime/safety/guard.py,runtime/odeploy_runtime/safety/states.py
MUTANTS := runs/guard
guard: $(VENV)/.installed
	$(BIN)/coverage run --branch --include='$(GUARD)' -m pytest \
		tests/unit/runtime/safety/test_guard.py tests/unit/runtime/safety/test_states.py
	$(BIN)/coverage report --fail-under=100
	rm -rf $(MUTANTS) && mkdir -p $(MUTANTS)
	cp -r pyproject.toml tests runtime/odeploy_runtime $(MUTANTS)
	cd $(MUTANTS) && $(CURDIR)/$(BIN)/mutmut run

# The wheel with the extra `cpu` alone in a fresh environment: 1 minute, packages from pip's cache.
matrix: $(VENV)/.installed
	$(BIN)/pytest -m matrix tests/integration/test_matrix.py

# EnvPool against gymnasium and dm_control, in an environment of its own: 950 MB that no other target needs. Six
# minutes, most of them the download and torch.
$(VENV)-envpool/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-envpool
	$(VENV)-envpool/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-e '.[cpu,sim,train,envpool]' 'hypothesis>=6.120' 'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6'
	touch $@

envpool: $(VENV)-envpool/.installed
	$(VENV)-envpool/bin/pytest -m envpool -n auto --timeout 600 \
		tests/unit/sim_bridge/tasks tests/unit/train/off_policy/test_core.py

# Unitree's G1: its model and a walking policy from two wheels of others, of which nothing is committed or installed.
G1 := runs/g1
$(G1)/.fetched: $(VENV)/.installed
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(G1)/wheels \
		holosoma-inference==0.1.3 mjlab==1.6.0
	for wheel in $(G1)/wheels/*.whl; do $(BIN)/python -m zipfile -e $$wheel $(G1); done
	touch $@

g1: $(G1)/.fetched
	$(BIN)/python examples/g1/from_wheels.py $(G1)
	$(BIN)/odeploy export --from onnx $(G1)/holosoma_inference/models/loco/g1_29dof/fastsac_g1_29dof.onnx \
		--task $(G1)/g1.toml --recipe $(G1)/recipe.toml --name g1-walk --out $(G1)/g1.onnx
	$(BIN)/pytest -m g1 tests/integration/test_g1.py

# odeploy beside other ways to serve the same policy, each in an environment of its own under runs/peers: 6 minutes,
# the first time 10 more for downloads (9 GB, most of it LeRobot's torch).
peers: $(VENV)/.installed
	$(BIN)/python -m tests.timing.peers
	$(BIN)/python -m docs.generate.peers_page

# Write the generated pages again, from committed results; then check pages, links and commands.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate.house_picture
	$(BIN)/python -m docs.generate.export_page --page-only
	$(BIN)/python -m docs.generate.tasks_page
	$(BIN)/python -m docs.generate.verbs_page
	$(BIN)/python -m docs.generate.results_tables
	$(BIN)/python -m docs.generate.claims_page
	$(BIN)/python -m docs.generate.peers_page
	$(BIN)/pytest tests/unit/docs tests/house

bench: $(VENV)/.installed
	$(BIN)/pytest -m timing -s tests/timing

clean:
	rm -rf $(VENV) $(VENV)-envpool runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
