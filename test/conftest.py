"""What all tests share."""

from hypothesis import HealthCheck, settings

# how fast examples are made depends on the machine's other work, and says nothing about the product
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
