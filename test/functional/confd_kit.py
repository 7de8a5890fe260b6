"""Asks the confd daemons of a cluster."""

from ganeti import errors, paths
from ganeti.confd import client


class Asker:
    """A program on the third node."""

    def __init__(self, shell):
        self.node = shell.nodes[2]
        self.shell = shell
        with open(self.node.paths.local(paths.CONFD_KEY), "rb") as file:
            self.key = file.read()

    def ask(self, kind, query=None, *, nodes=None, key=None, limit_s=20.0):
        asked = [node.address for node in nodes or self.shell.nodes]
        return client.ask(key or self.key, asked, kind, query, source=self.node.address, limit_s=limit_s)

    def says(self, kind, query, expected, nodes=None):
        try:
            return self.ask(kind, query, nodes=nodes, limit_s=1.0).answer == expected
        except errors.ExecError:
            return False
