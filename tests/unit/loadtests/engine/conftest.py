"""Locust must not patch the sockets of the process that runs the tests."""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
