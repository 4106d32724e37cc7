"""The reading that the interoperability tests hold frames to objects to all that harms a Go node."""

import pytest

from tests.support.strict_frames import fault_in_frame
from tests.support.vectors import load_vector, named

FRAMES = load_vector("frames")


@pytest.mark.parametrize("case", named(FRAMES["valid"]))
def test_frames_of_go_nodes_are_right(case: dict) -> None:
    assert fault_in_frame(bytes.fromhex(case["hex"])) is None


@pytest.mark.parametrize("case", named([case for case in FRAMES["malformed"] if case["parse_advice"] != "accept"]))
def test_frames_that_a_node_should_not_take_are_not(case: dict) -> None:
    assert fault_in_frame(bytes.fromhex(case["hex"])) is not None
