"""The directive ``state-diagram``: a machine's diagram, drawn from the transition table that the machine runs by.

Its argument is ``module:NAME`` of a table ``{(state, input): next state}`` whose states and inputs are enum members.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from typing import Any, ClassVar

from sphinx.application import Sphinx
from sphinxcontrib.mermaid import Mermaid

Table = Mapping[tuple[Enum, Enum], Enum]


def diagram(table: Table) -> str:
    """Return the table as Mermaid has it: states that nothing leads to begin, those that nothing leaves end."""
    arrows = {(state, following): list[str]() for (state, _), following in table.items()}
    for (state, given), following in table.items():
        arrows[state, following].append(given.name)
    sources, targets = {state for state, _ in arrows}, {following for _, following in arrows}
    begins = [state for state in dict.fromkeys(state for state, _ in arrows) if state not in targets]
    ends = [state for state in dict.fromkeys(following for _, following in arrows) if state not in sources]
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state.name}" for state in begins]
    lines += [
        f"    {state.name} --> {following.name}: {', '.join(names)}" for (state, following), names in arrows.items()
    ]
    lines += [f"    {state.name} --> [*]" for state in ends]
    return "\n".join(lines)


class StateDiagram(Mermaid):
    """A Mermaid diagram whose text comes from a table."""

    has_content = False
    required_arguments = 1
    optional_arguments = 0
    option_spec: ClassVar[dict[str, Any]] = Mermaid.option_spec

    def get_mm_code(self) -> str:
        """Return the diagram's text."""
        module, _, name = self.arguments[0].partition(":")
        self.state.document.settings.env.note_dependency(import_module(module).__file__)
        return diagram(getattr(import_module(module), name))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("state-diagram", StateDiagram)
    return {"parallel_read_safe": True}
