import importlib
import os
import sys

# With -n the first process only hands out tests: it need not wait for torch.
_HANDS_OUT = (
    "PYTEST_XDIST_WORKER" not in os.environ
    and any(word.startswith(("-n", "--numprocesses")) for word in sys.argv)
    # It imports the conftest.py of folders that are named.
    and not any(os.path.exists(word.partition("::")[0]) for word in sys.argv[1:])
)
# Else Ray, imported by a test before a search starts it, would write a token into the home directory.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
_FIXTURES = None if _HANDS_OUT else importlib.import_module("shared_fixtures")


def pytest_configure(config):
    if _FIXTURES:
        config.pluginmanager.register(_FIXTURES)
