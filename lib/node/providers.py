"""Providers of external storage: directories of scripts on this node."""

from __future__ import annotations

import os
import re

from ganeti import errors
from ganeti.calls.provider import ProviderDefinition, ProviderDiagnose
from ganeti.host import files, trust
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")
SCRIPTS = ("create", "attach", "detach", "remove", "grow", "setinfo", "verify")
_PARAMETERS = "parameters.list"


@handles(ProviderDiagnose)
def diagnose(call: ProviderDiagnose, env: NodeEnv, context: Context) -> tuple[ProviderDefinition, ...]:
    """The first of a name in the search path hides the others."""
    found: dict[str, ProviderDefinition] = {}
    for logical in env.paths.provider_search_path:
        local = env.paths.local(logical)
        try:
            names = os.listdir(local)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            raise errors.NodeFailure(f"provider directory {logical} cannot be read: {err.strerror}") from err
        for name in names:
            if NAME.match(name) and os.path.isdir(f"{local}/{name}") and name not in found:
                found[name] = judge(name, f"{logical}/{name}", f"{local}/{name}", env.paths)
    return tuple(found[name] for name in sorted(found))


def judge(name: str, logical: str, local: str, where: Paths) -> ProviderDefinition:
    """With every reason why it is not valid."""
    problems = [f"script {script} {why}" for script in SCRIPTS if (why := _why_not_run(f"{local}/{script}"))]
    problems += trust.distrusted((f"{local}/{file}" for file in (*SCRIPTS, _PARAMETERS)), where)
    parameters: tuple[tuple[str, str], ...] = ()
    try:
        text = files.read_text(f"{local}/{_PARAMETERS}")
    except OSError as err:
        problems.append(f"{_PARAMETERS} cannot be read: {err.strerror}")
    else:
        if text is None:
            problems.append(f"there is no file {_PARAMETERS}")
        parameters = parse_parameters(text or "")
    return ProviderDefinition(
        name=name, path=logical, valid=not problems, reason="; ".join(problems), parameters=parameters
    )


def parse_parameters(text: str) -> tuple[tuple[str, str], ...]:
    """(name, help) of each line; names in lower case."""
    lines = (line.strip() for line in text.splitlines())
    words = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return tuple((found[0].lower(), found[1] if len(found) > 1 else "") for found in words)


def _why_not_run(path: str) -> str:
    if not os.path.isfile(path):
        return "is missing"
    return "" if os.access(path, os.X_OK) else "is not executable"
