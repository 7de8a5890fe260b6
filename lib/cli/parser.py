"""The words of one command as a `Call`: optparse does the words, `syntax` the values."""

from __future__ import annotations

import optparse
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from ganeti import errors
from ganeti.cli import common, derive, syntax
from ganeti.ops.base import Cli, Parse
from ganeti.ops.verbs import Argument, Call, CommandOption, Verb


class Exit(Exception):
    """The command ends here: help was shown, or the options are wrong."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ArgumentCount(Exception):
    """Too few or too many arguments; the text is for the user."""


class _Parser(optparse.OptionParser):
    """optparse without its exits and with our streams."""

    def __init__(self, usage: str, description: str, out: TextIO, err: TextIO) -> None:
        formatter = optparse.IndentedHelpFormatter(max_help_position=30, width=79)
        super().__init__(usage=usage, description=description, formatter=formatter)
        self._out, self._err = out, err
        self.disable_interspersed_args()

    def print_help(self, file: Any = None) -> None:
        self._out.write(self.format_help())

    def exit(self, status: int = 0, msg: str | None = None) -> NoReturn:
        if msg:
            self._err.write(msg)
        raise Exit(status)

    def error(self, msg: str) -> NoReturn:
        self._err.write(self.get_usage())
        self.exit(2, f"{self.prog}: error: {msg}\n")


def all_options(verb: Verb) -> tuple[CommandOption, ...]:
    return common.ALWAYS + verb.options


def usage(verb: Verb) -> str:
    words = [f"{verb.tool} {verb.name}", "[options...]", *(argument_text(arg) for arg in verb.arguments)]
    return " ".join(words)


def argument_text(argument: Argument) -> str:
    """`<node>`, `[node]`, `<node...>` or `[node...]`, choices as `a | b`."""
    text = "|".join(argument.choices) or argument.name
    text += "..." if argument.most is None else ""
    return f"<{text}>" if argument.least else f"[{text}]"


def parse(verb: Verb, words: Sequence[str], out: TextIO, err: TextIO) -> Call:
    """Raises Exit (help shown, wrong option) and ArgumentCount."""
    parser = _Parser(usage(verb), verb.description.split("\n\n", maxsplit=1)[0], out, err)
    parser.prog = f"{verb.tool} {verb.name}"
    options = all_options(verb)
    for index, option in enumerate(options):
        _add(parser, f"option{index}", option)
    values, arguments = parser.parse_args(list(words))
    given = [(option, getattr(values, f"option{index}")) for index, option in enumerate(options)]
    try:
        found = collect([(option, value) for option, value in given if value is not None])
    except errors.GanetiError as err_:
        parser.error(str(err_))
    for option in options:
        if option.required and option.dest not in found:
            parser.error(f"option {option.flags[-1]} is required")
        if option.absent is not None:
            found.setdefault(option.dest, option.absent)
    _check_order(verb, words, arguments)
    _check_count(verb, arguments)
    try:
        form = _form(verb, found, arguments)
    except errors.GanetiError as err_:
        parser.error(str(err_))
    return Call(arguments=tuple(arguments), options=found, form=form)


def _add(parser: optparse.OptionParser, key: str, option: CommandOption) -> None:
    text = option.help + (f" [{option.default}]" if option.default else "")
    settings: dict[str, Any] = {"dest": key, "default": None, "help": text}
    if option.counts:
        settings |= {"action": "count"}
    elif option.kind == "flag":
        settings |= {"action": "store_const", "const": True}
    else:
        kinds = {"text": "string", "int": "int", "float": "float"}
        settings |= {"action": "append", "type": "choice" if option.choices else kinds[option.kind]}
        settings |= {"metavar": option.metavar or option.dest.upper()}
        if option.choices:
            settings["choices"] = list(option.choices)
    parser.add_option(*option.flags, **settings)


def collect(given: Sequence[tuple[CommandOption, Any]]) -> dict[str, Any]:
    """Values by key (Any: JSON). Several options of one key add up if it is a list, else they exclude each other."""
    found: dict[str, Any] = {}
    set_by: dict[str, CommandOption] = {}
    for option, raw in given:
        for key, value in _values(option, raw).items():
            earlier = set_by.get(key)
            if earlier is None:
                found[key] = value
            elif option.is_list and earlier.is_list and isinstance(value, list) and isinstance(found[key], list):
                found[key] = found[key] + value
            elif option.parse is Parse.POLICY and earlier.parse is Parse.POLICY and option.also not in found[key]:
                found[key] = {**found[key], **value}
            else:
                raise errors.ParameterError(f"{earlier.flags[-1]} and {option.flags[-1]} exclude each other")
            set_by[key] = option
    return found


def _values(option: CommandOption, raw: Any) -> dict[str, Any]:
    if option.counts:
        return {option.dest: raw}
    if option.kind == "flag":
        const = True if option.const is None else option.const
        return {option.dest: [const] if option.is_list else const}
    if option.kind != "text":
        return {option.dest: raw[-1]}
    if option.is_list and option.parse is Parse.PLAIN:
        return {option.dest: list(raw)}
    try:
        return syntax.convert(option.parse, raw, option.dest, option.also)
    except (errors.UnitParseError, errors.ParameterError) as err:
        raise type(err)(f"option {option.flags[-1]}: {err.message}", hint=err.hint) from err


def _check_order(verb: Verb, words: Sequence[str], arguments: Sequence[str]) -> None:
    """An option after the arguments would be taken for a name or a tag. After `--` it is one."""
    if "--" in words or any(argument.name == "command" for argument in verb.arguments):
        return
    flags = {flag for option in all_options(verb) for flag in option.flags if flag.startswith("--")}
    if any(word.partition("=")[0] in flags for word in arguments):
        raise ArgumentCount("options have to come before the arguments")


def _check_count(verb: Verb, arguments: Sequence[str]) -> None:
    least = sum(arg.least for arg in verb.arguments)
    most = None if any(arg.most is None for arg in verb.arguments) else sum(arg.most or 0 for arg in verb.arguments)
    count = len(arguments)
    if (most is not None and count > most) and any(word.startswith("-") for word in arguments):
        raise ArgumentCount("options have to come before the arguments")
    if most == 0 and count:
        raise ArgumentCount(f"Command {verb.name} expects no arguments")
    if least == most and count != least:
        raise ArgumentCount(f"Command {verb.name} expects {least} argument(s)")
    if count < least:
        raise ArgumentCount(f"Command {verb.name} expects at least {least} argument(s)")
    if most is not None and count > most:
        raise ArgumentCount(f"Command {verb.name} expects only {most} argument(s)")
    last = verb.arguments[-1] if verb.arguments else None
    for number, word in enumerate(arguments):
        # only the last one may stand for several words
        argument = verb.arguments[number] if number < len(verb.arguments) else last
        if argument is not None and argument.choices and word not in argument.choices:
            raise errors.PrereqError(
                "wrong_input", f"unknown word {word!r}", hint="it is one of " + ", ".join(argument.choices)
            )


def _form(verb: Verb, found: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    if verb.operation is None:
        return {}
    opcode = verb.operation.opcode
    cli: Cli | None = verb.operation.cli
    fields = derive.facts(opcode)
    form: dict[str, Any] = {"OP_ID": str(opcode.__struct_config__.tag)}
    form |= {name: value for name, value in found.items() if name in fields}
    for name, word in zip(cli.positional if cli else (), arguments, strict=False):
        form[name] = _positional(fields[name], word)
    return form


def _positional(field: derive.Facts, word: str) -> Any:  # Any: JSON
    if field.options:
        converted = syntax.convert(field.options[0].parse, [word], field.name, "")
        return converted[field.name]
    if field.kind in ("int", "float"):
        try:
            return int(word) if field.kind == "int" else float(word)
        except ValueError as err:
            raise errors.ParameterError(f"cannot read {word!r} as a number ({field.description})") from err
    return word
