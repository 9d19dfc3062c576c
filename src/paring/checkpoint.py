"""A checkpoint to begin with: a model, trained and saved with its accuracy and how it came about."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import paring
from paring import load, opening
from paring.core.model import Json
from paring.core.record import Record
from paring.core.step import Progress
from paring.load import saved
from paring.measure import measurements
from paring.recipes.read import validated
from paring.recipes.recipe import Lines
from paring.train.config import TrainConfig
from paring.train.loop import fit


def trained(
    name: str, data: str, out: Path, config: Mapping[str, Json], weights: Path | None, seed: int, command: str,
    progress: Progress,
) -> Record:  # fmt: skip
    """Trains a model, saves it at `out` and gives its test accuracy; see `paring.api.train_model`."""
    path = out if out.suffix == ".safetensors" else out.with_name(out.name + ".safetensors")
    task = opening.task(data, name)
    for note in opening.told(task):
        progress.note(note)
    options = validated(TrainConfig, dict(config), Lines("training options"))
    made = load.open(name, weights=weights, task=task, seed=seed)
    work = path.with_suffix(".training")
    fitted = fit(made, task, options, seed=seed, directory=work, progress=progress)
    model = replace(made, module=fitted.module)
    record = measurements.accuracy_in_torch(model, task, "test", "baseline", progress)
    saved.save(
        model,
        path,
        {
            "data": data,
            "accuracy": record.as_json(),
            "command": command,
            "seed": seed,
            "config": options.model_dump(mode="json"),
            "epochs": [asdict(epoch) for epoch in fitted.history],
            "paring": paring.__version__,
            "notes": list(opening.told(task)),
            "begun_from": saved.notes(Path(name)) if load.is_saved(name) else weights and str(weights),
        },
    )
    shutil.rmtree(work, ignore_errors=True)
    return record
