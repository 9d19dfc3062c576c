"""Options of distillation, as data; needs no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from paring.core.step import Named, StepConfig

Layers = Literal["auto", "depth", "last"] | dict[str, str]


class Decoupled(StepConfig):
    """Weights of the two parts of decoupled distillation."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    alpha: float = Field(1.0, ge=0)
    """Of the target class against all others together."""
    beta: float = Field(2.0, ge=0)
    """Of the other classes among themselves."""


class FeatureConfig(StepConfig):
    """What every loss on features has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    weight: float = Field(1.0, gt=0)
    """In the sum of all losses."""
    layers: Layers = "auto"
    """Which layer learns from which: `auto` pairs blocks of one resolution by their depth, `depth` blocks by depth
    alone, `last` is the last pair of `auto`; or patterns of names, {student's: teacher's}."""


class HintsConfig(FeatureConfig):
    """Options of `hints`."""

    loss: Literal["hints"] = "hints"


class AttentionTransferConfig(FeatureConfig):
    """Options of `attention_transfer`."""

    loss: Literal["attention_transfer"] = "attention_transfer"


class HiddenCosineConfig(FeatureConfig):
    """Options of `hidden_cosine`."""

    loss: Literal["hidden_cosine"] = "hidden_cosine"


class AttentionMapsConfig(FeatureConfig):
    """Options of `attention_maps`; its layers are those that attend."""

    loss: Literal["attention_maps"] = "attention_maps"
    compare: Literal["probabilities", "scores"] = "probabilities"
    """The attention itself by its divergence, or the scores before the softmax by their squared error."""
    heads: int | None = Field(None, ge=1)
    """Into how many relation heads the queries and keys of both are split; None is the number of heads of both."""


class RelationalConfig(FeatureConfig):
    """Options of `relational`."""

    loss: Literal["relational"] = "relational"
    layers: Layers = "last"
    """As for every loss on features."""
    distance: float = Field(1.0, ge=0)
    """Share of the distances between two samples."""
    angle: float = Field(2.0, ge=0)
    """Share of the angles among three samples."""


_KINDS: Mapping[str, type[FeatureConfig]] = {
    "hints": HintsConfig,
    "attention_transfer": AttentionTransferConfig,
    "hidden_cosine": HiddenCosineConfig,
    "attention_maps": AttentionMapsConfig,
    "relational": RelationalConfig,
}


def _listed(value: Any) -> Any:
    """`[a, {b: {x: 1}}]` -> `[{loss: a}, {loss: b, x: 1}]`; also one alone, without a list."""
    if value is None:
        return ()
    if isinstance(value, str | Mapping | FeatureConfig):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    found: list[Any] = []
    for one in value:
        item = one
        if isinstance(one, str):
            item = {"loss": one}
        elif isinstance(one, Mapping) and "loss" not in one:
            if len(one) != 1:
                raise ValueError("each is a name, or one name with its options: {name: {option: value}}")
            name, given = next(iter(one.items()))
            item = {"loss": name, **(given or {})}
        if isinstance(item, Mapping) and item["loss"] not in _KINDS:
            raise ValueError(f"there is no loss on features called {item['loss']!r}; there are {', '.join(_KINDS)}")
        found.append(item)
    return found


def _several(value: Any) -> Any:
    """One teacher, several or none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Mapping | Named) else value


Features = Annotated[
    tuple[
        Annotated[
            HintsConfig | AttentionTransferConfig | HiddenCosineConfig | AttentionMapsConfig | RelationalConfig,
            Field(discriminator="loss"),
        ],
        ...,
    ],
    BeforeValidator(_listed),
]
Teachers = Annotated[tuple[Named, ...], BeforeValidator(_several)]
