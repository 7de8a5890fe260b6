"""Bash completion of all tools, made from the declarations: commands, options, their values, names of objects."""

from __future__ import annotations

import shlex

from ganeti import settings
from ganeti.cli import commands, common
from ganeti.ops.base import Parse
from ganeti.ops.verbs import CommandOption, Verb

_DATA = f'"${{GANETI_ROOTDIR}}{settings.DATA_DIR}'

#: shell commands that print the names of objects; they read what every node has, no master is asked
NAMES = {
    "instance": f'cat {_DATA}/ssconf_instance_list" 2>/dev/null',
    "node": f'cat {_DATA}/ssconf_node_list" 2>/dev/null',
    "group": f'cut -d" " -f2 {_DATA}/ssconf_nodegroups" 2>/dev/null',
    "network": f'cut -d" " -f2 {_DATA}/ssconf_networks" 2>/dev/null',
    "job": "gnt-job list --no-headers -o id 2>/dev/null",
}

_HEAD = r"""# bash completion of the gnt-* tools; generated, do not edit

_gnt_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_gnt_names() {
  case "$1" in
%(names)s
    file) COMPREPLY=($(compgen -f -- "$cur")) ;;
  esac
}

_gnt() {
  local tool=${1##*/} cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    case "$tool" in
%(verbs)s
    esac
    return
  fi
  case "$tool ${COMP_WORDS[1]}" in
"""

_TAIL = """  esac
}

complete -F _gnt %(tools)s
"""


def script() -> str:
    """The whole completion file."""
    names = "\n".join(f'    {kind}) _gnt_words "$({command})" ;;' for kind, command in NAMES.items())
    verbs = "\n".join(f"      {tool}) _gnt_words {_words(_verb_names(tool))} ;;" for tool in commands.TOOLS)
    body = "".join(_case(verb) for tool in commands.TOOLS for verb in commands.every(tool))
    return _HEAD % {"names": names, "verbs": verbs} + body + _TAIL % {"tools": " ".join(commands.TOOLS)}


def _verb_names(tool: str) -> list[str]:
    return sorted(name for verb in commands.every(tool) for name in (verb.name, *verb.aliases))


def _words(words: list[str]) -> str:
    return shlex.quote(" ".join(words))


def _case(verb: Verb) -> str:
    options = (*common.ALWAYS, *verb.options)
    patterns = "|".join(f'"{verb.tool} {name}"' for name in (verb.name, *verb.aliases))
    lines = [f"    {patterns})"]
    valued = [line for line in map(_value_case, options) if line]
    if valued:
        lines += ['      case "$previous" in', *valued, "      esac"]
    flags = [flag for option in options for flag in option.flags] + ["--help"]
    lines.append(f"      if [[ $cur == -* ]]; then _gnt_words {_words(flags)}; return; fi")
    for argument in verb.arguments[:1]:
        if argument.choices:
            lines.append(f"      _gnt_words {_words(list(argument.choices))}")
        elif argument.completes:
            lines.append(f"      _gnt_names {argument.completes}")
    lines.append("      ;;")
    return "\n".join(lines) + "\n"


def _value_case(option: CommandOption) -> str:
    """What may stand after an option, if that is known."""
    if option.kind == "flag":
        return ""
    flags = "|".join(option.flags)
    if option.choices:
        return f"        {flags}) _gnt_words {_words(list(option.choices))}; return ;;"
    if option.parse is Parse.YES_NO:
        return f"        {flags}) _gnt_words 'yes no'; return ;;"
    if option.parse is Parse.NODE_PAIR:
        return f"        {flags}) _gnt_names node; return ;;"
    return f"        {flags}) return ;;"
