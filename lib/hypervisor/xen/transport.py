"""What carries a migration between the two ends: socat(1). Pure.

An end that died says nothing, and TCP by itself would try for a quarter of an hour; in the last phase the guest stands
still meanwhile. So both ask whether the other is there, and what is sent has to be taken within 45 s.
"""

from __future__ import annotations

import shlex

from ganeti.host.run import Argv

_SOCAT = ("socat", "-b524288")
_KEEPALIVE = "keepalive,keepidle=15,keepintvl=10,keepcnt=3"
#: tcp(7): TCP_USER_TIMEOUT is option 18 of level 6, in ms
_IS_TAKEN = "setsockopt-int=6:18:45000"


def listen(address: str, port: int, command: str) -> Argv:
    """One connection, to a command of the shell."""
    return (*_SOCAT, f"TCP-LISTEN:{port},bind={address},reuseaddr,{_KEEPALIVE}", f"SYSTEM:{command}")


def connect(address: str, port: int) -> str:
    """For `xl migrate -s`, which appends its own idea of the other command: the # makes a comment of it."""
    return f"{shlex.join((*_SOCAT, '-', f'TCP:{address}:{port},{_KEEPALIVE},{_IS_TAKEN}'))} #"
