"""How fast streams over the overlay are, beside plain HTTPS over TCP, in one run on one machine.

``__main__`` is the command and shows the table, ``paths`` starts the processes of a path and asks them to measure,
``process`` is what each of them runs, ``http`` the requests and answers that are timed.
"""
