"""Everything declared is implemented, documented and used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ganeti
from ganeti.calls import catalogue as call_catalogue
from ganeti.logic import catalogue
from ganeti.ops import catalogue as op_catalogue
from ganeti.ops.base import COMMON_FIELDS

LIB = Path(ganeti.__file__).parent

#: calls that no logical unit makes, and who does or will
USED_ELSEWHERE = {
    "hooks_run": "the engine, for all operations",
    "iallocator_run": "the engine, when an allocator is asked",
    "instance_console_log": "the console log command, by a direct query",
    "master_ping": "the taking over of the mastership",
    "master_stop": "the taking over of the mastership",
    "provider_diagnose": "lists of external storage",
    "request_fence": "the engine, when the end of a call is not known",
    "ssconf_write": "the engine, after commits",
    "trust_push": "the engine, when candidates change",
    "task_cancel": "the engine, when a job is killed",
    "term_push": "the engine, after a mastership was won",
}
#: the store's own protocol
STORE_CALLS = {name for name in call_catalogue.REGISTRY if name.startswith("store_")}


@pytest.mark.parametrize("op_id", sorted(op_catalogue.REGISTRY))
def test_operation_has_a_unit(op_id):
    assert op_catalogue.REGISTRY[op_id].opcode in catalogue.UNITS


@pytest.mark.parametrize("op_id", sorted(op_catalogue.REGISTRY))
def test_operation_and_its_options_are_documented(op_id):
    opcode = op_catalogue.REGISTRY[op_id].opcode
    assert opcode.__doc__
    assert opcode.__doc__[0].isupper()


@pytest.mark.parametrize("op_id", sorted(op_catalogue.REGISTRY))
def test_operation_with_hooks_names_its_object(op_id):
    declared = op_catalogue.REGISTRY[op_id]
    assert bool(declared.hooks) == bool(declared.object_type)
    unit = catalogue.UNITS[declared.opcode]
    assert ("hooks" in unit.__dict__) == bool(declared.hooks)


@pytest.mark.parametrize("op_id", sorted(op_catalogue.REGISTRY))
def test_operation_is_tested(op_id):
    name = op_catalogue.REGISTRY[op_id].opcode.__name__
    tests = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    assert any(re.search(rf"\b({name}|{op_id})\b", path.read_text()) for path in tests)


def test_units_are_of_declared_operations_only():
    declared = {declaration.opcode for declaration in op_catalogue.REGISTRY.values()}
    assert set(catalogue.UNITS) == declared


def test_every_call_is_made_by_a_unit_or_explained():
    text = "".join(path.read_text() for path in (LIB / "logic").glob("*.py"))
    unused = {name for name, call in call_catalogue.REGISTRY.items() if not re.search(rf"\b{call.__name__}\b", text)}
    assert unused - STORE_CALLS == set(USED_ELSEWHERE)


def test_every_resolver_that_a_plan_names_is_there():
    wanted = {
        "instance-start",
        "instance-stop",
        "instance-remove",
        "instance-failover",
        "instance-reinstall",
        "instance-migrate",
    }
    assert wanted <= set(catalogue.RESOLVERS)


@pytest.mark.parametrize("op_id", sorted(op_catalogue.REGISTRY))
def test_summary_field_exists(op_id):
    declared = op_catalogue.REGISTRY[op_id]
    own = set(declared.opcode.__struct_fields__) - COMMON_FIELDS
    assert not declared.summary or declared.summary in own
