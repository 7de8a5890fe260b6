"""Everything that is declared has a command, help, man text and completion."""

import subprocess

import pytest
from unit.cli.kit import check_golden, run

from ganeti.cli import commands, completion, derive, manpages, parser
from ganeti.ops import catalogue
from ganeti.ops.base import COMMON_FIELDS
from ganeti.ops.verbs import Verb, split_docstring

VERBS = [verb for tool in commands.TOOLS for verb in commands.every(tool)]
OPERATIONS = [declaration for declaration in catalogue.REGISTRY.values() if declaration.cli]

#: fields of operations with a command that no option sets, and why
DELIBERATE = {
    ("OP_INSTANCE_CREATE", "mode"): "imports are made by gnt-backup",
    ("OP_INSTANCE_CREATE", "snode"): "second half of -n",
    ("OP_INSTANCE_CREATE", "hvparams"): "second half of -H",
    ("OP_INSTANCE_STARTUP", "shutdown_timeout"): "clients may send it; a start does not stop anything",
    ("OP_INSTANCE_SHUTDOWN", "admin_state_source"): "the watcher says user, people are admin",
    ("OP_CLUSTER_SET_PARAMS", "os_hvp"): "gnt-os modify sets it",
    ("OP_CLUSTER_SET_PARAMS", "osparams"): "gnt-os modify sets it",
    ("OP_CLUSTER_SET_PARAMS", "osparams_private_cluster"): "gnt-os modify sets it",
    ("OP_CLUSTER_SET_PARAMS", "hidden_os"): "gnt-os modify sets it",
    ("OP_CLUSTER_SET_PARAMS", "blacklisted_os"): "gnt-os modify sets it",
    ("OP_CLUSTER_REPAIR_DISK_SIZES", "instances"): "the words of the command",
    ("OP_NODE_POWERCYCLE", "node_name"): "the word of the command",
    ("OP_REPAIR_NODE_STORAGE", "unattended"): "the cluster itself, never people",
    ("OP_NODE_MODIFY_STORAGE", "node_name"): "a word of the command",
    ("OP_NODE_MODIFY_STORAGE", "storage_type"): "a word of the command",
    ("OP_NODE_MODIFY_STORAGE", "name"): "a word of the command",
    ("OP_NODE_MODIFY_STORAGE", "changes"): "made of --allocatable",
    ("OP_REPAIR_NODE_STORAGE", "node_name"): "a word of the command",
    ("OP_REPAIR_NODE_STORAGE", "storage_type"): "a word of the command",
    ("OP_REPAIR_NODE_STORAGE", "name"): "a word of the command",
    **{
        ("OP_INSTANCE_CREATE", name): "an option of gnt-backup import"
        for name in ("src_node", "src_path", "compress", "identify_defaults", "os_mode")
    },
    ("OP_BACKUP_EXPORT", "mode"): "exports to other clusters are not available",
    ("OP_BACKUP_EXPORT", "zero_free_space"): "not available",
    ("OP_INSTANCE_RECREATE_DISKS", "disks"): "--disk, once for each",
    ("OP_INSTANCE_RECREATE_DISKS", "nodes"): "-n PRIMARY:SECONDARY",
    ("OP_CLUSTER_RENEW_CRYPTO", "secrets"): "those that other options make, or take from files",
    ("OP_CLUSTER_RENEW_CRYPTO", "debug"): "in the wire form only",
    ("OP_NODE_ADD", "primary_ip"): "the join finds it out",
    ("OP_NODE_ADD", "node_uuid"): "the join chooses it",
    ("OP_NODE_ADD", "certificate_digest"): "the join makes the certificate",
}


def named(verb: Verb) -> str:
    return f"{verb.tool}-{verb.name}"


@pytest.mark.parametrize("verb", VERBS, ids=named)
def test_help(verb):
    ended = run(verb.tool, verb.name, "--help")
    assert (ended.code, ended.err) == (0, "")
    check_golden(f"help/{named(verb)}", ended.out)
    for option in parser.all_options(verb):
        assert option.help
        for flag in option.flags:
            assert flag in ended.out


@pytest.mark.parametrize("declaration", OPERATIONS, ids=lambda declaration: declaration.opcode.__name__)
def test_operation_has_its_command_and_every_field_an_option(declaration):
    cli = declaration.cli
    verb = commands.find(cli.tool, cli.verb)
    assert verb is not None
    assert verb.operation is declaration
    reached = {option.dest for option in verb.options} | {*cli.positional, cli.many}
    for name in set(declaration.opcode.__struct_fields__) - COMMON_FIELDS:
        key = (str(declaration.opcode.__struct_config__.tag), name)
        assert (name in reached) != (key in DELIBERATE), f"{key}: an option, or a reason why not"


def test_deliberate_gaps_are_real_fields():
    for tag, name in DELIBERATE:
        assert name in catalogue.REGISTRY[tag].opcode.__struct_fields__


def test_names_and_aliases_are_unique():
    for tool in commands.TOOLS:
        names = [name for verb in commands.every(tool) for name in (verb.name, *verb.aliases)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("tool", "alias", "name"),
    [
        ("gnt-instance", "start", "startup"),
        ("gnt-instance", "stop", "shutdown"),
        ("gnt-instance", "show", "info"),
        ("gnt-node", "show", "info"),
        ("gnt-job", "show", "info"),
        ("gnt-cluster", "show", "info"),
    ],
)
def test_alias(tool, alias, name):
    assert commands.find(tool, alias).name == commands.find(tool, name).name == name


#: the commands that the first stage has
WANTED = {
    "gnt-cluster": "init info getmaster verify modify queue destroy version redist-conf",
    "gnt-node": "add list list-fields info modify remove",
    "gnt-instance": "add list list-fields info startup shutdown reboot modify rename remove",
    "gnt-os": "list diagnose",
    "gnt-job": "list list-fields info watch cancel archive autoarchive change-priority wait",
    "gnt-debug": "delay locks submit-job",
}


def test_nothing_is_missing():
    for tool, names in WANTED.items():
        assert set(names.split()) <= {verb.name for verb in commands.every(tool)}


@pytest.mark.parametrize("tool", commands.TOOLS)
def test_man_page_has_every_command_and_option(tool):
    text = manpages.page(tool)
    for verb in commands.every(tool):
        assert f".SS {manpages.escape(verb.name)}\n" in text
        section = text.split(f".SS {manpages.escape(verb.name)}\n")[1].split(".SS ")[0].split(".SH ")[0]
        for option in verb.options:
            for flag in option.flags:
                assert f"\\fB{manpages.escape(flag)}\\fR" in section
            assert manpages.escape(option.help) in section
            for choice in option.choices:
                assert manpages.escape(choice) in section
    for code, _ in manpages.EXIT_CODES:
        assert f"\\fB{code}\\fR" in text


def test_man_pages_and_completion_are_written(tmp_path):
    written = manpages.write(str(tmp_path))
    assert sorted(path.removeprefix(f"{tmp_path}/") for path in written) == sorted(
        [*(f"man8/{tool}.8" for tool in commands.TOOLS), "bash_completion.d/ganeti"]
    )


def test_roff_escapes():
    assert manpages.escape("a-b\\c\n.d\n'e") == "a\\-b\\ec\n\\&.d\n\\&'e"


def _completed(*words: str) -> list[str]:
    line = " ".join(f"'{word}'" for word in words)
    typed = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _gnt {words[0]}"
    code = f'{completion.script()}\n{typed}; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split()


def test_completion():
    assert _completed("gnt-instance", "st") == ["start", "startup", "stop"]
    assert _completed("gnt-cluster", "queue", "") == ["drain", "undrain", "info"]
    assert _completed("gnt-instance", "add", "-t", "sh") == ["sharedfile"]
    assert _completed("gnt-node", "modify", "--offline", "") == ["yes", "no"]
    assert _completed("gnt-instance", "stop", "--force-") == ["--force-multiple"]


def test_completion_of_names(tmp_path, monkeypatch):
    data = tmp_path / "var/lib/ganeti"
    data.mkdir(parents=True)
    (data / "ssconf_instance_list").write_text("web1\nweb2\ndb\n")
    monkeypatch.setenv("GANETI_ROOTDIR", str(tmp_path))
    assert _completed("gnt-instance", "remove", "web") == ["web1", "web2"]


def test_docstring_becomes_summary_and_description():
    text = """Do it. And more.

    Second paragraph
    goes on. Result: list.
    """
    assert split_docstring(text) == ("Do it", "Do it. And more.\n\nSecond paragraph goes on.")


def test_every_option_of_an_operation_is_of_a_known_kind():
    for declaration in OPERATIONS:
        for option in derive.options_of(declaration.opcode):
            assert option.kind in ("flag", "text", "int", "float")
            assert all(flag.startswith("-") for flag in option.flags)
