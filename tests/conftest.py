"""Settings of all tests: hypothesis draws the same examples every time, and no example has a time limit."""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
