"""A node of the testbed: shared suites play on its real Xen, LVM and DRBD too when these variables name them.

LIVE_VG         volume group that takes the suite's volumes
LIVE_PEER       the second node, as ssh knows it; this folder lies there under the same path
LIVE_ADDRESSES  of this node and of the second for replication and migration: `10.0.0.1,10.0.0.2`

What the suite makes there has names of its own, so a cluster on the same nodes is not disturbed.
"""

import os

import pytest

VG = os.environ.get("LIVE_VG", "")
PEER = os.environ.get("LIVE_PEER", "")
ADDRESSES = tuple(os.environ.get("LIVE_ADDRESSES", "").split(","))
#: begin of the names of all volumes and guests of the suite
PREFIX = "driver-suite-"


def only_there(*names):
    """Parameters of tests that there are on such a node alone: elsewhere they are not even skipped."""
    return [pytest.param(name, marks=pytest.mark.testbed) for name in names] if VG else []
