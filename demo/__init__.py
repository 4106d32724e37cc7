"""Two homeservers that reach each other only through a relay, and everything Matrix federation does between them.

``__main__`` is the command and ``table`` what it shows; ``state`` is what is kept between two starts, ``overlay`` and
``processes`` are the three programs; ``client_api`` is a user at a homeserver, ``steps`` is what the users do and what
must come of it.
"""
