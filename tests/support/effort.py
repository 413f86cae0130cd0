"""Effort of property tests: few fixed examples in CI, many random ones under
`HYPOTHESIS_PROFILE=nightly`."""

from hypothesis import settings

IN_CI = 100
"""Examples of the profile of CI, which is Hypothesis' own default."""


def examples(in_ci: int, steps: int = 50) -> settings:
    """Return settings with this number of examples in CI, and as many times more at night as the
    profile says. `steps`: maximum length of one run of a state machine."""
    scaled = max(1, in_ci * settings().max_examples // IN_CI)
    return settings(max_examples=scaled, stateful_step_count=steps)
