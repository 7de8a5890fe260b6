"""Every command has help, stands in its man page and is exercised; every launcher has its tool."""

import os

import pytest

from ganeti.cli import commands, manpages

COMMANDS = [(tool, verb) for tool in sorted(commands.TOOLS) for verb in commands.every(tool)]


def title(pair):
    return f"{pair[0]}-{pair[1].name}"


@pytest.mark.parametrize("pair", COMMANDS, ids=title)
def test_command_is_found_by_its_name_and_aliases(pair):
    tool, verb = pair
    assert all(commands.find(tool, word).name == verb.name for word in (verb.name, *verb.aliases))


@pytest.mark.parametrize("pair", COMMANDS, ids=title)
def test_command_stands_in_the_man_page_with_its_options(pair):
    tool, verb = pair
    page = manpages.page(tool).replace("\\-", "-")
    assert verb.name in page
    missing = [flag for option in verb.options for flag in option.flags if flag not in page]
    assert not missing, f"options without a word in the page: {missing}"


@pytest.mark.parametrize("pair", COMMANDS, ids=title)
def test_every_option_has_help(pair):
    assert [option.flags for option in pair[1].options if not option.help.strip()] == []


@pytest.mark.parametrize("pair", COMMANDS, ids=title)
def test_command_is_exercised(pair, tested):
    tool, verb = pair
    assert tool in tested
    assert {verb.name, *verb.aliases} & tested, "no test runs it"


def test_every_tool_has_its_launcher(repository):
    for tool in commands.TOOLS:
        assert os.access(f"{repository}/scripts/{tool}", os.X_OK)
