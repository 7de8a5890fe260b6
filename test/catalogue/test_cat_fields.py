"""Every list field has a heading, a meaning and a kind that clients know."""

import pytest

from ganeti.master.queries import resources

RESOURCES = resources()


@pytest.mark.parametrize("what", sorted(RESOURCES))
def test_headings_are_unique_but_for_other_names_of_the_same_field(what):
    owners: dict[str, str] = {}
    for field in RESOURCES[what].fields.values():
        if "(same as " in field.doc:
            continue
        assert field.title not in owners, f"{field.name} and {owners.get(field.title)} are both headed {field.title}"
        owners[field.title] = field.name


@pytest.mark.parametrize("what", sorted(RESOURCES))
def test_fields_have_a_meaning(what):
    for field in RESOURCES[what].fields.values():
        assert field.title and " " not in field.title, field.name
        assert field.doc[0].isupper() and not field.doc.endswith("."), field.name
        assert field.kind.value != "unknown", field.name


@pytest.mark.parametrize("what", sorted(RESOURCES))
def test_the_name_field_exists(what):
    assert RESOURCES[what].name_field in RESOURCES[what].fields
