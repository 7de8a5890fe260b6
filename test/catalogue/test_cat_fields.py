"""Every list field has a heading, a meaning and a kind that clients know."""

import os

import pytest

from ganeti.master.queries import resources

RESOURCES = resources()
#: what no other system has
OWN = {("job", "opstep"), ("job", "waits_for"), ("lock", "waited")}


def known() -> list[list[str]]:
    """Lines of list-fields.txt: resource, name, title, kind."""
    with open(os.path.join(os.path.dirname(__file__), "list-fields.txt"), encoding="utf-8") as file:
        return [line.split() for line in file if not line.startswith("#")]


@pytest.mark.parametrize("what", sorted({line[0] for line in known()}))
def test_every_field_that_clients_know_is_there_as_they_know_it(what):
    wanted = {name: (title, kind) for resource, name, title, kind in known() if resource == what}
    fields = RESOURCES[what].fields
    assert {name: (fields[name].title, fields[name].kind.value) for name in wanted if name in fields} == wanted


def test_a_field_of_our_own_is_meant_to_be_one():
    listed = {(resource, name) for resource, name, *_ in known()}
    found = {(what, name) for what, resource in RESOURCES.items() for name in resource.fields}
    assert {(what, name) for what, name in found - listed if not name.startswith("hv/")} == OWN


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
