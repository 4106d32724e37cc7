"""Sphinx configuration: MyST Markdown, furo, Mermaid diagrams."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "synapse-pinecone"
author = "The synapse-pinecone contributors"
copyright = author

extensions = ["myst_parser", "sphinxcontrib.mermaid", "state_diagram"]
exclude_patterns = ["_build", "_extensions", "changelog.d"]

myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "synapse-pinecone"
