"""What all tests share."""

import os

from hypothesis import HealthCheck, settings

# Tests run two at a time, and small tensors gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines stall: how long an example took says nothing about the code.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("default")
