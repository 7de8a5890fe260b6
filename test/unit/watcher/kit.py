"""A node and a master for the watcher."""

from __future__ import annotations

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.run import Finished
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.identity import Identity
from ganeti.testing.clock import SteppedClock
from ganeti.watcher.run import Options, Watcher
from ganeti.wire import codec

NOW = 1_700_000_000.0
GROUP = "3b67695f-1e16-486d-ab85-75c1ec92e877"


class FakeMaster:
    """Instances with their status, nodes with their boot id; jobs end at once, those in `failing` badly."""

    def __init__(self, clock, *, drained=False, name="node1"):
        self.clock = clock
        self.values = {"master_node": name, "drain_flag": drained, "maintain_node_health": False}
        self.instances = {}  # name → status
        self.secondaries = {}
        self.serials = {}
        self.nodes = {"node1": "boot-a", "node2": "boot-b"}
        self.groups = [(GROUP, "default", 2)]
        self.disks = [{}, [], {}]
        self.strays = [[], []]
        self.failing, self.endless = set(), set()
        self.jobs = {}
        self.reasons = []
        self.archived = None

    def call(self, method, *args, key=None):
        args = codec.loads(codec.dumps(args))
        return getattr(self, method)(*args)

    def QueryConfigValues(self, names):
        return [self.values[name] for name in names]

    def AutoArchiveJobs(self, age):
        self.archived = age
        return [0, 0]

    def Query(self, what, fields, qfilter):
        rows = getattr(self, "_" + what)()
        data = [[[0, row[name]] if row[name] is not None else [2, None] for name in fields] for row in rows]
        return {"fields": [], "data": data}

    def _group(self):
        return [{"uuid": uuid, "name": name, "node_cnt": count} for uuid, name, count in self.groups]

    def _node(self):
        return [{"name": name, "offline": boot is None, "bootid": boot} for name, boot in self.nodes.items()]

    def _instance(self):
        return [
            {
                "name": name,
                "uuid": f"uuid-{name}",
                "serial_no": self.serials.get(name, 1),
                "status": status,
                "admin_state": "down" if status.startswith("ADMIN") else "up",
                "disks_active": not status.startswith("ADMIN"),
                "snodes": self.secondaries.get(name, []),
            }
            for name, status in self.instances.items()
        ]

    def SubmitManyJobs(self, forms):
        answers = []
        for ops in forms:
            self.reasons += [op.pop("reason") for op in ops]
            job = len(self.jobs) + 1
            self.jobs[job] = ops[0]
            answers.append([True, job])
        return answers

    def _status(self, job):
        target = self.jobs[job].get("instance_name")
        return "running" if target in self.endless else "error" if target in self.failing else "success"

    def WaitForJobChange(self, job, fields, info, serial, timeout):
        if self._status(job) == "running":
            self.clock.now += max(timeout, 1)
            return [["running"], []] if info is None else "nochange"
        return [[self._status(job)], []]

    def QueryJobs(self, ids, fields):
        def value(job, field):
            if field == "status":
                return self._status(job)
            if self._status(job) == "error":
                return [["OpExecError", ["it broke"]]]
            results = {"OP_GROUP_VERIFY_DISKS": self.disks, "OP_GROUP_END_STRAYS": self.strays}
            return [results.get(self.jobs[job]["OP_ID"])]

        return [[value(job, field) for field in fields] for job in ids]

    def asked(self, *op_ids):
        """Targets of the jobs of these kinds."""
        return [op.get("instance_name", op.get("group_name")) for op in self.jobs.values() if op["OP_ID"] in op_ids]


class World:
    """One node with its watcher."""

    def __init__(self, root, *, member=True, master="node1"):
        self.paths = Paths(str(root), "node1")
        for directory in (paths.DATA_DIR, paths.RUN_DIR, paths.LOG_DIR):
            files.make_directory(self.paths, directory)
        if member:
            identity.store(self.paths, Identity(cluster="c", node="node1", uuid="u1", address="127.0.0.1"))
            files.write(self.paths, paths.ssconf("master_node"), f"{master}\n".encode())
        self.clock = SteppedClock(NOW)
        self.master = FakeMaster(self.clock)
        self.started = []
        self.commands = []
        self.is_silent = False  # no master daemon answers
        self.options = Options()

    def connect(self, patient):
        if self.is_silent:
            return Silent()
        return self.master

    def start(self, daemon):
        self.started.append(daemon)
        if daemon == "ganeti-masterd":
            self.is_silent = False

    def run(self, argv, **_):
        self.commands.append(tuple(argv))
        if "fails" in argv[0]:
            raise errors.CommandFailed(tuple(argv), 1, "no")
        return Finished(tuple(argv), 0, "", "")

    def watcher(self, **options):
        return Watcher(
            self.paths,
            Options(**options),
            runner=self,
            clock=self.clock,
            connect=self.connect,
            start=self.start,
            own_program="/sbin/ganeti-watcher",
            environ={},
        )

    def group_run(self):
        return self.watcher(node_group=GROUP).run()

    def remembered(self):
        return codec.loads(files.read_text(self.paths.local(paths.watcher_state(GROUP))))


class Silent:
    def call(self, method, *args, key=None):
        raise errors.NoMasterError("nobody answers")
