"""Twisted plug-in that makes the `pinecone:` endpoint strings known."""
