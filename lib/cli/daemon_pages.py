"""Man pages of daemons and other programs, made from their option parsers."""

from __future__ import annotations

import optparse
from collections.abc import Iterable, Iterator

from ganeti import settings
from ganeti.cli.manpages import escape


def page(parser: optparse.OptionParser, about: str, *, others: Iterable[str] = ()) -> str:
    """The roff source of the page of `parser.prog`; `about` is its one line, `others` are pages to see too."""
    return "\n".join(_page(parser, about, others)) + "\n"


def _page(parser: optparse.OptionParser, about: str, others: Iterable[str]) -> Iterator[str]:
    name = parser.get_prog_name()
    yield f'.TH {name.upper()} 8 "" "ganeti {settings.VERSION}" "Cluster management"'
    yield ".SH NAME"
    yield f"{escape(name)} \\- {escape(about[:1].lower() + about[1:].rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{escape(name)}\\fR {escape(parser.get_usage().strip().partition(name)[2].strip())}".rstrip()
    yield ".SH DESCRIPTION"
    yield escape(parser.get_description() or about)
    yield ".SH OPTIONS"
    for option in parser.option_list:
        if option.help != optparse.SUPPRESS_HELP:
            yield from _option(parser, option)
    yield ".SH SEE ALSO"
    yield ", ".join(f"\\fB{escape(other)}\\fR(8)" for other in sorted(others) if other != name)


def _option(parser: optparse.OptionParser, option: optparse.Option) -> Iterator[str]:
    flags = ", ".join(f"\\fB{escape(flag)}\\fR" for flag in (*option._short_opts, *option._long_opts))
    if option.takes_value():
        flags += f" \\fI{escape(option.metavar or (option.dest or 'value').upper())}\\fR"
    yield ".TP"
    yield flags
    # %default in it becomes the value
    yield escape(parser.formatter.expand_default(option))
