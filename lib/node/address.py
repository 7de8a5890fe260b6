"""What else lives in the network."""

from __future__ import annotations

from ganeti.calls.node import AddressProbe
from ganeti.host import net
from ganeti.node.base import Context, NodeEnv, handles


@handles(AddressProbe)
def probe(call: AddressProbe, env: NodeEnv, context: Context) -> bool:
    # every address of the loopback network refuses connections: that shows nobody
    return net.answers(call.address, call.port, live_if_refused=not net.is_loopback(call.address))
