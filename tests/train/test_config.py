"""Options of a training."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from paring.train.config import RecoverConfig, TrainConfig


def test_length_defaults_to_epochs():
    assert TrainConfig().epochs == 10
    assert RecoverConfig().epochs == 1
    assert TrainConfig(epochs=3).length(per_epoch=7) == 21
    assert TrainConfig(steps=5).epochs is None
    assert TrainConfig(steps=5).length(per_epoch=7) == 5


@pytest.mark.parametrize("config", [TrainConfig(), TrainConfig(steps=5), RecoverConfig(epochs=2, ema=0.9)])
def test_resolved_options_read_back_as_themselves(config):
    assert type(config).model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epochs": 0}, "input_value=0"),
        ({"epochs": 1.5}, "1.5"),
        ({"epochs": 3, "steps": 100}, "epochs=3 and steps=100"),
        ({"batch_size": 0}, "input_value=0"),
        ({"learning_rate": -0.1}, "input_value=-0.1"),
        ({"learning_rate": float("nan")}, "nan"),
        ({"warmup": 1.0}, "input_value=1.0"),
        ({"momentum": 1.0}, "input_value=1.0"),
        ({"ema": 1.0}, "input_value=1.0"),
        ({"optimizer": "adam"}, "'adam'"),
        ({"nesterov": True, "momentum": 0.0}, "momentum=0.0"),
        ({"nesterov": True, "optimizer": "adamw"}, "optimizer='adamw'"),
        ({"clip_norm": 0}, "input_value=0"),
        ({"factor": 0.5}, "factor means nothing without schedule='plateau'"),
        ({"schedule": "plateau", "patience": -1}, "input_value=-1"),
        ({"learnign_rate": 0.1}, "learnign_rate"),
    ],
)
def test_refusals_name_the_value(options, told):
    with pytest.raises(ValidationError) as caught:
        TrainConfig(**options)
    assert told in str(caught.value)


def test_every_option_is_described():
    for name, field in RecoverConfig.model_fields.items():
        assert field.description, name


def test_reading_options_loads_no_framework():
    code = "import sys, paring.steps.finetune; assert not {'torch', 'accelerate'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
