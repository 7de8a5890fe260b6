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

check_parameters() {
  case "${OSP_HEARTBEAT:-1}" in
    '' | . | *[!0-9.]* | *.*.*) fail "parameter heartbeat is '$OSP_HEARTBEAT', not a number of seconds" ;;
  esac
  case "${OSP_PREFIX:-24}" in
    *[!0-9]* | ????*) fail "parameter prefix is '$OSP_PREFIX', not a number of bits such as 24" ;;
  esac
  case "${OSP_GATEWAY:-}" in
    *[!0-9a-fA-F.:]*) fail "parameter gateway is '$OSP_GATEWAY', not an IP address" ;;
  esac
}

# The addresses that are known, a line for each card: MAC ADDRESS[/PREFIX] [GATEWAY]. The parameters are for the first card.
network_conf() {
  index=0 prefix=${OSP_PREFIX:-} gateway=${OSP_GATEWAY:-}
  while [ "$index" -lt "${NIC_COUNT:-0}" ]; do
    eval "mac=\${NIC_${index}_MAC:-} ip=\${NIC_${index}_IP:-}"
    eval "subnet=\${NIC_${index}_NETWORK_SUBNET:-} via=\${NIC_${index}_NETWORK_GATEWAY:-}"
    case $subnet in
      */*) : "${prefix:=${subnet##*/}}" ;;
    esac
    if [ -n "$mac" ] && [ -n "$ip" ]; then
      echo "$mac $ip${prefix:+/$prefix} ${gateway:-$via}"
    fi
    index=$((index + 1)) prefix='' gateway=''
  done
}
