"""Values of opcodes that nobody is shown."""

from __future__ import annotations

import pytest

from ganeti import errors
from ganeti.ops import hidden
from ganeti.ops.catalogue import REGISTRY

FORM = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "osparams": {"size": "big"},
    "osparams_secret": {"password": "tulip"},
    "instances": [{"osparams_private": {"key": "rose", "flag": False}}],
}


def test_split_form_has_the_names_alone_and_joins_again():
    shown, values = hidden.split(FORM)
    assert shown == {
        **FORM,
        "osparams_secret": {"password": hidden.REDACTED},
        "instances": [{"osparams_private": {"key": hidden.REDACTED, "flag": hidden.REDACTED}}],
    }
    assert shown == hidden.redacted(FORM)
    assert hidden.has_hidden(shown)
    assert hidden.joined(shown, values) == FORM


def test_form_without_hidden_values_stays_as_it_is():
    form = {"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "osparams_private": {}}
    assert hidden.split(form) == (form, "")
    assert not hidden.has_hidden(form)


def test_a_redacted_value_is_no_value():
    with pytest.raises(errors.PrereqError, match=r"osparams_secret.password is '<redacted>'"):
        hidden.split({"osparams_secret": {"password": hidden.REDACTED}})


@pytest.mark.parametrize("untrusted", ["text", 1, None, [["osparams_secret"]], {"osparams_secret": "x"}])
def test_anything_can_be_redacted(untrusted):
    assert hidden.redacted(untrusted) == (
        untrusted if untrusted != {"osparams_secret": "x"} else {"osparams_secret": hidden.REDACTED}
    )


def test_every_field_that_sounds_secret_is_hidden():
    for declaration in REGISTRY.values():
        for name in declaration.opcode.__struct_fields__:
            assert name in hidden.FIELDS or not {"private", "secret", "password"} & set(name.split("_")), name
