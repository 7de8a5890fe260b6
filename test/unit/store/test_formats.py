"""Formats of the state, and the steps between them."""

import pytest

from ganeti import errors
from ganeti.store import formats
from ganeti.store.api import Write
from ganeti.store.formats import Format, Step


def test_steps_are_in_order_and_without_a_gap():
    assert [step.to for step in formats.STEPS] == list(range(formats.FIRST + 1, formats.CURRENT + 1))


def test_state_that_does_not_say_has_the_first_format():
    assert formats.parse(None).number == formats.FIRST


def test_written_format_is_read_again():
    assert formats.parse(formats.write(7, "9.1").value) == Format(number=7, software="9.1")


@pytest.mark.parametrize("raw", ["", "2", '{"number": "two"}'])
def test_format_that_cannot_be_read_is_named(raw):
    with pytest.raises(errors.StoreError, match="format of the state cannot be read"):
        formats.parse(raw)


def test_newer_format_is_refused_with_the_version_that_wrote_it():
    with pytest.raises(errors.StoreError, match=r"has format 9 of version 4\.2.*knows formats up to 2") as caught:
        formats.check(Format(number=9, software="4.2"), known=2)
    assert "install version 4.2" in caught.value.hint


def test_older_format_is_refused_with_the_command_that_changes_it():
    with pytest.raises(errors.StoreError, match="has format 1, this version") as caught:
        formats.check(Format(number=1), known=2)
    assert "gnt-cluster upgrade --to" in caught.value.hint


def test_own_format_is_fine():
    formats.check(Format(number=2), known=2)


def rename(rows):
    """What a step could do: other keys in one table."""
    found = []
    for (table, key), value in rows.items():
        if table == "object" and key.startswith("old/"):
            found += [Write(table, key, None), Write(table, key.replace("old/", "new/"), value)]
    return found


def mark(rows):
    return [Write(table, key, value + "!") for (table, key), value in rows.items() if key.startswith("new/")]


STEPS = (
    Step(to=2, about="says its format", convert=lambda rows: ()),
    Step(to=3, about="other names", convert=rename),
    Step(to=4, about="other values", convert=mark),
)


def test_each_step_sees_what_the_one_before_left():
    rows = [("object", "old/1", "a"), ("job", "000000000001", "j")]
    writes = formats.convert(rows, STEPS, software="5")
    assert set(writes) == {
        Write("object", "old/1", None),
        Write("object", "new/1", "a!"),
        formats.write(4, "5"),
    }


@pytest.mark.parametrize(("number", "left"), [(1, [2, 3, 4]), (3, [4]), (4, [])])
def test_only_the_steps_that_are_left_are_made(number, left):
    assert [step.to for step in formats.steps_from(Format(number=number), steps=STEPS)] == left


def test_no_step_leads_back():
    with pytest.raises(errors.StoreError, match="knows formats up to 4"):
        formats.steps_from(Format(number=5), steps=STEPS)


def test_real_steps_turn_the_first_format_into_the_current_one():
    rows = [("meta", "flags", "{}"), ("object", "cluster/1", "{}")]
    writes = formats.convert(rows, formats.steps_from(formats.parse(None)))
    (said,) = [write for write in writes if (write.table, write.key) == formats.KEY]
    assert formats.parse(said.value).number == formats.CURRENT
