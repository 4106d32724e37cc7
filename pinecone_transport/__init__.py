"""The Pinecone overlay: peerings, spanning tree, SNEK and streams, sans-IO at the core.

Read ``stack.py`` first. From ``stack`` down to ``wire`` nothing does I/O; ``node`` and ``links`` are the shell
around it.
"""
