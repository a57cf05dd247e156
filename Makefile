# Two commands: `make demo` runs a search on generated data, `make test` runs the tests.
# Each sets up .venv first when it is missing or when the lock has changed. Needs python3 (3.10 to 3.13) and make.

PYTHON ?= python3
BIN    := .venv/bin
UV     := .venv/uv/bin/uv
FILES  := requirements.lock.txt pyproject.toml setup.cfg
# The stamp carries a checksum of what was installed, so a changed lock is noticed whatever its date.
STAMP  := .venv/.synced-$(shell cat $(FILES) | cksum | tr ' ' '-')
export UV_LINK_MODE ?= copy
# Else the first imports compile it, in each process that starts meanwhile.
export UV_COMPILE_BYTECODE ?= 1

.PHONY: demo test bench lock setup clean

demo: $(STAMP)
	$(BIN)/python demo/run.py

test: $(STAMP)
	$(BIN)/python -m flake8
	$(BIN)/python -m isort --check-only --quiet .
	$(BIN)/python -m mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Prints most of docs/benchmarks.md; under ten minutes on two cores.
bench: $(STAMP)
ifdef DETNAS_DATA
	$(BIN)/python benchmarks/candidate.py --paths 1
else
	@echo "DETNAS_DATA is not set: no benchmark on real images (candidate.py)."
endif
	$(BIN)/python benchmarks/step.py --rounds 5
	$(BIN)/python benchmarks/metric.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/detector_latency.py

setup: $(STAMP)

$(STAMP): $(FILES)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "%s is Python %d.%d; 3.10 to 3.13 is needed: make PYTHON=python3.12" % (sys.executable, *v))'
	@echo "Setting up .venv (once; about 6 GB, most of it torch) ..."
	@rm -f .venv/.synced-*
	@test -x $(UV) || { $(PYTHON) -m venv .venv/uv && .venv/uv/bin/python -m pip install --quiet uv; }
	@test -x $(BIN)/python || $(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --python $(BIN)/python requirements.lock.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

# Pins every package of the extras, for all platforms and Pythons, and names no download address.
lock: $(STAMP)
	$(UV) pip compile pyproject.toml $(addprefix --extra ,detectron2 ray onnx openvino timm dev) --universal --python-version 3.10 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet -o requirements.lock.txt

clean:
	rm -rf .venv output datasets/outlines datasets/toy datasets/examples projects/DetNAS/detnas.egg-info .pytest_cache
