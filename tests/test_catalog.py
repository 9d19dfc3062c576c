"""Every step is told with all of its options, also where a package is missing."""

from types import ModuleType

import pytest

from paring import api
from paring.catalog import described, rules
from paring.core.errors import UnknownName
from paring.recipes.order import RULES
from paring.steps import STEPS


@pytest.mark.parametrize("name", STEPS.names())
def test_every_step_says_what_it_does_and_every_option_what_it_means(name: str) -> None:
    found = described(name)
    assert found.phase
    assert found.extra
    assert found.told.endswith((".", ":")), found.told
    assert {one.name for one in found.options if "." not in one.name} == STEPS.load(name).Config.model_fields.keys()
    assert not [one.name for one in found.options if not one.told]
    assert not [one for one in found.options if "Ellipsis" in one.kind or "paring." in one.kind + one.default]


def test_defaults_are_those_that_count() -> None:
    found = {one.name: one for one in described("quantize.qat").options}
    assert found["calibration.method"].default == "mse"  # of its own, not that of Calibration
    assert found["freeze_batch_norm"].default == "0.5"
    assert found["layers"].kind == "str: options"
    pruned = {one.name: one for one in described("prune.magnitude").options}
    assert pruned["sparsity"].default == ""
    assert (pruned["recover"].default, pruned["recover.learning_rate"].default) == ("null", "0.01")
    assert pruned["scope"].kind == "layer or global"


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> ModuleType:
        raise ModuleNotFoundError("no", name="scipy")

    monkeypatch.setattr("paring.core.registry.importlib.import_module", lacking)
    found = described("prune.channels")
    assert (found.phase, found.missing) == ("", "pip install 'paring[prune]'")
    assert len(rules(found)) == len(RULES)


def test_rules_of_one_step() -> None:
    found, concerning = api.steps("prune.heads")
    assert [one.name for one in found] == ["prune.heads"]
    assert any(rule.startswith("prune.heads never after factorize.*") for rule in concerning)
    assert not any(rule.startswith("prune.movement") for rule in concerning)
    everything, all_rules = api.steps()
    assert len(everything) == len(STEPS.names())
    assert len(all_rules) == len(RULES)
    with pytest.raises(UnknownName, match="no step is called"):
        api.steps("prune.head")
