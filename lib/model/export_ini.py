"""The config.ini of an export: what an instance was, as text. Pure.

A parameter that no line of such a file can hold as it is (blanks at its ends, line breaks, the word None) is in our
section ``exact`` instead, as JSON under the name of the section where others are.
"""

from __future__ import annotations

import configparser
import io
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ganeti import errors
from ganeti.model import words
from ganeti.model.objects import Params
from ganeti.model.types import MiB

VERSION = 0
_MAX_COUNT = 64
_MAX_DIGITS = 18
#: the last second of the year 9999
_MAX_TIME = 253_402_300_799
_EXACT = "exact"
_KEY = re.compile(r"[A-Za-z0-9_][\w.-]*\Z", re.ASCII)


class ExportedNic(msgspec.Struct, frozen=True, kw_only=True):
    mac: str = ""
    ip: str | None = None
    name: str = ""
    network: str = ""  # its name
    params: Params = {}  # mode, link, vlan; on a network what that made of them


class ExportedDisk(msgspec.Struct, frozen=True, kw_only=True):
    size: MiB
    name: str = ""
    mode: str = ""  # rw or ro
    dump: str = ""  # file; empty: its content is not in the export
    checksum: str = ""
    dump_size: int = 0  # bytes


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What a config.ini says. Empty texts and dicts: it does not say."""

    name: str
    timestamp: int  # epoch seconds
    source: str  # name of the primary node
    os: str = ""
    compression: str = "none"  # of the dumps, as they lie there
    contents: str = ""  # script or raw
    hypervisor: str = ""
    template: str = ""
    tags: tuple[str, ...] = ()
    nics: tuple[ExportedNic, ...] = ()
    disks: tuple[ExportedDisk, ...] = ()
    hvparams: Params = {}
    beparams: Params = {}
    osparams: Params = {}
    osparams_private: Params = {}


def write(export: Exported) -> str:
    config = _parser()
    config["export"] = {
        "version": str(VERSION),
        "timestamp": str(export.timestamp),
        "source": export.source,
        "os": export.os,
        "compression": export.compression,
        "contents": export.contents,
    }
    be = export.beparams
    config["instance"] = {
        "name": export.name,
        "memory": _text(be.get("maxmem")),
        "maxmem": _text(be.get("maxmem")),
        "minmem": _text(be.get("minmem")),
        "vcpus": _text(be.get("vcpus")),
        "disk_template": export.template,
        "hypervisor": export.hypervisor,
        "tags": " ".join(export.tags),
        "nic_count": str(len(export.nics)),
        "disk_count": str(len(export.disks)),
    }
    for index, nic in enumerate(export.nics):
        values = {"mac": nic.mac, "ip": _text(nic.ip), "name": nic.name or "None"}
        values["network"] = nic.network or "None"
        values |= {key: _text(nic.params.get(key)) for key in ("mode", "link", "vlan")}
        if nic.params.get("mode") == "bridged":
            values["bridge"] = _text(nic.params.get("link"))
        for key, value in values.items():
            config.set("instance", f"nic{index}_{key}", value)
    for index, disk in enumerate(export.disks):
        config.set("instance", f"disk{index}_ivname", f"disk/{index}")
        config.set("instance", f"disk{index}_size", str(disk.size))
        config.set("instance", f"disk{index}_name", disk.name or "None")
        config.set("instance", f"disk{index}_mode", disk.mode or "None")
        if disk.dump:
            config.set("instance", f"disk{index}_dump", disk.dump)
    exact: dict[str, str] = {}
    for section, values in (
        ("hypervisor", export.hvparams),
        ("backend", be),
        ("os", export.osparams),
        ("os_private", export.osparams_private),
    ):
        config[section] = {key: _text(value) for key, value in values.items() if _fits(key, value)}
        others = {key: _text(value) for key, value in values.items() if not _fits(key, value)}
        if others:
            exact[section] = msgspec.json.encode(others).decode()
    if exact:
        config[_EXACT] = exact
    output = io.StringIO()
    config.write(output)
    return output.getvalue()


def with_sums(text: str, sums: Mapping[int, tuple[str, int]]) -> str:
    """A config.ini that `write` made with the digest and length of the dumps, by disk."""
    config = _parser()
    config.read_string(text)
    for index, (digest, length) in sums.items():
        config.set("instance", f"disk{index}_checksum", digest)
        config.set("instance", f"disk{index}_dump_size", str(length))
    output = io.StringIO()
    config.write(output)
    return output.getvalue()


def _parser() -> configparser.RawConfigParser:
    config = configparser.RawConfigParser()
    # names of parameters keep their case; the stub takes this for a method
    config.optionxform = str  # type: ignore[assignment,method-assign]
    return config


def _text(value: Any) -> str:
    return str(value)


def _fits(key: str, value: Any) -> bool:
    """Whether what is read from a line with it is the same."""
    if not _KEY.match(key):
        return False
    return not isinstance(value, str) or (value.isprintable() and value == value.strip() and value != "None")


def read(text: str) -> Exported:
    """Raises PrereqError(wrong_input) that says what is wrong. Unknown keys are left alone."""
    config = _parser()
    try:
        config.read_string(text, source="config.ini")
    except configparser.Error as err:
        raise _wrong(f"it cannot be read: {' '.join(str(err).split())[:300]}") from err
    for section in ("export", "instance"):
        if not config.has_section(section):
            raise _wrong(f"it has no section {section}")
    head, own = _Section(config["export"], "export"), _Section(config["instance"], "instance")
    version = head.number("version", -1)
    if version != VERSION:
        raise _wrong(f"it is of export version {version}, supported is {VERSION}")
    be = _params(config, "backend")
    if not be:
        memory = {
            "maxmem": own.text("maxmem") or own.text("memory"),
            "minmem": own.text("minmem") or own.text("memory"),
        }
        be = {key: value for key, value in {**memory, "vcpus": own.text("vcpus")}.items() if value}
    return Exported(
        name=own.text("name"),
        timestamp=head.number("timestamp", 0, most=_MAX_TIME),
        source=head.text("source"),
        os=head.text("os"),
        compression=head.text("compression") or "none",
        contents=head.text("contents"),
        hypervisor=own.text("hypervisor"),
        template=own.text("disk_template"),
        tags=tuple(own.text("tags").split()),
        nics=tuple(_nic(own, index) for index in range(own.count("nic_count"))),
        disks=tuple(_disk(own, index) for index in range(own.count("disk_count"))),
        hvparams=_params(config, "hypervisor"),
        beparams=be,
        osparams=_params(config, "os"),
        osparams_private=_params(config, "os_private"),
    )


class _Section:
    def __init__(self, values: Mapping[str, str], name: str) -> None:
        self._values, self._name = {key.lower(): value for key, value in values.items()}, name

    def text(self, key: str) -> str:
        """Empty when it is not there, or None."""
        value = self._values.get(key, "").strip()
        return "" if value == "None" else value

    def number(self, key: str, default: int, *, most: int = 10**_MAX_DIGITS) -> int:
        text = self.text(key)
        if not text:
            return default
        if not text.isascii() or not text.removeprefix("-").isdigit():
            raise _wrong(f"{key} in section {self._name} is {text[:80]!r}, not a whole number")
        if len(text) > _MAX_DIGITS or not 0 <= (found := int(text)) <= most:
            raise _wrong(f"{key} in section {self._name} is {text[:80]}, not a number from 0 to {most}")
        return found

    def count(self, key: str) -> int:
        return self.number(key, 0, most=_MAX_COUNT)


def _nic(own: _Section, index: int) -> ExportedNic:
    prefix = f"nic{index}_"
    link = own.text(prefix + "link") or own.text(prefix + "bridge")
    values = {"mode": own.text(prefix + "mode"), "link": link, "vlan": own.text(prefix + "vlan")}
    return ExportedNic(
        mac=own.text(prefix + "mac"),
        ip=own.text(prefix + "ip") or None,
        name=own.text(prefix + "name"),
        network=own.text(prefix + "network"),
        params={key: value for key, value in values.items() if value},
    )


def _disk(own: _Section, index: int) -> ExportedDisk:
    prefix = f"disk{index}_"
    size = own.number(prefix + "size", 0)
    if size <= 0:
        raise _wrong(f"disk {index} has no size")
    return ExportedDisk(
        size=size,
        name=own.text(prefix + "name"),
        mode=own.text(prefix + "mode"),
        # the 2.0 form of a disk whose dump failed
        dump=own.text(prefix + "dump").removeprefix("False"),
        checksum=own.text(prefix + "checksum"),
        dump_size=own.number(prefix + "dump_size", 0),
    )


def _params(config: configparser.RawConfigParser, section: str) -> Params:
    if not config.has_section(section):
        return {}
    found = {key: value for key, value in config.items(section) if value != "None"}
    if not config.has_option(_EXACT, section):
        return found
    try:
        return found | msgspec.json.decode(config.get(_EXACT, section), type=dict[str, str])
    except msgspec.ValidationError as err:
        problem = words.told(str(err), None, dict[str, str])
        raise _wrong(f"{section} in section {_EXACT} cannot be read: {problem}") from err
    except msgspec.DecodeError as err:
        raise _wrong(f"{section} in section {_EXACT} cannot be read: {err}") from err


def _wrong(problem: str) -> errors.PrereqError:
    return errors.PrereqError("wrong_input", f"the config.ini of the export cannot be used: {problem}")
