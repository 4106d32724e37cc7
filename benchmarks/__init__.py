"""How fast the overlay is, beside plain HTTPS over TCP and the Go reference, in one run on one machine.

``__main__`` is the command, ``rows`` what is measured, ``cases`` what comes of it, ``report`` and ``charts`` how it is
shown. Every node is a process of its own: ``endpoint`` (servers and clients), ``raw`` (peers that only send or count),
``throttle`` (links that are slow and lose frames), ``inside`` (parts of a node without a network), the Go peer.
"""
