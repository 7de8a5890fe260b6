# Read by the scripts of this OS definition; the working directory is the definition's.

fail() {
  echo "$0: $*" >&2
  exit 1
}

# The disk has one partition when the kernel is told to mount a partition (root_path /dev/vda1), else
# the file system fills the whole disk (root_path /dev/vda). Without a root_path: one partition.
PARTITION_START=1048576 # bytes; sector 2048

offset() {
  case "${INSTANCE_HV_root_path:-/dev/vda1}" in
    *[0-9]) echo "$PARTITION_START" ;;
    *) echo 0 ;;
  esac
}

disk_bytes() {
  if [ -b "$1" ]; then
    blockdev --getsize64 "$1"
  else
    stat -L -c %s "$1"
  fi
}

check_heartbeat() {
  case "${OSP_HEARTBEAT:-1}" in
    '' | . | *[!0-9.]* | *.*.*) fail "parameter heartbeat is '$OSP_HEARTBEAT', not a number of seconds" ;;
  esac
}
