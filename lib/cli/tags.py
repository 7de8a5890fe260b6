"""Commands about tags: gnt-cluster, gnt-node, gnt-instance, gnt-group and gnt-network have the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganeti import errors
from ganeti.cli import common
from ganeti.cli.session import Session
from ganeti.host import regular
from ganeti.ops.verbs import Argument, Call, option, verb
from ganeti.ops.verbs import Session as AnySession

if TYPE_CHECKING:
    from ganeti.ops.tags import TagKind

_FROM = option("from", "--from", help="take more tags from this file, one a line; - is standard input", metavar="FILE")
_SUBMISSION = (common.SUBMIT, common.PRINT_JOBID, common.PRIORITY)


def _split(kind: str, call: Call) -> tuple[str, list[str]]:
    """(name of the object, words after it)."""
    words = list(call.arguments)
    return ("", words) if kind == "cluster" else (words[0], words[1:])


def _wanted(session: Session, call: Call, words: list[str]) -> tuple[str, ...]:
    """Tags from the words and the file. Raises PrereqError."""
    tags = [*words, *_from_file(session, call.options.get("from", ""))]
    if not tags:
        raise errors.PrereqError("wrong_input", "no tags were given", hint="write them after the name, or use --from")
    return tuple(dict.fromkeys(tags))


def _from_file(session: Session, path: str) -> list[str]:
    if not path:
        return []
    try:
        if path == "-":
            lines = session.world.stdin.readlines()
        else:
            lines = regular.read_argument(path).decode("utf-8").split("\n")
    except OSError as err:
        raise errors.PrereqError("wrong_input", f"cannot read {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise errors.PrereqError("wrong_input", f"{path} is not a text file") from err
    return [line.strip() for line in lines if line.strip()]


def _declare(tool: str, kind: TagKind) -> None:
    """The three commands about one kind of object."""
    word = "group" if kind == "nodegroup" else kind
    target = () if kind == "cluster" else (Argument(name=word, completes=word),)
    tags = Argument(name="tag", least=0, most=None)
    noun = (
        "the cluster"
        if kind == "cluster"
        else f"{'an' if kind == 'instance' else 'a'} {'node group' if kind == 'nodegroup' else kind}"
    )

    def list_tags(session: AnySession, call: Call) -> int:
        for tag in sorted(session.call("QueryTags", kind, _split(kind, call)[0])):
            session.out(tag)
        return 0

    def add_tags(session: AnySession, call: Call) -> int:
        from ganeti.ops.tags import OpTagsSet

        assert isinstance(session, Session), session
        name, words = _split(kind, call)
        session.run(OpTagsSet(kind=kind, name=name, tags=_wanted(session, call, words)))
        return 0

    def remove_tags(session: AnySession, call: Call) -> int:
        from ganeti.ops.tags import OpTagsDel

        assert isinstance(session, Session), session
        name, words = _split(kind, call)
        session.run(OpTagsDel(kind=kind, name=name, tags=_wanted(session, call, words)))
        return 0

    list_tags.__doc__ = f"Show the tags of {noun}, one on each line."
    add_tags.__doc__ = f"""Give tags to {noun}.

    A tag has 1 to 128 letters, digits and the characters _ . + * / : @ -; tags that are there already do no harm.
    """
    remove_tags.__doc__ = f"Take tags from {noun}. All of them must be there."
    verb(tool, "list-tags", arguments=target)(list_tags)
    verb(tool, "add-tags", arguments=(*target, tags), options=(_FROM, *_SUBMISSION))(add_tags)
    verb(tool, "remove-tags", arguments=(*target, tags), options=(_FROM, *_SUBMISSION))(remove_tags)


_declare("gnt-cluster", "cluster")
_declare("gnt-node", "node")
_declare("gnt-instance", "instance")
_declare("gnt-group", "nodegroup")
_declare("gnt-network", "network")


@verb(
    "gnt-cluster",
    "search-tags",
    arguments=(Argument(name="regex"),),
    options=(common.PRIORITY,),
)
def search_tags(session: AnySession, call: Call) -> int:
    """Find tags of all objects by a regular expression, which may match anywhere in the tag.

    Prints one line for each, with the path of the object and the tag. Exit code 1 when there is none.
    """
    from ganeti.ops.tags import OpTagsSearch

    found = session.run(OpTagsSearch(pattern=call.arguments[0])) or []
    for path, tag in sorted((str(path), str(tag)) for path, tag in found):
        session.out(f"{path} {tag}")
    return 0 if found else 1
