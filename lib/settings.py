"""What `./configure` decides. This file has the defaults; an installation puts its generated one in its place."""

VERSION = "0.1.0"

DATA_DIR = "/var/lib/ganeti"
RUN_DIR = "/var/run/ganeti"
LOG_DIR = "/var/log/ganeti"
LOCK_DIR = "/var/lock"
CONFIG_DIR = "/etc/ganeti"
EXPORT_DIR = "/srv/ganeti/export"
FILE_STORAGE_DIR = "/srv/ganeti/file-storage"
SHARED_FILE_STORAGE_DIR = "/srv/ganeti/shared-file-storage"
OS_SEARCH_PATH = (
    "/srv/ganeti/os",
    "/usr/local/lib/ganeti/os",
    "/usr/lib/ganeti/os",
    "/usr/share/ganeti/os",
)
IALLOCATOR_SEARCH_PATH = (
    "/usr/local/lib/ganeti/iallocators",
    "/usr/lib/ganeti/iallocators",
)

MASTERD_USER = "root"
RAPI_USER = "root"
CONFD_USER = "root"
DAEMONS_GROUP = "root"
ADMIN_GROUP = "root"

NODED_PORT = 1811
RAPI_PORT = 5080
CONFD_PORT = 1814

KVM_PATH = "/usr/bin/qemu-system-x86_64"
