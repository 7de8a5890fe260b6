"""How an operation is declared. Wire form, validation, command line, REST route and man options derive from it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from ganeti import errors
from ganeti.wire import codec


class Priority(enum.IntEnum):
    HIGH = -10
    NORMAL = 0
    LOW = 10


class Parse(enum.Enum):
    """How the words of a command-line option become the field's value."""

    PLAIN = "plain"  # text, whole number or number, by the field's type; a bool field is a flag
    UNSET_FLAG = "unset_flag"  # flag that sets a bool field to false
    YES_NO = "yes_no"  # yes or no
    SIZE = "size"  # 10g → MiB
    SPAN = "span"  # 2h → seconds
    LIST = "list"  # a,b,c
    KEYVAL = "keyval"  # a=1,b=2,no_c  (micro-syntax K)
    IDENT_KEYVAL = "ident_keyval"  # kvm:a=1,b=2  repeatable → {ident: {…}}  (micro-syntax I)
    IDENT_ONE = "ident_one"  # kvm:a=1 once: hypervisor and its parameters
    DEVICES = "devices"  # --disk/--net N:k=v → list of dicts by index (micro-syntaxes D, N)
    ONE_DISK = "one_disk"  # 10g → list of one disk of that size
    NODE_PAIR = "node_pair"  # primary[:secondary]
    DEVICE_CHANGES = "device_changes"  # --disk/--net add:k=v, N:remove → list of [action, device, dict]
    POLICY = "policy"  # one part of an instance policy; `also` is its key. Several options make one policy
    UID_RANGES = "uid_ranges"  # 1000-1010,2000 → list of [first, last]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One command-line option of an opcode's field."""

    flags: tuple[str, ...]
    parse: Parse = Parse.PLAIN
    metavar: str = ""
    also: str = ""  # NODE_PAIR, IDENT_ONE: the second field it sets; POLICY: the part of the policy
    required: bool = False
    const: Any = None  # Any: a flag that puts this JSON value (into a list field: adds it)
    absent: Any = None  # Any: what the command sends when the option is not given; None: nothing
    help: str = ""  # of a further option of the field; the first one's is the field's description


def opt(
    *flags: str,
    help: str,
    parse: Parse = Parse.PLAIN,
    metavar: str = "",
    also: str = "",
    required: bool = False,
    const: Any = None,
    absent: Any = None,
    others: tuple[Option, ...] = (),
    **limits: Any,
) -> Meta:  # Any: JSON values; msgspec's own constraints, such as ge=1
    """Meta of a field that the command line can set; `others` are further options for the same field."""
    option = Option(flags=flags, parse=parse, metavar=metavar, also=also, required=required, const=const, absent=absent)
    return Meta(description=help, extra={"cli": option, "others": others}, **limits)


class Cli(msgspec.Struct, frozen=True, kw_only=True):
    """The command that submits this operation."""

    tool: str
    verb: str
    positional: tuple[str, ...] = ()  # fields, in order; all required
    many: str = ""  # the field that takes each of several arguments: one job per argument
    aliases: tuple[str, ...] = ()
    confirm: str = ""  # the question to ask first, with {field}s; skipped by -f
    warning: str = ""  # with `many`: a sentence in the question before it is done to several objects
    selectors: bool = False  # takes --all, --node and so on (multi-instance commands)
    custom: bool = False  # the command is more than one submission and is written by hand (ops/verbs.py)
    # which of the recurring options it has
    common: tuple[str, ...] = ("submit", "print_jobid", "dry_run", "priority")
    needs_option: bool = False  # refuses to run when no option says what to change
    when_drained: bool = False  # has --yes-do-it: submits although the queue is drained


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """The REST resource that submits this operation. Other fields come from the query or the body."""

    method: str
    path: str  # with {field}s
    renames: tuple[tuple[str, str], ...] = ()  # (older name of a query argument or body key, field)
    fixed: tuple[tuple[str, Any], ...] = ()  # (field, value) that a client cannot set; Any: JSON
    forbidden: tuple[str, ...] = ()  # fields that are not for this interface: answered with 403
    ignores_body: bool = False
    rights: tuple[str, ...] | None = None  # one of which is needed; None: write, for GET nothing


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    opcode: type[OpCode]
    cli: Cli | None
    rest: Rest | None
    hooks: str  # hooks path, or empty
    object_type: str  # CLUSTER, NODE, INSTANCE, GROUP, NETWORK for hooks
    summary: str  # field shown in the job's summary


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an object has to be like when the operation has its locks; else it fails with `serial_mismatch`."""

    kind: Literal["cluster", "node", "instance", "nodegroup", "network"]
    name: str
    serial: int
    uuid: str = ""  # or the first digits of it; empty: of no importance


class OpCode(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="OP_ID", forbid_unknown_fields=True, omit_defaults=True
):
    """Common part of all operations. A subclass declares `tag="OP_…"` and its own fields."""

    declaration: ClassVar[Declaration]

    dry_run: bool = False
    debug_level: Annotated[int, Meta(ge=0)] = 0
    priority: Annotated[int, Meta(ge=-20, le=19)] = 0
    depends: tuple[tuple[int | str, tuple[str, ...]], ...] | None = None
    comment: str = ""
    reason: tuple[tuple[str, str, int], ...] = ()
    expected: Expected | None = None

    @property
    def op_id(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def summary(self) -> str:
        text = self.op_id.removeprefix("OP_")
        field = self.declaration.summary
        return f"{text}({getattr(self, field)})" if field else text


COMMON_FIELDS = frozenset(OpCode.__struct_fields__)

#: every operation of the product by OP_ID; filled by importing `ganeti.ops.catalogue`
REGISTRY: dict[str, Declaration] = {}

Op = TypeVar("Op", bound=type[OpCode])


def operation(
    *, cli: Cli | None = None, rest: Rest | None = None, hooks: str = "", object_type: str = "", summary: str = ""
) -> Callable[[Op], Op]:
    """Class decorator: registers an opcode under its tag."""

    def register(cls: Op) -> Op:
        tag = str(cls.__struct_config__.tag)
        if tag in REGISTRY:
            raise TypeError(f"{tag} is declared twice")
        cls.declaration = Declaration(
            opcode=cls, cli=cli, rest=rest, hooks=hooks, object_type=object_type, summary=summary
        )
        REGISTRY[tag] = cls.declaration
        return cls

    return register


def decode(untrusted: Any) -> OpCode:  # Any: JSON from a client
    """The opcode behind a wire form. Raises PrereqError(wrong_input) or OpCodeUnknown; says what is allowed."""
    if not isinstance(untrusted, dict):
        raise errors.PrereqError("wrong_input", f"an opcode is a JSON object, not {type(untrusted).__name__}")
    op_id = untrusted.get("OP_ID")
    if not isinstance(op_id, str):
        raise errors.PrereqError("wrong_input", "an opcode needs the key OP_ID")
    declaration = REGISTRY.get(op_id)
    if declaration is None:
        raise errors.OpCodeUnknown(f"unknown opcode {op_id[:80]!r}")
    present = {key: value for key, value in untrusted.items() if value is not None}
    try:
        return codec.convert(present, declaration.opcode)
    except codec.CodecError as err:
        hint = ""
        if "unknown field" in str(err):
            own = [name for name in declaration.opcode.__struct_fields__ if name not in COMMON_FIELDS]
            hint = "its parameters are " + ", ".join(own) if own else "it has no parameters of its own"
        raise errors.PrereqError("wrong_input", f"{op_id}: {err}", hint=hint) from err


def encode(op: OpCode) -> dict[str, Any]:
    """Wire form, with OP_ID, defaults left out."""
    form: dict[str, Any] = codec.to_builtins(op)
    return form
