"""Twisted plug-in that makes the `pinecone:` endpoint strings known."""

from twisted_endpoints.strings import PineconeStringParser

pinecone_parser = PineconeStringParser()
