"""What all tests share."""

from hypothesis import HealthCheck, settings

# Shared machines stall: how long an example took says nothing about the code.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("default")
