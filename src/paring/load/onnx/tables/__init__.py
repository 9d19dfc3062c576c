"""Operator → builder. Each file has the operators of one topic."""

from paring.load.onnx.build import Builder
from paring.load.onnx.tables import (
    activations,
    arithmetic,
    convolution,
    indexing,
    normalization,
    pooling,
    products,
    recurrent,
    reduction,
    resize,
    shapes,
)

OPERATORS: dict[str, Builder] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **convolution.OPERATORS,
    **indexing.OPERATORS,
    **normalization.OPERATORS,
    **pooling.OPERATORS,
    **products.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **resize.OPERATORS,
    **shapes.OPERATORS,
}
