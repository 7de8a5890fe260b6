#!/bin/sh
# A real node in namespaces of its own: with its own accounts, directories, network and host name. Runs as root:
#   unshare --mount --net --uts --pid --fork --mount-proc sh accounts.sh PYTHON REPOSITORY COMMAND...
# Nothing of it is left when it ends.
set -e
python=$1 repository=$2
shift 2
mount --make-rprivate /
stage=$(mktemp -d)
mount -t tmpfs tmpfs "$stage"
mkdir "$stage/etc" "$stage/root" "$stage/lib"
for name in ld.so.cache ld.so.conf ld.so.conf.d nsswitch.conf localtime protocols services ssl alternatives; do
  [ ! -e "/etc/$name" ] || cp -a "/etc/$name" "$stage/etc/"
done
cat >"$stage/etc/passwd" <<END
root:x:0:0:root:/run/root:/bin/sh
sshd:x:4820:65534::/run/sshd:/usr/sbin/nologin
gnt-masterd:x:4801:4801::/nonexistent:/usr/sbin/nologin
gnt-confd:x:4802:4802::/nonexistent:/usr/sbin/nologin
gnt-rapi:x:4803:4803::/nonexistent:/usr/sbin/nologin
operator:x:4810:4810::/nonexistent:/bin/sh
stranger:x:4811:4811::/nonexistent:/bin/sh
END
cat >"$stage/etc/group" <<END
root:x:0:
gnt-masterd:x:4801:
gnt-confd:x:4802:
gnt-rapi:x:4803:
gnt-daemons:x:4804:gnt-masterd,gnt-confd,gnt-rapi,operator
gnt-admin:x:4805:
operator:x:4810:
stranger:x:4811:
END
cat >"$stage/etc/hosts" <<END
127.0.0.1 localhost
192.0.2.1 node1.example.com node1
192.0.2.100 cluster.example.com cluster
192.0.2.9 other.example.com other
END
echo "hosts: files" >"$stage/etc/nsswitch.conf"
# an interpreter in somebody's home can be run by the accounts, too
case $(readlink -f "$python") in
  /root/*)
    mount --bind /root "$stage/root"
    mkdir "$stage/newroot"
    mount -t tmpfs -o mode=0755 tmpfs "$stage/newroot"
    for entry in "$stage"/root/.pyenv "$stage"/root/.local; do
      [ -d "$entry" ] || continue
      mkdir "$stage/newroot/${entry##*/}"
      mount --rbind "$entry" "$stage/newroot/${entry##*/}"
    done
    mount --rbind "$stage/newroot" /root
    ;;
esac
# the settings that ./configure would have made
sed -e 's/^MASTERD_USER = .*/MASTERD_USER = "gnt-masterd"/' -e 's/^CONFD_USER = .*/CONFD_USER = "gnt-confd"/' \
  -e 's/^RAPI_USER = .*/RAPI_USER = "gnt-rapi"/' -e 's/^DAEMONS_GROUP = .*/DAEMONS_GROUP = "gnt-daemons"/' \
  -e 's/^ADMIN_GROUP = .*/ADMIN_GROUP = "gnt-admin"/' "$repository/lib/settings.py" >"$stage/lib/settings.py"
mount --bind "$stage/lib/settings.py" "$repository/lib/settings.py"
mount --bind "$stage/etc" /etc
for directory in /var/lib /run /var/log /srv; do
  mount -t tmpfs -o mode=0755 tmpfs "$directory"
done
mkdir -p /run/lock /run/sshd /etc/ssh
mkdir -m 0700 -p /run/root/.ssh
echo "ssh-rsa AAAA me@home" >/run/root/.ssh/authorized_keys
chmod 0600 /run/root/.ssh/authorized_keys
ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
echo "UsePAM no" >/etc/ssh/sshd_config
mkdir -p /var/lock
hostname node1.example.com
# /sys shows the devices of the network that it was mounted in
mount -t sysfs sysfs /sys
# a network with a neighbour at the other end of a cable
ip link set lo up
ip link add xen-br0 type bridge
ip link add eth0 type veth peer name eth1
ip netns add neighbour 2>/dev/null || { mkdir -p /run/netns; ip netns add neighbour; }
ip link set eth1 netns neighbour
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip netns exec neighbour ip link set lo up
ip netns exec neighbour ip address add 192.0.2.9/24 dev eth1
ip netns exec neighbour ip link set eth1 up
/usr/sbin/sshd
exec env -i PATH="$(dirname "$python"):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/tmp \
  LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "$@"
