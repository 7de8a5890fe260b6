"""`burnin`, as administrators run it before a cluster gets work."""

from qa.conftest import wait_until
from qa.mirrored import is_gone

BURNIN = "/usr/lib/ganeti/tools/burnin -v -o kernel-only -t drbd --disk-size=64m --disk-growth=32m --no-nics"


def test_a_mirrored_guest_goes_through_everything(cluster):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    print(bed.ok(1, f"{BURNIN} --rename inst56.tb.example inst52.tb.example"))
    wait_until("nothing is left", lambda: is_gone(bed), timeout_s=120)
    bed.verify()
