"""From an operation's declaration to its command: arguments, options and their help."""

from __future__ import annotations

import enum
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from ganeti.ops.base import COMMON_FIELDS, Declaration, OpCode, Option, Parse
from ganeti.ops.verbs import Argument, CommandOption, Kind, Run, Verb, split_docstring

_METAVARS = {
    Parse.YES_NO: "yes|no",
    Parse.SIZE: "SIZE",
    Parse.SPAN: "TIME",
    Parse.LIST: "A,B,...",
    Parse.KEYVAL: "KEY=VALUE,...",
    Parse.IDENT_KEYVAL: "NAME:KEY=VALUE,...",
    Parse.IDENT_ONE: "NAME[:KEY=VALUE,...]",
    Parse.DEVICES: "N:KEY=VALUE,...",
    Parse.ONE_DISK: "SIZE",
    Parse.NODE_PAIR: "PRIMARY[:SECONDARY]",
    Parse.DEVICE_CHANGES: "N:KEY=VALUE,...",
    Parse.UID_RANGES: "FIRST-LAST,...",
}
_REPEATED = (Parse.LIST, Parse.IDENT_KEYVAL, Parse.DEVICES, Parse.DEVICE_CHANGES)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line needs to know of an opcode's field."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    is_list: bool
    description: str
    options: tuple[Option, ...]
    completes: str
    required: bool
    default: str  # as help shows it; empty: nothing to say


def facts(opcode: type[OpCode]) -> dict[str, Facts]:
    """By field name, the fields that every opcode has left out."""
    return {field.name: _facts(field) for field in msgspec.structs.fields(opcode) if field.name not in COMMON_FIELDS}


def _facts(field: FieldInfo) -> Facts:
    metas: list[msgspec.Meta] = []
    plain = _unwrap(field.type, metas)
    extras: dict[str, Any] = {}
    for meta in metas:
        extras |= meta.extra or {}
    first: Option | None = extras.get("cli")
    others: tuple[Option, ...] = extras.get("others", ())
    return Facts(
        name=field.name,
        kind=_kind(plain),
        choices=_choices(plain),
        is_list=get_origin(plain) is tuple,
        description=next((meta.description for meta in reversed(metas) if meta.description), ""),
        options=(first, *others) if first else (),
        completes=str(extras.get("completes", "")),
        required=field.required,
        default=_default_text(field),
    )


def _unwrap(annotation: Any, metas: list[msgspec.Meta]) -> Any:
    """The type behind `Annotated` and `… | None`; collects the metas on the way, inner ones first."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        plain = _unwrap(inner, metas)
        metas += [meta for meta in extra if isinstance(meta, msgspec.Meta)]
        return plain
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [part for part in get_args(annotation) if part is not type(None)]
        if len(kept) == 1:
            return _unwrap(kept[0], metas)
    return annotation


def _kind(plain: Any) -> Kind:
    kinds: dict[Any, Kind] = {bool: "flag", int: "int", float: "float"}
    return kinds.get(plain, "text")


def _choices(plain: Any) -> tuple[str, ...]:
    if get_origin(plain) is Literal:
        return tuple(str(value) for value in get_args(plain))
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return tuple(str(member.value) for member in plain)
    return ()


def _default_text(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return str(value)


def options_of(opcode: type[OpCode]) -> tuple[CommandOption, ...]:
    """All options that set fields of the opcode, in the order of the fields."""
    return tuple(
        _option(field, option, is_first=index == 0)
        for field in facts(opcode).values()
        for index, option in enumerate(field.options)
        if option.flags
    )


def _option(field: Facts, option: Option, *, is_first: bool) -> CommandOption:
    is_flag = option.const is not None or (field.kind == "flag" and option.parse in (Parse.PLAIN, Parse.UNSET_FLAG))
    const = option.const if option.const is not None else option.parse is not Parse.UNSET_FLAG
    is_plain = option.parse is Parse.PLAIN and not is_flag
    return CommandOption(
        dest=field.name,
        flags=option.flags,
        help=_help(field, option),
        kind="flag" if is_flag else field.kind if is_plain else "text",
        parse=Parse.PLAIN if is_flag else option.parse,
        choices=field.choices if is_plain else (),
        metavar="" if is_flag else option.metavar or _METAVARS.get(option.parse, _plain_metavar(field)),
        also=option.also,
        const=const if is_flag else None,
        absent=option.absent,
        default=field.default if is_first and not is_flag else "",
        is_list=(is_flag and field.is_list and not isinstance(option.const, list)) or option.parse in _REPEATED,
        required=option.required,
    )


def _help(field: Facts, option: Option) -> str:
    text = option.help or field.description
    return f"{text}: {', '.join(field.choices)}" if len(field.choices) > 3 and option.const is None else text


def _plain_metavar(field: Facts) -> str:
    if 0 < len(field.choices) <= 3:
        return "|".join(field.choices)
    return "N" if field.kind in ("int", "float") else field.name.removesuffix("_name").upper()


def arguments_of(declaration: Declaration) -> tuple[Argument, ...]:
    cli = declaration.cli
    assert cli is not None, declaration
    known = facts(declaration.opcode)
    arguments = [_argument(known[name]) for name in cli.positional]
    if cli.many:
        many = _argument(known[cli.many])
        least = 0 if cli.selectors else 1
        arguments.append(Argument(name=many.name, least=least, most=None, completes=many.completes))
    return tuple(arguments)


def _argument(field: Facts) -> Argument:
    shown = field.name if field.name.startswith("new_") else field.name.removesuffix("_name")
    completes = "" if field.name.startswith("new_") else field.completes
    return Argument(name=shown.replace("_", "-"), completes=completes, choices=field.choices)


def verb_of(declaration: Declaration, run: Run, extra: tuple[CommandOption, ...]) -> Verb:
    """The command that submits the operation; `extra` are the options that are not fields."""
    cli = declaration.cli
    assert cli is not None, declaration
    summary, description = split_docstring(declaration.opcode.__doc__ or "")
    return Verb(
        tool=cli.tool,
        name=cli.verb,
        summary=summary,
        description=description,
        run=run,
        arguments=arguments_of(declaration),
        options=options_of(declaration.opcode) + extra,
        aliases=cli.aliases,
        operation=declaration,
    )
