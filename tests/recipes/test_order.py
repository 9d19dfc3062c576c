"""No step stands behind one that it may not; a refusal gives the reason, and an order that works if there is one."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.core.step import Phase
from paring.recipes.order import RULES, Placed, broken, check, ordered
from paring.recipes.recipe import Lines
from paring.steps import STEPS
from paring.steps.prune.magnitude import MagnitudeConfig, PruneMagnitude

STRUCTURE, SPARSITY, QUANTIZATION, RECOVERY = Phase.STRUCTURE, Phase.SPARSITY, Phase.QUANTIZATION, Phase.RECOVERY
plain = [
    Placed(name, phase)
    for phase, names in {
        RECOVERY: ["finetune", "distill"],
        STRUCTURE: ["prune.heads", "prune.channels", "factorize.svd", "distill.student"],
        SPARSITY: ["prune.magnitude", "prune.movement", "prune.rigl"],
        QUANTIZATION: ["quantize.static", "quantize.qat", "quantize.weights"],
    }.items()
    for name in names
]
STUDENT = Placed("distill.student", STRUCTURE, frozenset({"model"}))
REGROWN = Placed("prune.magnitude", SPARSITY, frozenset({"regrow"}))
MOVED = Placed("prune.movement", SPARSITY, frozenset({"layers"}))
steps = st.lists(st.sampled_from([*plain, STUDENT, REGROWN, MOVED]), max_size=5).map(
    lambda chosen: [Placed(f"{one.name}", one.phase, one.given) for one in chosen]
)


def holds(order: list[Placed]) -> bool:
    return not any(broken(one, other) for at, other in enumerate(order) for one in order[:at])


def refused(order: list[Placed]) -> ParingError | None:
    try:
        check(order, Lines())
    except ParingError as error:
        return error
    return None


@given(steps)
def test_the_order_that_is_proposed_works_and_is_found_if_there_is_one(given_: list[Placed]) -> None:
    error = refused(given_)
    if error is None:
        assert holds(given_)
        hard = [step.phase for step in given_ if step.phase is not RECOVERY]
        assert hard == sorted(hard)
        return
    proposed = ordered(given_)
    if proposed is None:
        assert "no order of these steps works" in error.remedy
        assert not any(holds(list(order)) for order in permutations(given_))
        return
    assert error.remedy == f"this order: {' → '.join(proposed)}"
    assert sorted(proposed) == sorted(step.name for step in given_)
    # steps of one name may differ in their options: any of them in each place
    assert any(holds(list(order)) for order in permutations(given_) if [one.name for one in order] == proposed)


def test_training_after_quantization_is_refused_with_the_reason_and_the_line() -> None:
    lines = Lines("r.yaml", {("steps", 0): 5, ("steps", 1): 6})
    with pytest.raises(ParingError, match="scales fixed before it would no longer fit") as caught:
        check([Placed("quantize.static", QUANTIZATION), Placed("finetune", RECOVERY)], lines)
    assert caught.value.where == "r.yaml, line 6"
    assert caught.value.remedy == "this order: finetune → quantize.static"


@pytest.mark.parametrize(
    ("given_", "reason", "remedy"),
    [
        ([plain[2], STUDENT], "another model", "distill.student → prune.heads"),
        ([plain[0], STUDENT], "another model", "distill.student → finetune"),
        ([STUDENT, STUDENT], "another model", "no order of these steps works"),
        ([plain[4], plain[2]], "whole projection matrices", "prune.heads → factorize.svd"),
        ([plain[6], plain[7]], "no layer would be left", "prune.movement → prune.magnitude"),
        ([plain[8], plain[7]], "no layer would be left", "choose layers of its own for prune.movement"),
        ([plain[7], REGROWN], "to come back", "no order of these steps works"),  # nor do moving zeros go behind it
        ([plain[9], plain[11]], "one set of scales", "leave quantize.static or quantize.weights out"),
        ([plain[11], plain[10]], "on a grid", "leave quantize.weights or quantize.qat out"),
    ],
)
def test_single_steps_have_rules_of_their_own(given_: list[Placed], reason: str, remedy: str) -> None:
    with pytest.raises(ParingError) as caught:
        check(given_, Lines())
    assert reason in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    "given_",
    [
        [plain[2], plain[5]],  # a student of fewer layers is made of what there is
        [plain[2], plain[4]],
        [plain[7], plain[6]],  # zeros stay as they are, and more come
        [plain[6], MOVED],
        [plain[11], plain[11]],  # the second takes layers that the first left
    ],
)
def test_what_goes_together_may_stand_together(given_: list[Placed]) -> None:
    check(given_, Lines())


def test_recovery_stays_behind_the_step_it_followed() -> None:
    given_ = [plain[6], plain[0], plain[3], plain[1]]
    assert ordered(given_) == ["prune.channels", "distill", "prune.magnitude", "finetune"]
    assert ordered([plain[9], plain[0], plain[3]]) == ["prune.channels", "finetune", "quantize.static"]


def test_options_count_only_where_they_say_something() -> None:
    def placed(**options: object) -> Placed:
        return Placed.of(PruneMagnitude(), MagnitudeConfig.model_validate({"sparsity": 0.5, **options}))

    assert placed(regrow=False, keep=[]).given == {"sparsity"}
    assert placed(keep=["@first"]).given == {"sparsity", "keep"}


def test_every_option_that_a_rule_names_exists() -> None:
    for rule in RULES:
        for name in STEPS.names():
            step = STEPS.load(name)
            if name in rule.later:
                assert {*rule.unless, *filter(None, [rule.given])} <= step.Config.model_fields.keys(), str(rule)


def test_rules_read_as_sentences() -> None:
    told = [str(rule) for rule in RULES]
    assert told[0].startswith("structure never after sparsity or quantization: it changes shapes")
    assert any(one.startswith("distill.student with model never after any step: ") for one in told)
    assert any(
        one.startswith("prune.movement or prune.rigl without layers or keep never after sparsity") for one in told
    )
