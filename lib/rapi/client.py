"""Client of the REST interface in one file that needs nothing but Python: copy it where you like.

Made from the table of resources, not written by hand. A change answers with the number of its job:

    cluster = Client("cluster.example.com", user="anna", password="...", cafile="rapi.crt")
    job = cluster.instance_startup("web1.example.com", expected=cluster.tag)
    cluster.wait(job)
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.parse
from typing import Any, Final, Literal, NoReturn

PORT: Final = 5080
_FINAL = ("success", "error", "canceled")
#: the server cannot reach the master daemon, or is too busy
_PASSING = (502, 503, 504)


class RestError(Exception):
    """An answer that is not 200: `status`, and the `message` of the server."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class JobError(Exception):
    """A job that did not end well; `job` is what the server tells of it. Any: JSON."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(f"job {job['id']} ended in {job['status']}: {job['opresult']}")
        self.job = job


class Client:
    """One user of one cluster; each request is a connection of its own, so threads may share it. Any: JSON."""

    def __init__(
        self,
        host: str,
        *,
        port: int = PORT,
        user: str = "",
        password: str = "",
        cafile: str = "",
        verify: bool = True,
        timeout_s: float = 60.0,
    ) -> None:
        """`cafile`: the server's certificate, or that of who signed it. `verify` false: anybody may be the server."""
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._context = ssl.create_default_context(cafile=cafile or None)
        if not verify:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._headers = {"Accept": "application/json"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {token}"
        #: between questions to a server that is away
        self.pause_s = 1.0
        #: ETag of the last answer that had one: `expected` of a change that shall depend on it
        self.tag = ""

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: Any = None,
        *,
        has_body: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Any request. Raises RestError, OSError."""
        pairs = [
            (name, int(one) if isinstance(one, bool) else one)
            for name, value in (query or {}).items()
            if value is not None
            for one in (value if isinstance(value, list | tuple) else (value,))
        ]
        target = path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
        sent = {**self._headers, **(headers or {})}
        if has_body:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._context)
        try:
            connection.request(method, target, json.dumps(body) if has_body else None, sent)
            reply = connection.getresponse()
            raw = reply.read()
        finally:
            connection.close()
        if reply.status != http.HTTPStatus.OK:
            _fail(reply.status, raw)
        self.tag = reply.getheader("ETag") or self.tag
        is_json = (reply.getheader("Content-Type") or "").startswith("application/json")
        return json.loads(raw) if is_json else raw.decode("utf-8")

    def wait(self, job: int, *, limit_s: float = 3600.0) -> list[Any]:
        """The results of a job's operations when it has ended. Raises JobError, RestError, TimeoutError.

        The server may be away for a while meanwhile, as when another node becomes the master.
        """
        deadline = time.monotonic() + limit_s
        found: dict[str, Any] = {"status": "not known"}
        while True:
            try:
                found = self.get_job(job)
                if found["status"] in _FINAL:
                    break
                self._news(job, found["status"])
            except (ConnectionError, TimeoutError, http.client.HTTPException):
                time.sleep(self.pause_s)
            except RestError as err:
                if err.status not in _PASSING:
                    raise
                time.sleep(self.pause_s)
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is {found['status']} after {limit_s:g} s")
        if found["status"] != "success":
            raise JobError(found)
        return list(found["opresult"])

    def _news(self, job: int, status: str) -> None:
        try:
            self.wait_for_job_change(job, fields=["status"], previous_job_info=[status])
        except RestError as err:
            if err.status not in (401, 403):
                raise
            time.sleep(self.pause_s)  # that needs the right to write

    def root(self) -> None:
        """Nothing: whether there is an answer at all."""
        found: None = self.call("GET", "/")
        return found

    def root_2(self) -> None:
        """Nothing: whether version 2 is spoken."""
        found: None = self.call("GET", "/2")
        return found

    def features(self) -> list[str]:
        """What clients may rely on beyond version 2.0."""
        found: list[str] = self.call("GET", "/2/features")
        return found

    def list_filters(self, *, bulk: bool | None = None) -> list[dict[str, Any]]:
        """All rules of the job queue: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/filters", {"bulk": bulk})
        return found

    def add_filter(
        self,
        *,
        priority: int | None = None,
        predicates: list[Any] | None = None,
        action: Any = None,
        reason: list[Any] | None = None,
    ) -> str:
        """Add a rule to the job queue. Result: its uuid."""
        found: str = self.call(
            "POST",
            "/2/filters",
            body=_given({"priority": priority, "predicates": predicates, "action": action, "reason": reason}),
            has_body=True,
        )
        return found

    def get_filter(self, uuid: str) -> dict[str, Any]:
        """One rule of the job queue."""
        found: dict[str, Any] = self.call("GET", f"/2/filters/{_quoted(uuid)}")
        return found

    def replace_filter(
        self,
        uuid: str,
        *,
        priority: int | None = None,
        predicates: list[Any] | None = None,
        action: Any = None,
        reason: list[Any] | None = None,
    ) -> str:
        """Put a rule in the place of the one with that uuid, or make it. Result: the uuid."""
        found: str = self.call(
            "PUT",
            f"/2/filters/{_quoted(uuid)}",
            body=_given({"priority": priority, "predicates": predicates, "action": action, "reason": reason}),
            has_body=True,
        )
        return found

    def delete_filter(self, uuid: str) -> None:
        """Remove a rule of the job queue."""
        found: None = self.call("DELETE", f"/2/filters/{_quoted(uuid)}")
        return found

    def list_groups(self, *, bulk: bool | None = None, lock: bool | None = None) -> list[dict[str, Any]]:
        """All groups: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/groups", {"bulk": bulk, "lock": lock})
        return found

    def group_add(
        self,
        *,
        group_name: str,
        alloc_policy: Literal["last_resort", "preferred", "unallocable"] | None = None,
        ndparams: dict[str, Any] | None = None,
        diskparams: dict[str, Any] | None = None,
        hv_state: dict[str, Any] | None = None,
        disk_state: dict[str, Any] | None = None,
        ipolicy: dict[str, Any] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Make a node group. It has no nodes yet."""
        found: int = self.call(
            "POST",
            "/2/groups",
            {"reason": reason},
            body=_given(
                {
                    "group_name": group_name,
                    "alloc_policy": alloc_policy,
                    "ndparams": ndparams,
                    "diskparams": diskparams,
                    "hv_state": hv_state,
                    "disk_state": disk_state,
                    "ipolicy": ipolicy,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job("", key, wait_s),
        )
        return found

    def get_group(self, group_name: str) -> dict[str, Any]:
        """One group."""
        found: dict[str, Any] = self.call("GET", f"/2/groups/{_quoted(group_name)}")
        return found

    def group_remove(
        self,
        group_name: str,
        *,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Remove a node group; it may have no nodes and not be the last one."""
        found: int = self.call(
            "DELETE",
            f"/2/groups/{_quoted(group_name)}",
            {"reason": reason},
            body=_given({"dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def group_assign_nodes(
        self,
        group_name: str,
        *,
        nodes: list[str],
        force: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Put nodes into another node group."""
        found: int = self.call(
            "PUT",
            f"/2/groups/{_quoted(group_name)}/assign-nodes",
            {"reason": reason},
            body=_given(
                {
                    "nodes": nodes,
                    "force": force,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def group_evacuate(
        self,
        group_name: str,
        *,
        target_groups: list[str] | None = None,
        iallocator: str | None = None,
        early_release: bool | None = None,
        sequential: bool | None = None,
        force_failover: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Move all instances of a node group to other groups. Result: jobs."""
        found: int = self.call(
            "PUT",
            f"/2/groups/{_quoted(group_name)}/evacuate",
            {"reason": reason},
            body=_given(
                {
                    "target_groups": target_groups,
                    "iallocator": iallocator,
                    "early_release": early_release,
                    "sequential": sequential,
                    "force_failover": force_failover,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def group_set_params(
        self,
        group_name: str,
        *,
        alloc_policy: Literal["last_resort", "preferred", "unallocable"] | None = None,
        ndparams: dict[str, Any] | None = None,
        diskparams: dict[str, Any] | None = None,
        hv_state: dict[str, Any] | None = None,
        disk_state: dict[str, Any] | None = None,
        ipolicy: dict[str, Any] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Change settings of a node group; `default` as a value takes an override away. Result: list of [what,
        value].
        """
        found: int = self.call(
            "PUT",
            f"/2/groups/{_quoted(group_name)}/modify",
            {"reason": reason},
            body=_given(
                {
                    "alloc_policy": alloc_policy,
                    "ndparams": ndparams,
                    "diskparams": diskparams,
                    "hv_state": hv_state,
                    "disk_state": disk_state,
                    "ipolicy": ipolicy,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def group_rename(
        self,
        group_name: str,
        *,
        new_name: str,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give a node group another name. Result: the new name."""
        found: int = self.call(
            "PUT",
            f"/2/groups/{_quoted(group_name)}/rename",
            {"reason": reason},
            body=_given(
                {"new_name": new_name, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_group_tags(self, group_name: str) -> list[str]:
        """Tags of the group."""
        found: list[str] = self.call("GET", f"/2/groups/{_quoted(group_name)}/tags")
        return found

    def add_group_tags(
        self,
        group_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give tags to the group."""
        found: int = self.call(
            "PUT",
            f"/2/groups/{_quoted(group_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def delete_group_tags(
        self,
        group_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Take tags from the group."""
        found: int = self.call(
            "DELETE",
            f"/2/groups/{_quoted(group_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def info(self) -> dict[str, Any]:
        """Settings of the cluster."""
        found: dict[str, Any] = self.call("GET", "/2/info")
        return found

    def list_instances(self, *, bulk: bool | None = None, lock: bool | None = None) -> list[dict[str, Any]]:
        """All instances: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/instances", {"bulk": bulk, "lock": lock})
        return found

    def instance_create(
        self,
        *,
        instance_name: str,
        mode: Literal["create", "import", "remote-import"] | None = None,
        os_type: str | None = None,
        force_variant: bool | None = None,
        no_install: bool | None = None,
        disk_template: Literal["blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile"]
        | None = None,
        disks: list[dict[str, Any]] | None = None,
        nics: list[dict[str, Any]] | None = None,
        pnode: str | None = None,
        snode: str | None = None,
        iallocator: str | None = None,
        group_name: str | None = None,
        hypervisor: str | None = None,
        hvparams: dict[str, Any] | None = None,
        beparams: dict[str, Any] | None = None,
        osparams: dict[str, Any] | None = None,
        osparams_private: dict[str, Any] | None = None,
        osparams_secret: dict[str, Any] | None = None,
        helper_startup_timeout: int | None = None,
        helper_shutdown_timeout: int | None = None,
        file_driver: str | None = None,
        file_storage_dir: str | None = None,
        start: bool | None = None,
        wait_for_sync: bool | None = None,
        ip_check: bool | None = None,
        name_check: bool | None = None,
        conflicts_check: bool | None = None,
        ignore_ipolicy: bool | None = None,
        opportunistic_locking: bool | None = None,
        tags: list[str] | None = None,
        src_node: str | None = None,
        src_path: str | None = None,
        compress: str | None = None,
        identify_defaults: bool | None = None,
        os_mode: Literal["auto", "raw", "script"] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Create an instance: disks, operating system, first start. Result: list of its nodes."""
        found: int = self.call(
            "POST",
            "/2/instances",
            {"reason": reason},
            body=_given(
                {
                    "__version__": 1,
                    "instance_name": instance_name,
                    "mode": mode,
                    "os_type": os_type,
                    "force_variant": force_variant,
                    "no_install": no_install,
                    "disk_template": disk_template,
                    "disks": disks,
                    "nics": nics,
                    "pnode": pnode,
                    "snode": snode,
                    "iallocator": iallocator,
                    "group_name": group_name,
                    "hypervisor": hypervisor,
                    "hvparams": hvparams,
                    "beparams": beparams,
                    "osparams": osparams,
                    "osparams_private": osparams_private,
                    "osparams_secret": osparams_secret,
                    "helper_startup_timeout": helper_startup_timeout,
                    "helper_shutdown_timeout": helper_shutdown_timeout,
                    "file_driver": file_driver,
                    "file_storage_dir": file_storage_dir,
                    "start": start,
                    "wait_for_sync": wait_for_sync,
                    "ip_check": ip_check,
                    "name_check": name_check,
                    "conflicts_check": conflicts_check,
                    "ignore_ipolicy": ignore_ipolicy,
                    "opportunistic_locking": opportunistic_locking,
                    "tags": tags,
                    "src_node": src_node,
                    "src_path": src_path,
                    "compress": compress,
                    "identify_defaults": identify_defaults,
                    "os_mode": os_mode,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job("", key, wait_s),
        )
        return found

    def instance_multi_alloc(
        self,
        *,
        instances: list[dict[str, Any]] | None = None,
        iallocator: str | None = None,
        opportunistic_locking: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Create several instances. Result: {jobs, allocatable, failed}; the last two are lists of names. An
        allocator places all of them together, or each has its nodes given.
        """
        found: int = self.call(
            "POST",
            "/2/instances-multi-alloc",
            {"reason": reason},
            body=_given(
                {
                    "instances": instances,
                    "iallocator": iallocator,
                    "opportunistic_locking": opportunistic_locking,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job("", key, wait_s),
        )
        return found

    def get_instance(self, instance_name: str) -> dict[str, Any]:
        """One instance."""
        found: dict[str, Any] = self.call("GET", f"/2/instances/{_quoted(instance_name)}")
        return found

    def instance_remove(
        self,
        instance_name: str,
        *,
        shutdown_timeout: int | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Stop an instance and remove it with all its data."""
        found: int = self.call(
            "DELETE",
            f"/2/instances/{_quoted(instance_name)}",
            {"reason": reason},
            body=_given(
                {
                    "shutdown_timeout": shutdown_timeout,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_activate_disks(
        self,
        instance_name: str,
        *,
        ignore_size: bool | None = None,
        wait_for_sync: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Bring the disks of an instance up on its nodes. Result: list of [node, disk/N, path]."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/activate-disks",
            {"reason": reason},
            body=_given(
                {
                    "ignore_size": ignore_size,
                    "wait_for_sync": wait_for_sync,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_change_group(
        self,
        instance_name: str,
        *,
        target_groups: list[str] | None = None,
        iallocator: str | None = None,
        early_release: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Move an instance to another node group. Result: jobs."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/change-group",
            {"reason": reason},
            body=_given(
                {
                    "target_groups": target_groups,
                    "iallocator": iallocator,
                    "early_release": early_release,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_instance_console(self, instance_name: str) -> dict[str, Any]:
        """How to get at the console of a running instance."""
        found: dict[str, Any] = self.call("GET", f"/2/instances/{_quoted(instance_name)}/console")
        return found

    def instance_deactivate_disks(
        self,
        instance_name: str,
        *,
        force: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Shut the disks of a stopped instance down on its nodes."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/deactivate-disks",
            {"reason": reason},
            body=_given(
                {"force": force, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_grow_disk(
        self,
        instance_name: str,
        disk: int,
        *,
        amount: int | str,
        wait_for_sync: bool | None = None,
        absolute: bool | None = None,
        ignore_ipolicy: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Make one disk of an instance larger; AMOUNT is what is added, in MiB or with g or t after it."""
        found: int = self.call(
            "POST",
            f"/2/instances/{_quoted(instance_name)}/disk/{_quoted(disk)}/grow",
            {"reason": reason},
            body=_given(
                {
                    "amount": amount,
                    "wait_for_sync": wait_for_sync,
                    "absolute": absolute,
                    "ignore_ipolicy": ignore_ipolicy,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def backup_export(
        self,
        instance_name: str,
        *,
        target_node: str,
        compress: str | None = None,
        shutdown: bool | None = None,
        shutdown_timeout: int | None = None,
        remove_instance: bool | None = None,
        ignore_remove_failures: bool | None = None,
        mode: Literal["local", "remote"] | None = None,
        os_mode: Literal["auto", "raw", "script"] | None = None,
        long_sleep: bool | None = None,
        zero_free_space: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Keep an instance's disks and parameters on a node. Result: [true, [whether it is exported, for each
        disk]]. A running instance is shut down, its disks are kept as they are then (by the file system or
        its hypervisor), and it runs again while they are exported. Disks that are marked as not exportable
        are left out. An older export of the instance is replaced, on whatever node it is, once the new one
        is whole.
        """
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/export",
            {"reason": reason},
            body=_given(
                {
                    "target_node": target_node,
                    "compress": compress,
                    "shutdown": shutdown,
                    "shutdown_timeout": shutdown_timeout,
                    "remove_instance": remove_instance,
                    "ignore_remove_failures": ignore_remove_failures,
                    "mode": mode,
                    "os_mode": os_mode,
                    "long_sleep": long_sleep,
                    "zero_free_space": zero_free_space,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_failover(
        self,
        instance_name: str,
        *,
        shutdown_timeout: int | None = None,
        ignore_consistency: bool | None = None,
        target_node: str | None = None,
        iallocator: str | None = None,
        ignore_ipolicy: bool | None = None,
        cleanup: bool | None = None,
        wait_for_sync: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Stop an instance and start it on another node that sees its disks; the way out when its node is
        dead. A mirrored instance goes to its secondary node, or with -n to any: that first gets the place
        of the half that is not needed.
        """
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/failover",
            {"reason": reason},
            body=_given(
                {
                    "shutdown_timeout": shutdown_timeout,
                    "ignore_consistency": ignore_consistency,
                    "target_node": target_node,
                    "iallocator": iallocator,
                    "ignore_ipolicy": ignore_ipolicy,
                    "cleanup": cleanup,
                    "wait_for_sync": wait_for_sync,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_migrate(
        self,
        instance_name: str,
        *,
        live: bool | None = None,
        mode: Literal["live", "non-live"] | None = None,
        target_node: str | None = None,
        iallocator: str | None = None,
        cleanup: bool | None = None,
        allow_failover: bool | None = None,
        ignore_ipolicy: bool | None = None,
        ignore_hvversions: bool | None = None,
        allow_runtime_changes: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Move a running instance to another node that sees its disks. It pauses for some milliseconds. The
        job's log tells how far it is. When it is cancelled or fails, the instance runs on where it was.
        When it cannot be decided where it runs, because a node does not answer, the instance is blocked:
        bring that node back, or mark it offline if it is dead, then use --cleanup.
        """
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/migrate",
            {"reason": reason},
            body=_given(
                {
                    "live": live,
                    "mode": mode,
                    "target_node": target_node,
                    "iallocator": iallocator,
                    "cleanup": cleanup,
                    "allow_failover": allow_failover,
                    "ignore_ipolicy": ignore_ipolicy,
                    "ignore_hvversions": ignore_hvversions,
                    "allow_runtime_changes": allow_runtime_changes,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_set_params(
        self,
        instance_name: str,
        *,
        force: bool | None = None,
        beparams: dict[str, Any] | None = None,
        hvparams: dict[str, Any] | None = None,
        osparams: dict[str, Any] | None = None,
        osparams_private: dict[str, Any] | None = None,
        disks: list[list[Any]] | None = None,
        nics: list[list[Any]] | None = None,
        disk_template: Literal["blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile"]
        | None = None,
        remote_node: str | None = None,
        file_driver: str | None = None,
        file_storage_dir: str | None = None,
        hotplug: bool | None = None,
        hotplug_if_possible: bool | None = None,
        runtime_mem: int | None = None,
        pnode: str | None = None,
        ignore_ipolicy: bool | None = None,
        conflicts_check: bool | None = None,
        force_variant: bool | None = None,
        os_name: str | None = None,
        offline: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Change parameters of an instance; `default` as a value removes an override. Result: list of [what,
        value].
        """
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/modify",
            {"reason": reason},
            body=_given(
                {
                    "force": force,
                    "beparams": beparams,
                    "hvparams": hvparams,
                    "osparams": osparams,
                    "osparams_private": osparams_private,
                    "disks": disks,
                    "nics": nics,
                    "disk_template": disk_template,
                    "remote_node": remote_node,
                    "file_driver": file_driver,
                    "file_storage_dir": file_storage_dir,
                    "hotplug": hotplug,
                    "hotplug_if_possible": hotplug_if_possible,
                    "runtime_mem": runtime_mem,
                    "pnode": pnode,
                    "ignore_ipolicy": ignore_ipolicy,
                    "conflicts_check": conflicts_check,
                    "force_variant": force_variant,
                    "os_name": os_name,
                    "offline": offline,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def backup_prepare(
        self,
        instance_name: str,
        *,
        mode: Literal["local", "remote"],
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Tell what an export of the instance needs to know beforehand. Result: null, for one on a node of
        this cluster.
        """
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/prepare-export",
            {"reason": reason},
            body=_given(
                {"mode": mode, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_reboot(
        self,
        instance_name: str,
        *,
        reboot_type: Literal["full", "hard", "soft"] | None = None,
        ignore_secondaries: bool | None = None,
        shutdown_timeout: int | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Restart an instance: soft (the guest does it), hard (the hypervisor) or full (stop and start)."""
        found: int = self.call(
            "POST",
            f"/2/instances/{_quoted(instance_name)}/reboot",
            {"reason": reason},
            body=_given(
                {
                    "reboot_type": reboot_type,
                    "ignore_secondaries": ignore_secondaries,
                    "shutdown_timeout": shutdown_timeout,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_recreate_disks(
        self,
        instance_name: str,
        *,
        disks: list[Any] | None = None,
        nodes: list[str] | None = None,
        iallocator: str | None = None,
        drop_old_volumes: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Make lost disks of a stopped instance anew; they are empty afterwards."""
        found: int = self.call(
            "POST",
            f"/2/instances/{_quoted(instance_name)}/recreate-disks",
            {"reason": reason},
            body=_given(
                {
                    "disks": disks,
                    "nodes": nodes,
                    "iallocator": iallocator,
                    "drop_old_volumes": drop_old_volumes,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def reinstall_instance(
        self,
        instance_name: str,
        *,
        os: str | None = None,
        start: bool | None = None,
        osparams: dict[str, Any] | None = None,
        nostartup: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Shut an instance down, install its operating system anew or another one, start it: one job."""
        found: int = self.call(
            "POST",
            f"/2/instances/{_quoted(instance_name)}/reinstall",
            {"nostartup": nostartup, "reason": reason},
            body=_given({"os": os, "start": start, "osparams": osparams}),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_rename(
        self,
        instance_name: str,
        *,
        new_name: str,
        ip_check: bool | None = None,
        name_check: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give a stopped instance another name. Result: the new name."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/rename",
            {"reason": reason},
            body=_given(
                {
                    "new_name": new_name,
                    "ip_check": ip_check,
                    "name_check": name_check,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_replace_disks(
        self,
        instance_name: str,
        *,
        mode: Literal["replace_auto", "replace_new_secondary", "replace_on_primary", "replace_on_secondary"]
        | None = None,
        disks: list[int | str] | None = None,
        remote_node: str | None = None,
        iallocator: str | None = None,
        early_release: bool | None = None,
        ignore_ipolicy: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give mirrored disks new volumes on one of their nodes, or another secondary node."""
        found: int = self.call(
            "POST",
            f"/2/instances/{_quoted(instance_name)}/replace-disks",
            {"reason": reason},
            body=_given(
                {
                    "mode": mode,
                    "disks": disks,
                    "remote_node": remote_node,
                    "iallocator": iallocator,
                    "early_release": early_release,
                    "ignore_ipolicy": ignore_ipolicy,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_shutdown(
        self,
        instance_name: str,
        *,
        force: bool | None = None,
        timeout: int | None = None,
        ignore_offline_nodes: bool | None = None,
        no_remember: bool | None = None,
        admin_state_source: Literal["admin", "user"] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Stop an instance."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/shutdown",
            {"reason": reason},
            body=_given(
                {
                    "force": force,
                    "timeout": timeout,
                    "ignore_offline_nodes": ignore_offline_nodes,
                    "no_remember": no_remember,
                    "admin_state_source": admin_state_source,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_startup(
        self,
        instance_name: str,
        *,
        force: bool | None = None,
        ignore_offline_nodes: bool | None = None,
        no_remember: bool | None = None,
        startup_paused: bool | None = None,
        shutdown_timeout: int | None = None,
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Start an instance on its primary node."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/startup",
            {
                "force": force,
                "ignore_offline_nodes": ignore_offline_nodes,
                "no_remember": no_remember,
                "startup_paused": startup_paused,
                "shutdown_timeout": shutdown_timeout,
                "dry-run": dry_run,
                "reason": reason,
            },
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_instance_tags(self, instance_name: str) -> list[str]:
        """Tags of the instance."""
        found: list[str] = self.call("GET", f"/2/instances/{_quoted(instance_name)}/tags")
        return found

    def add_instance_tags(
        self,
        instance_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give tags to the instance."""
        found: int = self.call(
            "PUT",
            f"/2/instances/{_quoted(instance_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def delete_instance_tags(
        self,
        instance_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Take tags from the instance."""
        found: int = self.call(
            "DELETE",
            f"/2/instances/{_quoted(instance_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def instance_query_data(
        self,
        instances: str,
        *,
        static: bool | None = None,
        use_locking: bool | None = None,
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Everything about instances. Result: {name: details}."""
        found: int = self.call(
            "GET",
            f"/2/instances/{_quoted(instances)}/info",
            {"static": static, "use_locking": use_locking, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def list_jobs(self, *, bulk: bool | None = None) -> list[dict[str, Any]]:
        """All jobs that are not archived: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/jobs", {"bulk": bulk})
        return found

    def get_job(self, job_id: int) -> dict[str, Any]:
        """One job with its log and results."""
        found: dict[str, Any] = self.call("GET", f"/2/jobs/{_quoted(job_id)}")
        return found

    def cancel_job(self, job_id: int) -> list[Any]:
        """Cancel a job that waits. Result: whether it was, and a sentence."""
        found: list[Any] = self.call("DELETE", f"/2/jobs/{_quoted(job_id)}")
        return found

    def wait_for_job_change(
        self,
        job_id: int,
        *,
        fields: list[str],
        previous_job_info: list[Any] | None = None,
        previous_log_serial: int | None = None,
    ) -> dict[str, Any] | None:
        """Wait up to ten seconds for a change of a job; null: there was none. Also without `fields`, by the
        query.
        """
        found: dict[str, Any] | None = self.call(
            "GET",
            f"/2/jobs/{_quoted(job_id)}/wait",
            body=_given(
                {"fields": fields, "previous_job_info": previous_job_info, "previous_log_serial": previous_log_serial}
            ),
            has_body=True,
        )
        return found

    def cluster_set_params(
        self,
        *,
        force: bool | None = None,
        enabled_hypervisors: list[str] | None = None,
        enabled_disk_templates: list[str] | None = None,
        hvparams: dict[str, Any] | None = None,
        beparams: dict[str, Any] | None = None,
        nicparams: dict[str, Any] | None = None,
        ndparams: dict[str, Any] | None = None,
        diskparams: dict[str, Any] | None = None,
        os_hvp: dict[str, Any] | None = None,
        osparams: dict[str, Any] | None = None,
        osparams_private_cluster: dict[str, Any] | None = None,
        hidden_os: list[list[Any]] | None = None,
        blacklisted_os: list[list[Any]] | None = None,
        ipolicy: dict[str, Any] | None = None,
        candidate_pool_size: int | None = None,
        max_running_jobs: int | None = None,
        max_tracked_jobs: int | None = None,
        mac_prefix: str | None = None,
        master_netdev: str | None = None,
        master_netmask: int | None = None,
        vg_name: str | None = None,
        drbd_helper: str | None = None,
        file_storage_dir: str | None = None,
        shared_file_storage_dir: str | None = None,
        default_iallocator: str | None = None,
        default_iallocator_params: dict[str, Any] | None = None,
        maintain_node_health: bool | None = None,
        enabled_user_shutdown: bool | None = None,
        install_image: str | None = None,
        prealloc_wipe_disks: bool | None = None,
        lvm_self_repair: bool | None = None,
        use_external_mip_script: bool | None = None,
        modify_etc_hosts: bool | None = None,
        modify_ssh_setup: bool | None = None,
        ssh_key_type: Literal["dsa", "ecdsa", "ed25519", "rsa"] | None = None,
        ssh_key_bits: int | None = None,
        reserved_lvs: list[str] | None = None,
        uid_pool: list[list[Any]] | None = None,
        add_uids: list[list[Any]] | None = None,
        remove_uids: list[list[Any]] | None = None,
        hv_state: dict[str, Any] | None = None,
        disk_state: dict[str, Any] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Change settings of the cluster; what is not given stays."""
        found: int = self.call(
            "PUT",
            "/2/modify",
            {"reason": reason},
            body=_given(
                {
                    "force": force,
                    "enabled_hypervisors": enabled_hypervisors,
                    "enabled_disk_templates": enabled_disk_templates,
                    "hvparams": hvparams,
                    "beparams": beparams,
                    "nicparams": nicparams,
                    "ndparams": ndparams,
                    "diskparams": diskparams,
                    "os_hvp": os_hvp,
                    "osparams": osparams,
                    "osparams_private_cluster": osparams_private_cluster,
                    "hidden_os": hidden_os,
                    "blacklisted_os": blacklisted_os,
                    "ipolicy": ipolicy,
                    "candidate_pool_size": candidate_pool_size,
                    "max_running_jobs": max_running_jobs,
                    "max_tracked_jobs": max_tracked_jobs,
                    "mac_prefix": mac_prefix,
                    "master_netdev": master_netdev,
                    "master_netmask": master_netmask,
                    "vg_name": vg_name,
                    "drbd_helper": drbd_helper,
                    "file_storage_dir": file_storage_dir,
                    "shared_file_storage_dir": shared_file_storage_dir,
                    "default_iallocator": default_iallocator,
                    "default_iallocator_params": default_iallocator_params,
                    "maintain_node_health": maintain_node_health,
                    "enabled_user_shutdown": enabled_user_shutdown,
                    "install_image": install_image,
                    "prealloc_wipe_disks": prealloc_wipe_disks,
                    "lvm_self_repair": lvm_self_repair,
                    "use_external_mip_script": use_external_mip_script,
                    "modify_etc_hosts": modify_etc_hosts,
                    "modify_ssh_setup": modify_ssh_setup,
                    "ssh_key_type": ssh_key_type,
                    "ssh_key_bits": ssh_key_bits,
                    "reserved_lvs": reserved_lvs,
                    "uid_pool": uid_pool,
                    "add_uids": add_uids,
                    "remove_uids": remove_uids,
                    "hv_state": hv_state,
                    "disk_state": disk_state,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def list_networks(self, *, bulk: bool | None = None, lock: bool | None = None) -> list[dict[str, Any]]:
        """All networks: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/networks", {"bulk": bulk, "lock": lock})
        return found

    def network_add(
        self,
        *,
        network_name: str,
        network: str,
        gateway: str | None = None,
        network6: str | None = None,
        gateway6: str | None = None,
        mac_prefix: str | None = None,
        add_reserved_ips: list[str] | None = None,
        conflicts_check: bool | None = None,
        tags: list[str] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Make a network: a subnet whose addresses NICs can get. It is used once it is connected to a node
        group.
        """
        found: int = self.call(
            "POST",
            "/2/networks",
            {"reason": reason},
            body=_given(
                {
                    "network_name": network_name,
                    "network": network,
                    "gateway": gateway,
                    "network6": network6,
                    "gateway6": gateway6,
                    "mac_prefix": mac_prefix,
                    "add_reserved_ips": add_reserved_ips,
                    "conflicts_check": conflicts_check,
                    "tags": tags,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job("", key, wait_s),
        )
        return found

    def get_network(self, network_name: str) -> dict[str, Any]:
        """One network."""
        found: dict[str, Any] = self.call("GET", f"/2/networks/{_quoted(network_name)}")
        return found

    def network_remove(
        self,
        network_name: str,
        *,
        force: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Remove a network; it may not be connected to any node group."""
        found: int = self.call(
            "DELETE",
            f"/2/networks/{_quoted(network_name)}",
            {"reason": reason},
            body=_given(
                {"force": force, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def network_connect(
        self,
        network_name: str,
        *,
        group_name: str,
        network_mode: Literal["bridged", "openvswitch", "routed"],
        network_link: str,
        network_vlan: str | None = None,
        conflicts_check: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Say how NICs on a network are attached on the nodes of a node group."""
        found: int = self.call(
            "PUT",
            f"/2/networks/{_quoted(network_name)}/connect",
            {"reason": reason},
            body=_given(
                {
                    "group_name": group_name,
                    "network_mode": network_mode,
                    "network_link": network_link,
                    "network_vlan": network_vlan,
                    "conflicts_check": conflicts_check,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def network_disconnect(
        self,
        network_name: str,
        *,
        group_name: str,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """End a network's connection to a node group; no instance there may use it."""
        found: int = self.call(
            "PUT",
            f"/2/networks/{_quoted(network_name)}/disconnect",
            {"reason": reason},
            body=_given(
                {
                    "group_name": group_name,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def network_set_params(
        self,
        network_name: str,
        *,
        gateway: str | None = None,
        network6: str | None = None,
        gateway6: str | None = None,
        mac_prefix: str | None = None,
        add_reserved_ips: list[str] | None = None,
        remove_reserved_ips: list[str] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Change a network; `none` takes a gateway or an IPv6 subnet away."""
        found: int = self.call(
            "PUT",
            f"/2/networks/{_quoted(network_name)}/modify",
            {"reason": reason},
            body=_given(
                {
                    "gateway": gateway,
                    "network6": network6,
                    "gateway6": gateway6,
                    "mac_prefix": mac_prefix,
                    "add_reserved_ips": add_reserved_ips,
                    "remove_reserved_ips": remove_reserved_ips,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def network_rename(
        self,
        network_name: str,
        *,
        new_name: str,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give a network another name. Result: the new name."""
        found: int = self.call(
            "PUT",
            f"/2/networks/{_quoted(network_name)}/rename",
            {"reason": reason},
            body=_given(
                {"new_name": new_name, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_network_tags(self, network_name: str) -> list[str]:
        """Tags of the network."""
        found: list[str] = self.call("GET", f"/2/networks/{_quoted(network_name)}/tags")
        return found

    def add_network_tags(
        self,
        network_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give tags to the network."""
        found: int = self.call(
            "PUT",
            f"/2/networks/{_quoted(network_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def delete_network_tags(
        self,
        network_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Take tags from the network."""
        found: int = self.call(
            "DELETE",
            f"/2/networks/{_quoted(network_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def list_nodes(self, *, bulk: bool | None = None, lock: bool | None = None) -> list[dict[str, Any]]:
        """All nodes: links, or whole objects."""
        found: list[dict[str, Any]] = self.call("GET", "/2/nodes", {"bulk": bulk, "lock": lock})
        return found

    def get_node(self, node_name: str) -> dict[str, Any]:
        """One node."""
        found: dict[str, Any] = self.call("GET", f"/2/nodes/{_quoted(node_name)}")
        return found

    def node_evacuate(
        self,
        node_name: str,
        *,
        mode: Literal["all", "primary-only", "secondary-only"],
        remote_node: str | None = None,
        iallocator: str | None = None,
        early_release: bool | None = None,
        ignore_soft_errors: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Move instances away from a node: its primary ones, its secondary ones, or all. Result: jobs."""
        found: int = self.call(
            "POST",
            f"/2/nodes/{_quoted(node_name)}/evacuate",
            {"reason": reason},
            body=_given(
                {
                    "mode": mode,
                    "remote_node": remote_node,
                    "iallocator": iallocator,
                    "early_release": early_release,
                    "ignore_soft_errors": ignore_soft_errors,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def node_migrate(
        self,
        node_name: str,
        *,
        live: bool | None = None,
        mode: Literal["live", "non-live"] | None = None,
        target_node: str | None = None,
        iallocator: str | None = None,
        ignore_ipolicy: bool | None = None,
        allow_runtime_changes: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Migrate all primary instances of a node, one job for each. Result: jobs."""
        found: int = self.call(
            "POST",
            f"/2/nodes/{_quoted(node_name)}/migrate",
            {"reason": reason},
            body=_given(
                {
                    "live": live,
                    "mode": mode,
                    "target_node": target_node,
                    "iallocator": iallocator,
                    "ignore_ipolicy": ignore_ipolicy,
                    "allow_runtime_changes": allow_runtime_changes,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def node_set_params(
        self,
        node_name: str,
        *,
        force: bool | None = None,
        auto_promote: bool | None = None,
        master_candidate: bool | None = None,
        offline: bool | None = None,
        drained: bool | None = None,
        master_capable: bool | None = None,
        vm_capable: bool | None = None,
        secondary_ip: str | None = None,
        ndparams: dict[str, Any] | None = None,
        powered: bool | None = None,
        hv_state: dict[str, Any] | None = None,
        disk_state: dict[str, Any] | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Change a node's role and abilities. Result: list of [what, new value]."""
        found: int = self.call(
            "POST",
            f"/2/nodes/{_quoted(node_name)}/modify",
            {"reason": reason},
            body=_given(
                {
                    "force": force,
                    "auto_promote": auto_promote,
                    "master_candidate": master_candidate,
                    "offline": offline,
                    "drained": drained,
                    "master_capable": master_capable,
                    "vm_capable": vm_capable,
                    "secondary_ip": secondary_ip,
                    "ndparams": ndparams,
                    "powered": powered,
                    "hv_state": hv_state,
                    "disk_state": disk_state,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def node_powercycle(
        self,
        node_name: str,
        *,
        force: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Reboot a node at once and hard, its guests with it. Result: what the node says."""
        found: int = self.call(
            "POST",
            f"/2/nodes/{_quoted(node_name)}/powercycle",
            {"reason": reason},
            body=_given(
                {"force": force, "dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_node_role(self, node_name: str) -> Literal["master", "master-candidate", "regular", "drained", "offline"]:
        """The role of a node."""
        found: Literal["master", "master-candidate", "regular", "drained", "offline"] = self.call(
            "GET", f"/2/nodes/{_quoted(node_name)}/role"
        )
        return found

    def set_node_role(
        self,
        node_name: str,
        value: Literal["regular", "master-candidate", "drained", "offline"],
        *,
        force: bool | None = None,
        auto_promote: bool | None = None,
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give a node another role."""
        found: int = self.call(
            "PUT",
            f"/2/nodes/{_quoted(node_name)}/role",
            {"force": force, "auto-promote": auto_promote, "dry-run": dry_run, "reason": reason},
            body=value,
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def modify_node_storage(
        self,
        node_name: str,
        *,
        storage_type: str,
        name: str,
        allocatable: bool | None = None,
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Say whether space of a storage unit may be taken."""
        found: int = self.call(
            "PUT",
            f"/2/nodes/{_quoted(node_name)}/storage/modify",
            {
                "storage_type": storage_type,
                "name": name,
                "allocatable": allocatable,
                "dry-run": dry_run,
                "reason": reason,
            },
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def repair_node_storage(
        self,
        node_name: str,
        *,
        storage_type: str,
        name: str | None = None,
        ignore_consistency: bool | None = None,
        unattended: bool | None = None,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Drop physical volumes that are missing from a volume group of a node, and what was on them.
        `unattended`: the cluster does it by itself; only if it may, and nothing that may be the only copy
        goes.
        """
        found: int = self.call(
            "PUT",
            f"/2/nodes/{_quoted(node_name)}/storage/repair",
            {"reason": reason},
            body=_given(
                {
                    "storage_type": storage_type,
                    "name": name,
                    "ignore_consistency": ignore_consistency,
                    "unattended": unattended,
                    "dry_run": dry_run,
                    "priority": priority,
                    "depends": depends,
                    "comment": comment,
                }
            ),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_node_tags(self, node_name: str) -> list[str]:
        """Tags of the node."""
        found: list[str] = self.call("GET", f"/2/nodes/{_quoted(node_name)}/tags")
        return found

    def add_node_tags(
        self,
        node_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give tags to the node."""
        found: int = self.call(
            "PUT",
            f"/2/nodes/{_quoted(node_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def delete_node_tags(
        self,
        node_name: str,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Take tags from the node."""
        found: int = self.call(
            "DELETE",
            f"/2/nodes/{_quoted(node_name)}/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def node_query_storage(
        self,
        nodes: str,
        *,
        output_fields: str | None = None,
        storage_type: str | None = None,
        name: str | None = None,
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """List directories, physical volumes or volume groups of nodes with their space. Result: rows of
        `output_fields`. The kind is that of the first enabled disk template when none is given.
        """
        found: int = self.call(
            "GET",
            f"/2/nodes/{_quoted(nodes)}/storage",
            {
                "output_fields": output_fields,
                "storage_type": storage_type,
                "name": name,
                "dry-run": dry_run,
                "reason": reason,
            },
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def openapi(self) -> dict[str, Any]:
        """This document."""
        found: dict[str, Any] = self.call("GET", "/2/openapi.json")
        return found

    def operating_systems(self) -> list[str]:
        """Names of operating systems that can be installed, each variant as `os+variant`."""
        found: list[str] = self.call("GET", "/2/os")
        return found

    def query(self, resource: str, *, fields: str | None = None) -> dict[str, Any]:
        """All objects of a kind, as [status, value] of each field."""
        found: dict[str, Any] = self.call("GET", f"/2/query/{_quoted(resource)}", {"fields": fields})
        return found

    def query_filtered(
        self, resource: str, *, fields: list[str] | None = None, qfilter: list[Any] | None = None
    ) -> dict[str, Any]:
        """The objects of a kind that a filter keeps, as [status, value] of each field."""
        found: dict[str, Any] = self.call(
            "PUT", f"/2/query/{_quoted(resource)}", body=_given({"fields": fields, "qfilter": qfilter}), has_body=True
        )
        return found

    def query_fields(self, resource: str, *, fields: str | None = None) -> dict[str, Any]:
        """What fields a kind of object has."""
        found: dict[str, Any] = self.call("GET", f"/2/query/{_quoted(resource)}/fields", {"fields": fields})
        return found

    def cluster_redist_conf(
        self,
        *,
        dry_run: bool | None = None,
        priority: int | None = None,
        depends: list[list[Any]] | None = None,
        comment: str | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Send the ssconf files and the trust file to every node again."""
        found: int = self.call(
            "PUT",
            "/2/redistribute-config",
            {"reason": reason},
            body=_given({"dry_run": dry_run, "priority": priority, "depends": depends, "comment": comment}),
            has_body=True,
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def get_cluster_tags(self) -> list[str]:
        """Tags of the cluster."""
        found: list[str] = self.call("GET", "/2/tags")
        return found

    def add_cluster_tags(
        self,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Give tags to the cluster."""
        found: int = self.call(
            "PUT", "/2/tags", {"tag": tag, "dry-run": dry_run, "reason": reason}, headers=_of_job(expected, key, wait_s)
        )
        return found

    def delete_cluster_tags(
        self,
        *,
        tag: list[str],
        dry_run: bool | None = None,
        reason: str | None = None,
        expected: str = "",
        key: str = "",
        wait_s: int = 0,
    ) -> int:
        """Take tags from the cluster."""
        found: int = self.call(
            "DELETE",
            "/2/tags",
            {"tag": tag, "dry-run": dry_run, "reason": reason},
            headers=_of_job(expected, key, wait_s),
        )
        return found

    def metrics(self) -> str:
        """Figures of the cluster and of this interface, for Prometheus."""
        found: str = self.call("GET", "/metrics")
        return found

    def version(self) -> Literal[2]:
        """The version of this interface."""
        found: Literal[2] = self.call("GET", "/version")
        return found


def _quoted(word: str | int) -> str:
    return urllib.parse.quote(str(word), safe="")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _of_job(expected: str, key: str, wait_s: int) -> dict[str, str]:
    """Headers of a change."""
    headers = {"If-Match": expected, "Idempotency-Key": key, "Prefer": f"wait={wait_s}" if wait_s else ""}
    return {name: value for name, value in headers.items() if value}


def _fail(status: int, raw: bytes) -> NoReturn:
    try:
        message = str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        message = raw[:200].decode("utf-8", "replace")
    raise RestError(status, message)
