"""What all tests share."""

import os
import signal

from hypothesis import HealthCheck, settings

# Tests run two at a time, and small tensors gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what runs in the background with SIGINT ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Shared machines stall: how long an example took says nothing about the code. The default suite
# draws the same examples each time.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
# `make fuzz` looks at other examples each time; what it finds becomes an @example.
settings.register_profile("exploring", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
