"""Which instances a command is about: names, or all those of nodes or tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti import errors
from ganeti.cli.session import Session
from ganeti.model.types import nice_key
from ganeti.ops.verbs import Call

_PRIMARY, _SECONDARY = "pinst_list", "sinst_list"

#: mode → lists of the node that count, and how the arguments find nodes
_NODE_MODES: dict[str, tuple[tuple[str, ...], Callable[[str], list[Any]]]] = {
    "select_node": ((_PRIMARY, _SECONDARY), lambda word: ["==", "name", word]),
    "select_primary": ((_PRIMARY,), lambda word: ["==", "name", word]),
    "select_secondary": ((_SECONDARY,), lambda word: ["==", "name", word]),
    "select_node_tags": ((_PRIMARY, _SECONDARY), lambda word: ["=[]", "tags", word]),
    "select_pri_node_tags": ((_PRIMARY,), lambda word: ["=[]", "tags", word]),
    "select_sec_node_tags": ((_SECONDARY,), lambda word: ["=[]", "tags", word]),
}
_MODES = (*_NODE_MODES, "select_tags", "select_all", "select_instance")


def instances(session: Session, call: Call) -> tuple[list[str], bool]:
    """(names, whether they are a selection and not what was typed). Raises PrereqError."""
    modes = [mode for mode in _MODES if call.given(mode)]
    if len(modes) > 1:
        flags = " and ".join(_flag(mode) for mode in modes)
        raise errors.PrereqError("wrong_input", f"{flags} exclude each other")
    mode = modes[0] if modes else "select_instance"
    words = list(call.arguments)
    if mode == "select_all" and words:
        raise errors.PrereqError("wrong_input", "--all takes no arguments")
    if mode != "select_all" and not words:
        wanted = "the names of the instances" if mode == "select_instance" else f"arguments for {_flag(mode)}"
        raise errors.PrereqError("wrong_input", f"give {wanted}", hint="or --all for all instances")
    if mode == "select_instance":
        return list(dict.fromkeys(words)), False
    if mode in _NODE_MODES:
        found = _of_nodes(session, mode, words)
    else:
        chosen = ["|", *(["=[]", "tags", word] for word in words)] if words else None
        found = {str(row[0][1]) for row in session.call("Query", "instance", ["name"], chosen)["data"]}
    if not found and mode != "select_all":
        raise errors.PrereqError("wrong_input", "the selection matches no instances")
    return sorted(found, key=nice_key), True


def _flag(mode: str) -> str:
    return "--" + mode.removeprefix("select_").replace("_", "-")


def _of_nodes(session: Session, mode: str, words: list[str]) -> set[str]:
    lists, condition = _NODE_MODES[mode]
    answer = session.call("Query", "node", list(lists), ["|", *(condition(word) for word in words)])
    return {str(name) for row in answer["data"] for status, names in row if status == 0 for name in names}
