"""Man pages and bash completion, made from the declarations: `python -m ganeti.cli.manpages OUTDIR`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from ganeti import settings
from ganeti.cli import commands, common, completion, main, parser
from ganeti.luxi.client import SOCKET_VARIABLE
from ganeti.ops.verbs import CommandOption, Verb

ABOUT = {
    "gnt-cluster": "the cluster as a whole: create, inspect, check, change, end",
    "gnt-node": "the nodes of the cluster",
    "gnt-instance": "the instances: virtual machines",
    "gnt-group": "node groups",
    "gnt-storage": "providers of external storage",
    "gnt-network": "networks and their addresses",
    "gnt-backup": "exports of instances: kept on nodes, imported again",
    "gnt-os": "operating system definitions",
    "gnt-job": "the job queue",
    "gnt-filter": "rules for the jobs that wait in the queue",
    "gnt-debug": "looking into the cluster's machinery",
}

EXIT_CODES = (
    (0, "done; with --submit: submitted"),
    (1, "not done: the request was refused, the job failed, or a question was answered with no"),
    (2, "an option is wrong, or the stored configuration cannot be read"),
)

ENVIRONMENT = (
    *((name, f"Words that go before the arguments of {tool} {verb}.") for (tool, verb), name in main.DEFAULTS.items()),
    (SOCKET_VARIABLE, "The master's socket: master, query or a path."),
)

_CONVENTIONS = (
    "Commands run on the master node. Options come before arguments.",
    "An instance or node may be given by its full name or by the part of it before a dot, if only one matches.",
    "Sizes are numbers with m, g or t (MiB without); times are whole numbers with s, m, h, d or w (seconds without).",
    "KEY=VALUE,... takes KEY for true, no_KEY for false and -KEY for back to the default; a backslash keeps a comma.",
)


def escape(text: str) -> str:
    """Plain text as roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in escaped.split("\n"))


def page(tool: str) -> str:
    """The roff source of a tool's page."""
    return "\n".join(_page(tool)) + "\n"


def _page(tool: str) -> Iterator[str]:
    verbs = commands.every(tool)
    yield f'.TH {tool.upper()} 8 "" "ganeti {settings.VERSION}" "Cluster management"'
    yield ".SH NAME"
    yield f"{escape(tool)} \\- {escape(ABOUT[tool])}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{escape(tool)}\\fR \\fIcommand\\fR [options...] [argument...]"
    yield ".SH DESCRIPTION"
    for text in _CONVENTIONS:
        yield ".PP"
        yield escape(text)
    yield ".SH COMMON OPTIONS"
    yield from _options((CommandOption(dest="", flags=("-h", "--help"), help="show help", kind="flag"), *common.ALWAYS))
    yield ".SH COMMANDS"
    for verb in verbs:
        yield from _verb(verb)
    yield ".SH EXIT STATUS"
    for code, text in EXIT_CODES:
        yield from _item(str(code), text)
    yield ".SH ENVIRONMENT"
    for name, text in ENVIRONMENT:
        yield from _item(name, text)
    yield ".SH SEE ALSO"
    yield ", ".join(f"\\fB{escape(other)}\\fR(8)" for other in sorted(ABOUT) if other != tool)


def _verb(verb: Verb) -> Iterator[str]:
    yield f".SS {escape(verb.name)}"
    yield f"\\fB{escape(parser.usage(verb))}\\fR"
    for paragraph in verb.description.split("\n\n"):
        yield ".PP"
        yield escape(paragraph)
    if verb.aliases:
        yield ".PP"
        yield escape(f"Also called {', '.join(verb.aliases)}.")
    yield from _options(verb.options)
    for code, text in verb.exit_codes:
        yield ".PP"
        yield escape(f"Exit code {code}: {text}.")


def _options(options: Sequence[CommandOption]) -> Iterator[str]:
    for option in options:
        name = ", ".join(f"\\fB{escape(flag)}\\fR" for flag in option.flags)
        if option.kind != "flag":
            name += f" \\fI{escape(option.metavar or option.dest.upper())}\\fR"
        text = option.help + (f" [{option.default}]" if option.default else "")
        if option.choices and not all(choice in text + option.metavar for choice in option.choices):
            text += f" ({', '.join(option.choices)})"
        yield ".TP"
        yield name
        yield escape(text)


def _item(head: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{escape(head)}\\fR"
    yield escape(text)


def write(directory: str) -> list[str]:
    """Write man8/gnt-*.8 and bash_completion.d/ganeti below a directory; the paths."""
    written = []
    texts = {f"man8/{tool}.8": page(tool) for tool in commands.TOOLS}
    texts["bash_completion.d/ganeti"] = completion.script()
    for relative, text in texts.items():
        path = os.path.join(directory, relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m ganeti.cli.manpages OUTDIR")
    for name in write(sys.argv[1]):
        print(name)
