"""Which daemon passes which fault point. A new point must be put in one of these tables."""

#: point → the hits at which a master daemon is killed: in different jobs, and at different commits of one job
MASTER = {
    "store.before_apply": (1, 2, 5, 9, 14),
    "store.after_apply": (1, 2, 5, 9, 14),
    "store.before_promise": (1,),  # while it starts: its own promise for the new term
    "store.after_promise": (1,),
}
#: passed by the node daemon that keeps exports, or gets an import
EXPORTS = (
    *("export.before_begin", "export.after_begin", "export.before_sum", "export.after_sum"),
    *("export.before_config", "export.after_config", "export.old_aside", "export.in_place", "export.finished"),
    *("export.before_discard", "export.after_discard"),
    *("export.before_remove", "export.hidden", "export.after_remove"),
    *("stream.before_end", "stream.after_end"),
)
#: passed by the node daemon of an instance that is exported while it runs
SNAPSHOTS = (
    *("snapshot.before_freeze", "snapshot.made", "snapshot.after_freeze"),
    *("snapshot.before_thaw", "snapshot.dropped", "snapshot.after_thaw"),
)
#: passed by the command `gnt-cluster upgrade` (test_ft_upgrade_kills)
UPGRADE = tuple(
    f"upgrade.{side}_{phase}"
    for phase in (
        *("drain", "wait", "pause", "stop", "backup", "convert", "start", "redistribute", "undrain"),
        *("note", "forget", "back", "archive"),
    )
    for side in ("before", "after")
)
#: passed by the node daemon whose volumes become disks of a new instance, and by one that gives them back
ADOPTION = ("storage.adopt.marked", "storage.adopt.renamed")
RETURN = ("storage.adopt.linked", "storage.adopt.returned")
#: passed by `gnt-cluster import-config` (unit/bootstrap/test_classic_import)
IMPORT = (
    *("import.before_move", "import.after_move", "import.before_mark", "import.after_mark"),
    *("import.before_carry", "import.after_carry", "import.done"),
)
#: passed by its way back, in this order; files are moved there too
IMPORT_BACK = ("import.before_remove", "import.after_remove", "import.before_back", "import.after_back")
COMMANDS = (*UPGRADE, *IMPORT, *IMPORT_BACK)
#: passed by node daemons alone: calls and their effects, and a candidate's copy that is given up or replaced
NODE_ONLY = (
    *EXPORTS,
    *SNAPSHOTS,
    *ADOPTION,
    *RETURN,
    *("node.before_ssconf", "node.after_ssconf"),
    *("requests.before_begin", "requests.after_begin", "requests.before_end", "requests.after_end"),
    *("rpc.before_term", "rpc.after_term", "rpc.before_trust", "rpc.after_trust"),
    *("storage.file.marked", "storage.file.created", "storage.file.removed", "storage.file.renamed"),
    *("store.before_drop", "store.after_drop"),
    *("store.before_stage", "store.after_stage", "store.before_replace", "store.after_replace"),
)
