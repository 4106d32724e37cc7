"""Sphinx configuration: MyST Markdown, furo, mermaid diagrams."""

project = "synapse-pinecone"
author = "The synapse-pinecone contributors"
copyright = author

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build", "changelog.d"]

myst_enable_extensions = ["colon_fence"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "synapse-pinecone"
