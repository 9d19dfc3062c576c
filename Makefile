# Everything runs in .venv, in this folder. A fresh machine needs Python 3.11 and pip.
PYTHON ?= python3
BIN := .venv/bin
# one thread a process: two test processes on two cores, without threads that spin against each other
export OMP_NUM_THREADS ?= 1

.PHONY: setup demo test unit lint format proofs bench bench-tensorflow clean

setup: .venv/.ready

# torch goes first and by its exact version, so that a CPU build at hand is taken before the resolver looks for others
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]' --constraint constraints.txt
	touch $@

demo: setup
	OMP_NUM_THREADS=2 $(BIN)/python examples/demo.py

# both at once: the checks take one core for a minute
test: setup
	$(MAKE) -j 2 lint unit

unit: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --durations 20

lint: setup
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Hours of proofs: random networks and known ones through every step and target that runs here
proofs: setup
	$(BIN)/python benchmarks/random_networks.py --networks 5000
	$(BIN)/python -m pytest -q -m slow tests/test_random_networks.py

# Speed and slow proofs: rewrites the tables in benchmarks/results
bench: setup
	$(BIN)/python benchmarks/spine.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/parity_cost.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/students.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/efficientnet_lite.py
	$(BIN)/python benchmarks/keras_door.py
	$(BIN)/python benchmarks/keras_door.py --litert
	$(BIN)/python benchmarks/micro_memory.py
	for door in zoo transformers keras; do $(BIN)/python benchmarks/parity_sweep.py $$door || exit 1; done
	$(BIN)/python benchmarks/onnx_door.py
	$(BIN)/python benchmarks/onnx_runtime.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check nncf --constraint constraints.txt
	$(MAKE) .venv-peers/.ready
	$(BIN)/python benchmarks/quantization.py
	$(BIN)/python benchmarks/aware.py
	$(BIN)/python benchmarks/pruning_cost.py
	for what in cut recover judge; do $(BIN)/python benchmarks/pruning.py $$what || exit 1; done
	$(BIN)/paring train "hf:$$($(BIN)/python benchmarks/text.py --folder)" --data reviews --epochs 2 --out runs/minilm
	$(BIN)/python benchmarks/text.py --checkpoint runs/minilm.safetensors
	$(BIN)/python benchmarks/sentences.py --checkpoint runs/minilm.safetensors
	for what in train judge; do $(BIN)/python benchmarks/distillation.py $$what || exit 1; done
	for what in train judge; do $(BIN)/python benchmarks/low_rank.py $$what || exit 1; done
	$(BIN)/python benchmarks/chain.py
	$(BIN)/python benchmarks/library.py --checkpoint runs/minilm.safetensors
	$(BIN)/python benchmarks/reach.py runs/pruning/files/mobilenet_v2/paring-50_of_MACs-recovered-int8.tflite
	$(BIN)/python -m pytest -q -m slow

# Neural Compressor wants numpy 1, and gets an environment of its own
.venv-peers/.ready:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check neural-compressor==2.6 onnxruntime==1.19.2 onnx==1.16.2 numpy==1.26.4 six
	touch $@

# Beside TensorFlow's converter: it gets an environment of its own, as its packages and ours do not go together
bench-tensorflow: setup .venv-tensorflow/.ready
	$(BIN)/python benchmarks/keras_litert.py --python .venv-tensorflow/bin/python
	$(BIN)/python benchmarks/micro_memory.py --python .venv-tensorflow/bin/python

.venv-tensorflow/.ready:
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/python -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
	touch $@

clean:
	rm -rf .venv .venv-tensorflow .venv-peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
