"""Hypothesis without a stopwatch: on a loaded machine a slow example is no defect."""

from hypothesis import HealthCheck, settings

settings.register_profile("odeploy", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("odeploy")
