import pytest

from paring.core.model import Model, Source, TensorSpec
from paring.load.zoo import ZOO
from paring.measure import cost


@pytest.fixture(scope="session")
def built():
    """Builds a network of the zoo as a model: `built(name, input shape without batch, **arguments)`."""

    def build(name, shape, **arguments):
        module = ZOO.load(name)(**arguments).eval()
        inputs = (TensorSpec("image", ("batch", *shape), layout="NCHW"),)
        return Model(module, Source(f"zoo:{name}", arguments), inputs, (TensorSpec("logits", ("batch", "classes")),))

    return build


@pytest.fixture(scope="session")
def costs(built):
    """(parameters, MACs) of a network of the zoo."""

    def measure(name, shape, **arguments):
        model = built(name, shape, **arguments)
        return cost.parameters(model), cost.macs(model)

    return measure
