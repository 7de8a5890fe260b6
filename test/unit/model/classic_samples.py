"""The data directory of a classic cluster, of each version from 2.0 to 3.1, and what a reader has to find in it.

The same small cluster every time, in the form of the version: two nodes and one that is offline, a mirrored instance,
one with a file, one without disks, and as soon as there are such things a second group, a network, private parameters
and rules.
"""

import json

VERSIONS = [(2, minor) for minor in range(18)] + [(3, 0), (3, 1)]

NODES = {"node1.example.com": "192.0.2.2", "node2.example.com": "192.0.2.3", "node3.example.com": "192.0.2.4"}
CLUSTER_NAME = "old.example.com"
SECRET = "0123456789abcdef0123456789abcdef01234567"
PRIVATE = "private-4711"
CLUSTER_PRIVATE = "private-0815"
MACS = ("aa:00:00:12:34:56", "aa:00:00:12:34:57", "aa:00:00:12:34:58")
TIME = 1234567890.5
LAST_JOB = 4711
PEM = "-----BEGIN {what}PRIVATE KEY-----\n{mark}\n-----END {what}PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\ny\n"


def uuid(number):
    return f"{number:08x}-1111-4111-8111-{number:012x}"


class Sample:
    """One version's."""

    def __init__(self, version):
        self.version = version
        self.has = lambda *since: version >= since
        self.keys = {name: uuid(index) if self.has(2, 9) else name for index, name in enumerate(NODES, start=1)}

    # Parts

    def _common(self, number):
        """What all objects have: from 2.2 on more than a serial number and tags."""
        found = {"serial_no": 3, "tags": [f"tag{number}"]}
        if self.has(2, 2):
            found |= {"uuid": uuid(number), "ctime": TIME, "mtime": TIME + 1}
        return found

    def _disk(self, number, kind, size, logical, *, index, nodes, children=(), physical=None):
        found = {
            "dev_type": kind if self.has(2, 9) else {"plain": "lvm", "drbd": "drbd8"}.get(kind, kind),
            "logical_id": logical,
            "children": list(children) or (None if self.version == (2, 0) and kind == "lvm" else []),
            "iv_name": f"disk/{index}",
            "size": size,
            "mode": "rw",
        }
        if not self.has(2, 9):
            found["physical_id"] = physical or logical
        if self.has(2, 6):
            found["params"] = {}
        if self.has(2, 8):
            found["uuid"] = uuid(number)
        if self.has(2, 9):
            found |= {"name": None, "spindles": None}
        if self.has(2, 14):
            found |= {"serial_no": 1, "ctime": TIME, "mtime": TIME, "nodes": nodes}
        return found

    def _mirror(self):
        first, second = (self.keys[name] for name in list(NODES)[:2])
        lv = uuid(99)
        children = [
            self._disk(51 + place, "plain", size, ["xenvg", f"{lv}.disk0_{part}"], index=0, nodes=[first, second])
            for place, (part, size) in enumerate((("data", 2048), ("meta", 128)))
        ]
        physical = [*list(NODES.values())[:1], 11000, list(NODES.values())[1], 11000, 0, SECRET]
        logical = [first, second, 11000, 0, 1, SECRET]
        return self._disk(
            50, "drbd", 2048, logical, index=0, nodes=[first, second], children=children, physical=physical
        )

    def _file(self):
        path = "/srv/ganeti/file-storage/file1/disk0"
        return self._disk(60, "file", 512, ["loop", path], index=0, nodes=[self.keys["node2.example.com"]])

    def _nic(self, number, mac, *, ip=None, link="xen-br7", network=None):
        if not self.has(2, 1):
            return {"mac": mac, "ip": ip, "bridge": link}
        found = {"mac": mac, "nicparams": {"mode": "bridged", "link": link}}
        if ip is not None or not self.has(2, 9):
            found["ip"] = ip
        if network and self.has(2, 7):
            found |= {"network": network, "nicparams": {}}
        if self.has(2, 8):
            found |= {"uuid": uuid(number), "name": None}
        return found

    def _instance(self, number, name, node, hypervisor, *, is_up, disks, template, nics, **more):
        memory = {"minmem": 256, "maxmem": 512} if self.has(2, 6) else {"memory": 512}
        found = {
            "name": name, "primary_node": self.keys[node], "os": "debootstrap", "hypervisor": hypervisor,
            "hvparams": {}, "beparams": memory, "nics": nics, "disks": disks, "disk_template": template,
            "network_port": None, **self._common(number), **more,
        }  # fmt: skip
        if self.has(2, 6):
            found["admin_state"] = "up" if is_up else "down"
        else:
            found["admin_up"] = is_up
        if self.has(2, 2):
            found["osparams"] = {"dhcp": "no"}
        if self.has(2, 8):
            found["disks_active"] = is_up
        if self.has(2, 12):
            found["osparams_private"] = {"password": PRIVATE} if number == 20 else {}
        if self.has(2, 14):
            found["admin_state_source"] = "admin"
        if self.has(2, 15):
            del found["disk_template"]
        if self.has(3, 0):
            found["forthcoming"] = False
            if found["network_port"] is None:
                del found["network_port"]
        return found

    def instances(self):
        every = [
            self._instance(20, "web1.example.com", "node1.example.com", "xen-pvm", is_up=True, disks=[self._mirror()],
                           template="drbd", nics=[self._nic(70, MACS[0]),
                                                  self._nic(71, MACS[1], ip="10.1.0.9", network=uuid(40))],
                           hvparams={"kernel_path": "/boot/own"}),
            self._instance(21, "file1.example.com", "node2.example.com", "kvm", is_up=False, disks=[self._file()],
                           template="file", nics=[self._nic(72, MACS[2])], network_port=11001),
            self._instance(22, "none.example.com", "node1.example.com", "kvm", is_up=False, disks=[],
                           template="diskless", nics=[], network_port=11002),
        ]  # fmt: skip
        return {each["uuid"] if self.has(2, 9) else each["name"]: each for each in every}

    def nodes(self):
        found = {}
        for number, (name, address) in enumerate(NODES.items(), start=1):
            node = {
                "name": name, "primary_ip": address, "secondary_ip": address, "master_candidate": number < 3,
                "offline": number == 3, "drained": False, **self._common(number),
            }  # fmt: skip
            if self.has(2, 3):
                node |= {"master_capable": True, "vm_capable": True, "ndparams": {}}
            if self.has(2, 4):
                node["group"] = uuid(31 if number == 3 else 30)
            if self.has(2, 5):
                node["powered"] = True
            found[self.keys[name]] = node
        return found

    def _policy(self):
        low = dict.fromkeys(("cpu-count", "disk-count", "nic-count", "spindle-use"), 1)
        low |= {"memory-size": 64, "disk-size": 128}
        high = {"memory-size": 4096, "cpu-count": 4, "disk-count": 8, "disk-size": 99999, "nic-count": 4}
        high["spindle-use"] = 12
        if self.has(2, 8):
            return {"minmax": [{"min": low, "max": high}]}
        return {"min": low, "max": high}

    def groups(self):
        found = {}
        for number, name in ((30, "default"), (31, "far")):
            group = {"name": name, "alloc_policy": "preferred" if number == 30 else "last_resort",
                     **self._common(number)}  # fmt: skip
            group |= {"uuid": uuid(number), "ndparams": {}, "members": []}
            if self.has(2, 6):
                group |= {"ipolicy": {}, "diskparams": {}}
            if self.has(2, 7):
                group["networks"] = {uuid(40): {"mode": "bridged", "link": "br-lan"}} if number == 30 else {}
            found[uuid(number)] = group
        return found

    def networks(self):
        bits = ["0"] * 16
        outside = list(bits)
        outside[0] = outside[1] = outside[15] = outside[12] = "1"
        bits[9] = "1"
        network = {
            "name": "lan", "network": "10.1.0.0/28", "gateway": "10.1.0.1", "network6": None, "gateway6": None,
            "mac_prefix": None, "reservations": "".join(bits), "ext_reservations": "".join(outside),
            **self._common(40),
        }  # fmt: skip
        return {uuid(40): network}

    def filters(self):
        rule = {
            "uuid": uuid(80), "watermark": 17, "priority": 5, "predicates": [["jobid", [">", "id", "watermark"]]],
            "action": ["RATE_LIMIT", 3], "reason_trail": [["gnt:client:gnt-filter", "because", 1234567890]],
        }  # fmt: skip
        return {uuid(80): rule}

    def cluster(self):
        has = self.has
        found = {
            "serial_no": 9, "tags": ["prod"], "rsahostkeypub": "AAAAB3Nz", "highest_used_port": 11002,
            "tcpudp_port_pool": [11003, 11004], "mac_prefix": "aa:00:00", "volume_group_name": "xenvg",
            "master_node": self.keys["node1.example.com"], "master_ip": "192.0.2.1", "master_netdev": "eth0",
            "cluster_name": CLUSTER_NAME, "file_storage_dir": "/srv/ganeti/file-storage",
            "enabled_hypervisors": ["xen-pvm", "kvm"], "candidate_pool_size": 7, "modify_etc_hosts": True,
            "hvparams": {"xen-pvm": {"kernel_path": "/boot/vmlinuz-2.6-xenU", "kernel_args": "ro quiet"},
                         "kvm": {"serial_console": False}},
            "beparams": {"default": {"vcpus": 2, "auto_balance": True}},
        }  # fmt: skip
        memory = {"minmem": 128, "maxmem": 192} if has(2, 6) else {"memory": 192}
        found["beparams"]["default"] |= memory
        if not has(2, 1):
            found |= {"default_bridge": "xen-br3", "default_hypervisor": "xen-pvm"}
            found["enabled_hypervisors"].reverse()
        else:
            found |= {"nicparams": {"default": {"mode": "bridged", "link": "xen-br3"}},
                      "os_hvp": {"debootstrap": {"kvm": {"acpi": False}}}}  # fmt: skip
        if has(2, 2):
            found |= {"uuid": uuid(100), "ctime": TIME, "mtime": TIME + 2, "osparams": {"debootstrap": {"dhcp": "yes"}},
                      "maintain_node_health": True, "uid_pool": [[4000, 4100]]}  # fmt: skip
        if has(2, 3):
            found |= {"ndparams": {"oob_program": "/usr/sbin/oob"}, "reserved_lvs": ["xenvg/swap.*"],
                      "drbd_usermode_helper": "/bin/true", "default_iallocator": "hail", "hidden_os": ["old"],
                      "blacklisted_os": [], "primary_ip_family": 2, "prealloc_wipe_disks": True}  # fmt: skip
        if has(2, 5):
            found |= {"master_netmask": 32, "use_external_mip_script": False, "shared_file_storage_dir": ""}
        if has(2, 6):
            found |= {"diskparams": {"drbd": {"metavg": "metavg"}}, "ipolicy": self._policy(),
                      "hv_state_static": {}, "disk_state_static": {}}  # fmt: skip
        if has(2, 9):
            found["enabled_disk_templates"] = ["drbd", "file"]
        if has(2, 11):
            found["candidate_certs"] = {uuid(1): ":".join(["AB"] * 20), uuid(2): ":".join(["CD"] * 20)}
        if has(2, 12):
            found |= {"osparams_private_cluster": {"debootstrap": {"token": CLUSTER_PRIVATE}},
                      "instance_communication_network": "", "max_running_jobs": 30}  # fmt: skip
        if has(2, 13):
            found |= {"install_image": "", "zeroing_image": "", "compression_tools": ["gzip", "lzop"],
                      "max_tracked_jobs": 26, "gluster_storage_dir": ""}  # fmt: skip
        if has(2, 14):
            collector = {"active": True, "interval": 5_000_000}
            found |= {"data_collectors": {"lv": collector}, "enabled_user_shutdown": True,
                      "default_iallocator_params": {}}  # fmt: skip
        if has(2, 16):
            found |= {"ssh_key_type": "rsa", "ssh_key_bits": 4096}
        return found

    # The whole

    def document(self):
        major, minor = self.version
        found = {
            "version": major * 1_000_000 + minor * 10_000, "serial_no": 1234, "cluster": self.cluster(),
            "nodes": self.nodes(), "instances": self.instances(),
        }  # fmt: skip
        if self.has(2, 2):
            found |= {"ctime": TIME, "mtime": TIME + 9}
        if self.has(2, 4):
            found["nodegroups"] = self.groups()
        if self.has(2, 7):
            found["networks"] = self.networks()
        if self.has(2, 13):
            found["filters"] = self.filters()
        if self.has(2, 14):
            found["disks"] = {}
            for instance in found["instances"].values():
                for disk in instance["disks"]:
                    found["disks"][disk["uuid"]] = disk
                instance["disks"] = [disk["uuid"] for disk in instance["disks"]]
        return found

    def files(self):
        """Of the data directory: name → (content, mode)."""
        jobs = {"id": LAST_JOB, "ops": [{"status": "success"}]}
        found = {
            "config.data": (json.dumps(self.document(), indent=2 if self.version == (2, 0) else None), 0o600),
            "ssconf_master_node": ("node1.example.com\n", 0o444),
            "ssconf_cluster_name": (CLUSTER_NAME + "\n", 0o444),
            "ssconf_node_list": ("".join(f"{name}\n" for name in NODES), 0o444),
            "known_hosts": (f"{CLUSTER_NAME} ssh-rsa AAAAB3Nz\n", 0o644),
            "server.pem": (PEM.format(what="RSA ", mark="server"), 0o400),
            "queue/serial": (f"{LAST_JOB}\n", 0o600),
            "queue/version": ("1\n", 0o600),
            f"queue/job-{LAST_JOB}": (json.dumps(jobs), 0o600),
            "queue/archive/0/job-1": ("{}", 0o600),
            "queue/lock": ("", 0o600),
        }
        if self.has(2, 1):
            found |= {"hmac.key": ("ab" * 20 + "\n", 0o440), "rapi.pem": (PEM.format(what="", mark="rapi"), 0o440)}
        users = "rapi/users" if self.has(2, 4) else "rapi_users"
        if self.has(2, 0):
            found[users] = ("jack {HA1}7046452df2cbb530877058712cf17bd4 write\n", 0o640)
        if self.has(2, 2):
            found["cluster-domain-secret"] = ("cd" * 32 + "\n", 0o640)
        if self.has(2, 5):
            found[f"watcher.{uuid(30)}.data"] = ("{}\n", 0o600)
        else:
            found["watcher.data"] = ("{}\n", 0o600)
        if self.has(2, 6):
            found |= {"spice.pem": (PEM.format(what="", mark="spice"), 0o440),
                      "spice-ca.pem": ("-----BEGIN CERTIFICATE-----\nca\n", 0o440)}  # fmt: skip
        if self.has(2, 11):
            found |= {"client.pem": (PEM.format(what="", mark="client"), 0o440),
                      "ganeti_pub_keys": (f"{uuid(1)} ssh-rsa AAAA\n", 0o600)}  # fmt: skip
        return found
