"""What a machine's services have to know of us: units of systemd, made from the table of daemons."""

from __future__ import annotations

from ganeti import paths, settings
from ganeti.host import services, starting
from ganeti.host.daemon import EXITS_UNWANTED
from ganeti.host.starting import Daemon

WATCHDOG_S = 60
#: running jobs get a while; then they are left to the journal
STOP_S = 90

_DAEMON = """\
# made from the table of daemons
[Unit]
Description=Ganeti {about}
Documentation=man:{name}(8)
ConditionPathExists={identity}
After=network-online.target time-sync.target{after}
Wants=network-online.target
PartOf={target}

[Service]
Type=notify
NotifyAccess=main
ExecCondition={sbindir}/ganeti-daemons wanted {name}
EnvironmentFile=-{once}
ExecStart={sbindir}/{name} --foreground ${variable}
ExecStartPost=+-/bin/rm -f {once}
ExecStopPost=+-/bin/rm -f {once}
ExecReload=/bin/kill -HUP $MAINPID
User={user}
UMask=0027
StandardOutput=null
StandardError=journal
SuccessExitStatus={fine}
Restart=on-failure
RestartPreventExitStatus={fine}
RestartSec=2
WatchdogSec={watchdog_s}
TimeoutStopSec={stop_s}
LimitNOFILE=65536
{more}"""

#: what the node daemon has started are guests: they outlive it, whatever ends it, and do not count against it
_GUESTS = """\
KillMode=process
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
LimitCORE=0
"""
_OTHERS = """\
KillMode=mixed
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=full
"""

_TARGET = """\
[Unit]
Description=Ganeti: all daemons of this node
Documentation=man:ganeti-daemons(8)
Wants={wanted}

[Install]
WantedBy=multi-user.target
"""

_LOGROTATE = """\
# made from the table of files: the daemons' logs, and those of OS scripts
{log}/*.log {{
  weekly
  rotate 52
  missingok
  notifempty
  compress
  delaycompress
  nocreate
  su root {group}
  sharedscripts
  postrotate
    [ ! -x {sbindir}/ganeti-daemons ] || {sbindir}/ganeti-daemons reopen >/dev/null
  endscript
}}

{os_log}/*.log {{
  monthly
  rotate 6
  missingok
  notifempty
  compress
  nocreate
  su root {admin}
}}
"""


def daemon_unit(daemon: Daemon, *, sbindir: str) -> str:
    """The unit of one daemon."""
    after = f" {services.unit(starting.NODED)}" if daemon.name != starting.NODED else ""
    return _DAEMON.format(
        name=daemon.name,
        about=daemon.about,
        user=daemon.user,
        identity=paths.IDENTITY.path,
        once=paths.once_file(daemon.name).path,
        variable=services.ARGUMENTS,
        after=after,
        sbindir=sbindir,
        target=services.TARGET,
        fine=" ".join(map(str, EXITS_UNWANTED)),
        watchdog_s=WATCHDOG_S,
        stop_s=STOP_S,
        more=_GUESTS if daemon.keeps_guests else _OTHERS,
    )


def texts(*, sbindir: str) -> dict[str, str]:
    """Every file, by its path below the build's directory."""
    found = {
        f"systemd/{services.unit(daemon.name)}": daemon_unit(daemon, sbindir=sbindir) for daemon in starting.DAEMONS
    }
    found[f"systemd/{services.TARGET}"] = _TARGET.format(
        wanted=" ".join(services.unit(daemon.name) for daemon in starting.DAEMONS)
    )
    found["logrotate/ganeti"] = _LOGROTATE.format(
        log=settings.LOG_DIR,
        os_log=paths.OS_LOG_DIR.path,
        group=settings.DAEMONS_GROUP,
        admin=settings.ADMIN_GROUP,
        sbindir=sbindir,
    )
    return found
