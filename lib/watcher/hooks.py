"""The administrators' scripts that run with the watcher, on every node. What they do is logged and changes nothing."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping

from ganeti import errors, paths
from ganeti.host.run import Runner
from ganeti.host.trust import why_not_trusted
from ganeti.paths import Paths

log = logging.getLogger(__name__)

#: of one script, in seconds
LIMIT_S = 120.0
_NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")


def run_all(where: Paths, runner: Runner, environ: Mapping[str, str]) -> None:
    directory = f"{where.local(paths.HOOKS_DIR)}/watcher"
    try:
        names = sorted(os.listdir(directory), key=os.fsencode)
    except FileNotFoundError:
        return
    except OSError as err:
        log.warning("no hooks are run: cannot look into %s: %s", directory, err.strerror)
        return
    for name in names:
        path = f"{directory}/{name}"
        if not _NAME.match(name) or not os.path.isfile(path) or not os.access(path, os.X_OK):
            log.debug("skipped the hook %s", path)
            continue
        if problem := _why_not_run(path, where):
            log.warning("the hook %s is not run: %s", name, problem)
            continue
        try:
            done = runner.run((path,), timeout_s=LIMIT_S, environment=environ)
            log.info("the hook %s ended well%s", name, f": {done.stdout.strip()[:4096]}" if done.stdout.strip() else "")
        except errors.CommandFailed as err:
            log.warning("the hook %s: %s", name, err)


def _why_not_run(path: str, where: Paths) -> str:
    try:
        return why_not_trusted(path, where)
    except OSError as err:  # it was removed meanwhile
        return str(err.strerror)
