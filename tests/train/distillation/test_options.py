"""How distillation is written in a recipe."""

import pytest
from pydantic import ValidationError

from paring.core.step import ORIGINAL, Named
from paring.steps.distill.distill import DistillConfig
from paring.steps.prune.heads import HeadsConfig
from paring.steps.quantize.qat import QatConfig
from paring.train.config import RecoverConfig


def test_teachers_are_a_name_a_name_with_weights_or_several():
    def teachers(value):
        return RecoverConfig.model_validate({"teacher": value}).teacher

    assert teachers(None) == ()
    assert teachers("original") == (ORIGINAL,)
    assert teachers("zoo:resnet20") == (Named(model="zoo:resnet20"),)
    assert teachers({"model": "zoo:resnet20", "weights": "w.safetensors"})[0].weights == "w.safetensors"
    assert teachers(["original", "big.tflite"]) == (ORIGINAL, Named(model="big.tflite"))


def test_features_are_names_or_names_with_options_and_read_back():
    written = {"teacher": "original", "features": ["hints", {"relational": {"angle": 0.5, "weight": 3}}]}
    config = RecoverConfig.model_validate(written)
    assert [one.loss for one in config.features] == ["hints", "relational"]
    assert config.features[1].angle == 0.5
    assert config.features[1].layers == "last"
    assert RecoverConfig.model_validate(config.model_dump(mode="json")) == config
    alone = RecoverConfig.model_validate({"teacher": "original", "features": {"hints": {"layers": {"a.*": "b.*"}}}})
    assert alone.features[0].layers == {"a.*": "b.*"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"features": ["hints"]}, "none is named"),
        ({"decoupled": {}}, "none is named"),
        ({"teacher": "original", "features": ["hint"]}, "no loss on features called 'hint'; there are hints"),
        ({"teacher": "original", "features": [{"hints": {}, "relational": {}}]}, "one name with its options"),
        ({"teacher": "original", "features": [{"hints": {"angle": 1}}]}, "angle"),
        ({"teacher": ["original", "b.onnx"], "features": ["hints"]}, "one teacher"),
        ({"teacher": "original", "features": ["hints"], "keep_answers": True}, "kept answers tell nothing"),
        ({"teacher": "original", "teacher_share": 0.0, "keep_answers": True}, "nobody would read"),
    ],
)
def test_what_makes_no_sense_is_refused(options, told):
    with pytest.raises(ValidationError, match=told):
        RecoverConfig.model_validate(options)


def test_a_step_tells_which_models_it_reads_wherever_they_stand():
    deep = HeadsConfig.model_validate({"heads": 0.5, "recover": {"teacher": ["original", "a.tflite", "zoo:resnet8"]}})
    assert [str(one) for one in deep.named] == ["a.tflite", "zoo:resnet8"]
    assert DistillConfig().named == ()
    assert HeadsConfig(heads=1).named == ()


def test_somebody_has_to_teach_something():
    assert DistillConfig().teacher == (ORIGINAL,)
    with pytest.raises(ValidationError, match="at least 1"):
        DistillConfig.model_validate({"teacher": None})
    with pytest.raises(ValidationError, match="nothing is learned"):
        DistillConfig.model_validate({"teacher_share": 0.0})


def test_a_network_that_rounds_learns_answers_alone():
    with pytest.raises(ValidationError, match="while a network rounds"):
        QatConfig.model_validate({"teacher": "original", "features": ["hints"]})
