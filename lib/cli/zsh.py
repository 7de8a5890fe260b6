"""Zsh completion of all tools, made from the declarations: commands with what they do, options, their values, names."""

from __future__ import annotations

from ganeti.cli import commands, common
from ganeti.cli.completion import NAMES
from ganeti.ops.base import Parse
from ganeti.ops.verbs import CommandOption, Verb

_HEAD = """\
#compdef {tools}
# zsh completion of the gnt-* tools; generated, do not edit

_gnt_names() {{
  local -a found
  case "$1" in
{names}
    file) _files; return ;;
  esac
  compadd -a found
}}

_gnt() {{
  local tool=${{service:t}} verb=${{words[2]}}
  if ((CURRENT == 2)); then
    local -a verbs
    case "$tool" in
{verbs}
    esac
    _describe command verbs
    return
  fi
  words=("$tool $verb" "${{(@)words[3,-1]}}")
  ((CURRENT -= 1))
  case "$tool $verb" in
"""

_TAIL = """\
  esac
}

_gnt "$@"
"""


def script() -> str:
    """The whole completion file, `_ganeti`."""
    names = "\n".join(f'    {kind}) found=(${{(f)"$({command})"}}) ;;' for kind, command in NAMES.items())
    verbs = "\n".join(f"      {tool}) verbs=({_described(tool)}) ;;" for tool in commands.TOOLS)
    body = "".join(_case(verb) for tool in commands.TOOLS for verb in commands.every(tool))
    return _HEAD.format(tools=" ".join(commands.TOOLS), names=names, verbs=verbs) + body + _TAIL


def _described(tool: str) -> str:
    found = sorted((name, verb.summary) for verb in commands.every(tool) for name in (verb.name, *verb.aliases))
    return " ".join(_quoted(f"{name}:{summary}") for name, summary in found)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    """Text inside a specification of `_arguments`."""
    for special in "\\[]:":
        text = text.replace(special, "\\" + special)
    return text


def _case(verb: Verb) -> str:
    patterns = "|".join(f'"{verb.tool} {name}"' for name in (verb.name, *verb.aliases))
    specs = [spec for option in (*common.ALWAYS, *verb.options) for spec in _option(option)]
    specs.append(_quoted("(- *)--help[show help]"))
    specs += _arguments(verb)
    return f"    {patterns})\n      _arguments -S {' '.join(specs)}\n      ;;\n"


def _option(option: CommandOption) -> list[str]:
    value = "" if option.kind == "flag" else f":{_plain(option.metavar or option.dest)}:{_values(option)}"
    # the same one again would be refused by most commands; those that take it say so
    star = "*" if option.is_list or option.counts else ""
    glue = {True: "=", False: "+"}
    return [
        _quoted(f"{star}{flag}{glue[flag.startswith('--')] if value else ''}[{_plain(option.help)}]{value}")
        for flag in option.flags
    ]


def _values(option: CommandOption) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    if option.parse is Parse.YES_NO:
        return "(yes no)"
    if option.parse is Parse.NODE_PAIR:
        return "_gnt_names node"
    return " "


def _arguments(verb: Verb) -> list[str]:
    found = []
    for place, argument in enumerate(verb.arguments, start=1):
        values = " "
        if argument.choices:
            values = f"({' '.join(argument.choices)})"
        elif argument.completes:
            values = f"_gnt_names {argument.completes}"
        found.append(_quoted(f"{'*' if argument.most != 1 else place}:{_plain(argument.name)}:{values}"))
        if argument.most != 1:
            break  # what follows cannot be told from more of this
    return found
