"""What holds for every test: one Hypothesis profile, and readable assertions in the suites that are run elsewhere."""

import pytest
from hypothesis import settings

# The same examples in every run, and no timed tests: a failure here is a failure everywhere.
settings.register_profile("cliptill", derandomize=True, deadline=None, database=None)
settings.load_profile("cliptill")

pytest.register_assert_rewrite(
    "tests.contract.edge_driver",
    "tests.contract.edge_claim_suite",
    "tests.contract.edge_fault_suite",
    "tests.contract.edge_overlay_suite",
    "tests.contract.edge_report_suite",
    "tests.contract.edge_wire_suite",
)
