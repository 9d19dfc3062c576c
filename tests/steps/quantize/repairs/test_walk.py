"""The walk computes what the converted graph computes."""

import torch

from paring.steps.quantize import graph
from paring.steps.quantize.repairs.walk import Walk
from paring.testing.repairs import Worked, outputs, small


def test_known_scales_round_as_the_converted_graph_does(work: Worked) -> None:
    made = work(small())
    walk = Walk(made, size=16)
    last = None
    for place in walk:
        last = place
    assert last is not None
    assert last.layer.name == "10"
    reached = torch.cat(walk.float.through(last.reference.node))
    torch.testing.assert_close(reached, outputs(made.folded, made))
    node = next(iter(last.layer.node.users))  # what rounds the network's output
    found = torch.cat(walk.quantized.through(node))
    torch.testing.assert_close(found, outputs(graph.convert(made.graph), made), rtol=1e-4, atol=1e-4)


def test_what_is_changed_is_seen_behind(work: Worked) -> None:
    made = work(small())
    walk = Walk(made)
    first, second = walk.places[:2]
    with torch.no_grad():
        for place in walk:
            if place == first:
                made.graph.get_parameter(place.layer.weight).zero_()
                made.graph.get_parameter(str(place.layer.bias)).zero_()
            if place == second:
                assert all(not one.any() for one in walk.quantized.value(place.layer.node.all_input_nodes[0]))
                assert all(one.any() for one in walk.float.value(place.reference.node.all_input_nodes[0]))
                return
