"""Every node call is documented, has a handler and is exercised."""

import msgspec
import pytest

from ganeti.calls.base import ChangingCall
from ganeti.calls.catalogue import REGISTRY
from ganeti.node.catalogue import HANDLERS

CALLS = sorted(REGISTRY.values(), key=lambda call: call.__name__)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_call_has_a_handler(call):
    assert call in HANDLERS, "no handler is registered for it in ganeti.node.catalogue"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_call_is_exercised(call, tested):
    assert {call.__name__, str(call.__struct_config__.tag)} & tested, "no test uses it"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_call_has_a_form_that_can_travel(call):
    msgspec.json.Decoder(call)
    assert not issubclass(call, ChangingCall) or "undoes" in call.__struct_fields__


def test_every_handler_has_a_call():
    assert {call.__name__ for call in HANDLERS} <= {call.__name__ for call in CALLS}
