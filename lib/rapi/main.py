"""The command line of ganeti-rapi."""

from __future__ import annotations

import getpass
import optparse
import socket
import sys

from ganeti import errors, settings
from ganeti.host.daemon import Ready, option_parser, run_daemon
from ganeti.paths import Paths
from ganeti.rapi import auth, daemon
from ganeti.rapi.serving import Limits

NAME = "ganeti-rapi"


def make_parser() -> optparse.OptionParser:
    parser = option_parser(
        NAME,
        "The REST interface of the cluster, on the master node. Users are in the file rapi/users of the data"
        " directory.",
        usage="%prog [options]",
    )
    parser.add_option("-p", "--port", type="int", default=_default_port(), help="port [%default]")
    parser.add_option("-b", "--bind", default="", metavar="ADDRESS", help="listen on this address only")
    parser.add_option("-i", "--interface", default="", metavar="NAME", help="listen on this network interface only")
    parser.add_option("--no-ssl", action="store_true", default=False, help="plain HTTP, behind something that has TLS")
    parser.add_option("-C", "--ssl-cert", default="", metavar="FILE", help="another certificate, or both in one file")
    parser.add_option("-K", "--ssl-key", default="", metavar="FILE", help="its key")
    parser.add_option(
        "--require-authentication", action="store_true", default=False, help="no reads without a user either"
    )
    parser.add_option(
        "--max-clients", type="int", default=Limits().connections, metavar="N", help="connections at once [%default]"
    )
    parser.add_option(
        "--make-user", default="", metavar="NAME", help="ask for a password, print a line for the users file, and end"
    )
    parser.add_option("--rights", default="write", metavar="LIST", help="of --make-user: read, write [%default]")
    return parser


def _default_port() -> int:
    """What /etc/services says, if it says anything."""
    try:
        return socket.getservbyname(NAME, "tcp")
    except OSError:
        return settings.RAPI_PORT


def main(argv: list[str] | None = None) -> int:
    parser = make_parser()
    options, arguments = parser.parse_args(argv)
    if arguments:
        parser.error("takes no arguments")
    if not 0 < options.port < 65536:
        parser.error("a port is a number from 1 to 65535")
    if options.max_clients < 1:
        parser.error("--max-clients is at least 1")
    if options.make_user:
        return _make_user(options.make_user, options.rights)
    wanted = daemon.Options(
        address=options.bind,
        interface=options.interface,
        port=options.port,
        use_tls=not options.no_ssl,
        certificate=options.ssl_cert,
        key=options.ssl_key,
        require_authentication=options.require_authentication,
        limits=Limits(connections=options.max_clients),
    )
    where = Paths.from_environment()

    def body(ready: Ready) -> int:
        return daemon.run(where, wanted, ready)

    try:
        return run_daemon(NAME, "rapi-daemon", where, body, foreground=options.foreground, debug=options.debug)
    except errors.GanetiError as err:
        sys.stderr.write(f"{NAME}: {err}\n")
        return err.exit_status


def _make_user(name: str, rights: str) -> int:
    if any(character.isspace() or character in ":#" for character in name):
        sys.stderr.write(f"{NAME}: a user's name has no blanks, colons or number signs\n")
        return 1
    unknown = set(rights.split(",")) - {auth.READ, auth.WRITE}
    if unknown:
        sys.stderr.write(f"{NAME}: there is no right {', '.join(sorted(unknown))}, only read and write\n")
        return 1
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        sys.stderr.write(f"{NAME}: no password was given\n")
        return 1
    sys.stdout.write(f"{name} {auth.hashed(password)} {rights}\n")
    return 0
