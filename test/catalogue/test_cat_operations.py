"""Every operation is documented, implemented and exercised."""

import pytest

from ganeti.logic.catalogue import UNITS
from ganeti.ops.base import COMMON_FIELDS, Declaration
from ganeti.ops.catalogue import REGISTRY

OPERATIONS = sorted(REGISTRY.values(), key=lambda declaration: declaration.opcode.__name__)


def name(declaration: Declaration) -> str:
    return declaration.opcode.__name__


@pytest.mark.parametrize("declaration", OPERATIONS, ids=name)
def test_operation_is_implemented(declaration):
    assert declaration.opcode in UNITS, "no logical unit is registered for it in ganeti.logic.catalogue"


@pytest.mark.parametrize("declaration", OPERATIONS, ids=name)
def test_operation_says_what_it_does(declaration):
    doc = declaration.opcode.__doc__ or ""
    assert len(doc.split()) >= 3 and doc.rstrip().endswith("."), "it needs a sentence as its docstring"


@pytest.mark.parametrize("declaration", OPERATIONS, ids=name)
def test_operation_is_exercised(declaration, tested):
    tag = str(declaration.opcode.__struct_config__.tag)
    verb = declaration.cli.verb if declaration.cli else ""
    assert {name(declaration), tag} & tested or (verb and {declaration.cli.tool, verb} <= tested), "no test uses it"


@pytest.mark.parametrize("declaration", OPERATIONS, ids=name)
def test_operation_declares_only_fields_that_exist(declaration):
    fields = set(declaration.opcode.__struct_fields__)
    cli = declaration.cli
    named = [declaration.summary, *(cli.positional if cli else ()), cli.many if cli else ""]
    assert {field for field in named if field} <= fields
    assert fields >= COMMON_FIELDS


def test_every_unit_has_an_operation():
    assert {opcode.__name__ for opcode in UNITS} <= {name(declaration) for declaration in OPERATIONS}
