"""The edge's contract, whole: subclass `EdgeContract`, give it a fixture `edge`, and the edge behind it is tested.

It runs against the app in this process (`test_edge_asgi`), and as it is against the built bundle in its own runtime.
"""

from tests.contract.edge_claim_suite import ClaimContract, RefusalContract
from tests.contract.edge_fault_suite import BrokenPortContract, OriginFaultContract, StoreFaultContract
from tests.contract.edge_overlay_suite import OverlayContract, StockContract
from tests.contract.edge_report_suite import ReportContract
from tests.contract.edge_wire_suite import BodyContract, RoutingContract


class HealthyContract(
    OverlayContract,
    StockContract,
    ClaimContract,
    RefusalContract,
    ReportContract,
    BodyContract,
    RoutingContract,
):
    """What needs no fault to be injected."""


class EdgeContract(HealthyContract, StoreFaultContract, OriginFaultContract, BrokenPortContract):
    """All of it."""
