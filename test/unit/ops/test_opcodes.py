"""Opcodes from untrusted values, and back."""

from __future__ import annotations

import pytest

from ganeti import errors
from ganeti.ops import catalogue
from ganeti.ops.base import decode, encode
from ganeti.ops.instance import OpInstanceCreate
from ganeti.ops.test import OpTestDelay


def test_decode_when_complete_then_typed():
    op = decode({"OP_ID": "OP_TEST_DELAY", "duration": 1, "on_nodes": ["n1"], "comment": None})
    assert op == OpTestDelay(duration=1.0, on_nodes=("n1",))
    assert encode(op) == {"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "on_nodes": ("n1",)}


def test_encode_then_decode_gives_the_same():
    op = OpInstanceCreate(
        instance_name="web1", disks=({"size": "1g"},), nics=(), depends=((-1, ("success",)),), priority=-10
    )
    assert decode(encode(op)) == op


@pytest.mark.parametrize(
    ("untrusted", "text"),
    [
        ([], "is a JSON object"),
        ({}, "needs the key OP_ID"),
        ({"OP_ID": 5}, "needs the key OP_ID"),
        ({"OP_ID": "OP_TEST_DELAY"}, "duration"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": "long"}, "duration"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": -1}, "duration"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": 1, "colour": "red"}, "its parameters are duration, on_master"),
        ({"OP_ID": "OP_CLUSTER_REDIST_CONF", "colour": "red"}, "no parameters of its own"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": 1, "priority": 99}, "priority"),
        ({"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "a", "reboot_type": "soon"}, "reboot_type"),
        ({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": ""}, "instance_name"),
    ],
)
def test_decode_when_wrong_then_says_what(untrusted, text):
    with pytest.raises(errors.PrereqError, match=text) as caught:
        decode(untrusted)
    assert caught.value.code == "wrong_input"


def test_decode_when_unknown_then_opcode_unknown():
    with pytest.raises(errors.OpCodeUnknown, match="OP_MAKE_COFFEE"):
        decode({"OP_ID": "OP_MAKE_COFFEE"})


@pytest.mark.parametrize("op_id", sorted(catalogue.REGISTRY))
def test_every_module_of_operations_is_in_the_catalogue(op_id):
    declared = catalogue.REGISTRY[op_id].opcode
    assert declared.__module__ in {module.__name__ for module in catalogue.MODULES}


def test_summary_names_the_object():
    assert OpTestDelay(duration=2.5).summary == "TEST_DELAY(2.5)"
    assert decode({"OP_ID": "OP_CLUSTER_VERIFY"}).summary == "CLUSTER_VERIFY"
