"""What else lives in the network."""

from __future__ import annotations

from ganeti.calls.node import AddressProbe
from ganeti.host import net
from ganeti.node.base import Context, NodeEnv, handles


@handles(AddressProbe)
def probe(call: AddressProbe, env: NodeEnv, context: Context) -> bool:
    return net.answers(call.address, call.port)
