"""mount(8), umount(8) and fusermount3 with a real /etc/fstab, for root and for an ordinary user.

Everything happens on a copy of this machine, on which mtpfs is installed and two
users, `me` and `other`, have accounts.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from install.conftest import TOP, Machine

pytestmark = pytest.mark.usefixtures("built")

_PRELUDE = rf"""
{TOP}/contrib/install install >/dev/null
useradd --create-home --uid 1000 me 2>/dev/null || useradd --create-home --uid 1000 --non-unique me
useradd --create-home --uid 1717 other
as() {{ local user=$1; shift; runuser -u "$user" -- "$@"; }}
# refused STATUS TEXT COMMAND...: it must fail so
refused() {{
    local status=$1 text=$2 got=0; shift 2
    "$@" >/tmp/said 2>&1 || got=$?
    if [ "$got" != "$status" ] && [ "$status" != any ] || [ "$got" = 0 ] || ! grep -q -- "$text" /tmp/said; then
        echo "status $got, not $status, or another text than '$text': $*"; cat /tmp/said; exit 1
    fi
}}
gone() {{ for _ in $(seq 100); do mountpoint -q "$1" || return 0; sleep 0.05; done; echo "$1 is still mounted"; exit 1; }}
is() {{ if [ "$1" != "$2" ]; then echo "'$1' instead of '$2'"; exit 1; fi; }}
phone=/srv/phone storage='Internal shared storage'
install -d -o me -g me $phone /home/me/phone
install -d /mnt/m
cd /
"""


@pytest.fixture
def users(machine: Machine) -> Machine:
    """Return what runs a script on a machine with mtpfs, two users and an empty phone."""
    return lambda script: machine(_PRELUDE + script)


def test_user_line(users: Machine) -> None:
    """With `user` in fstab, an ordinary user mounts and unmounts for himself alone."""
    users(r"""
    echo "virtual:$phone /home/me/phone mtpfs noauto,user,nofail 0 0" > /etc/fstab
    as me mount /home/me/phone
    findmnt -n -r -o FSTYPE,SOURCE,OPTIONS /home/me/phone | tee /tmp/shown
    grep -q "^fuse.mtpfs virtual:$phone .*user_id=1000," /tmp/shown
    for word in nosuid nodev noexec; do grep -q "$word" /tmp/shown; done
    as me sh -c "echo mine > '/home/me/phone/$storage/f'"
    is "$(cat $phone/f)" mine
    is "$(as me stat -c %u "/home/me/phone/$storage/f")" 1000
    refused any "Permission denied" as other ls /home/me/phone
    refused any "Permission denied" ls /home/me/phone
    refused any "" as other umount /home/me/phone
    as me umount /home/me/phone
    gone /home/me/phone
    as me mount /home/me/phone
    as me fusermount3 -u /home/me/phone
    gone /home/me/phone
    refused 32 "mtpfs: " as other mount /home/me/phone
    """)


def test_others_of_a_user(users: Machine) -> None:
    """allow_other of a user needs a line in fuse.conf, which the message names; then the mask decides."""
    users(r"""
    echo "virtual:$phone /home/me/phone mtpfs noauto,user,allow_other,umask=027 0 0" > /etc/fstab
    chmod 755 /home/me
    refused 32 'user_allow_other. in /etc/fuse.conf' as me mount /home/me/phone
    echo user_allow_other >> /etc/fuse.conf
    echo contents > $phone/f
    as me mount /home/me/phone
    is "$(cat "/home/me/phone/$storage/f")" contents
    refused any "Permission denied" as other ls /home/me/phone
    as me umount /home/me/phone
    gone /home/me/phone
    sed -i s/umask=027/umask=022/ /etc/fstab
    as me mount /home/me/phone
    is "$(as other cat "/home/me/phone/$storage/f")" contents
    refused any "Permission denied" as other sh -c "echo x > '/home/me/phone/$storage/f'"
    as me umount /home/me/phone
    """)


def test_mount_by_root_for_a_user(users: Machine) -> None:
    """What root mounts with uid=, gid= and umask= is the user's, and nobody else's."""
    users(r"""
    echo "virtual:$phone /mnt/m mtpfs noauto,allow_other,uid=1000,gid=1000,umask=077 0 0" > /etc/fstab
    echo contents > $phone/f
    mount /mnt/m
    is "$(stat -c '%u %a' "/mnt/m/$storage")" "1000 700"
    is "$(stat -c '%u %a' "/mnt/m/$storage/f")" "1000 700"
    is "$(as me cat "/mnt/m/$storage/f")" contents
    as me sh -c "echo changed > '/mnt/m/$storage/f'; mkdir '/mnt/m/$storage/d'"
    is "$(cat $phone/f)" changed
    refused any "Permission denied" as other ls /mnt/m
    refused any "" as me umount /mnt/m
    umount /mnt/m
    gone /mnt/m
    """)


def test_other_ways(users: Machine) -> None:
    """`mount -t` with both types, options on the command line, spaces, -a, -f, remount, a busy umount."""
    users(r"""
    mkdir "/srv/my phone"; echo contents > "/srv/my phone/f"
    mount -t fuse.mtpfs "virtual:/srv/my phone" /mnt/m -o ro
    is "$(findmnt -n -r -o FSTYPE /mnt/m)" fuse.mtpfs
    is "$(cat "/mnt/m/$storage/f")" contents
    refused any "Read-only" touch "/mnt/m/$storage/g"
    refused any "can't be used: a mount keeps its options" mount -o remount,rw /mnt/m
    # util-linux 2.41 adds what the kernel shows of the mount
    refused any "can't be used: a mount keeps its options" mount -o remount,user_id=0,group_id=0 /mnt/m
    refused 32 "mounted here already" mount -t mtpfs "virtual:/srv/my phone" /mnt/m
    umount /mnt/m; gone /mnt/m
    echo "virtual:/srv/my\\040phone /mnt/m mtpfs defaults,noatime,_netdev,x-foo=1,comment=z 0 0" > /etc/fstab
    mount -a
    is "$(cat "/mnt/m/$storage/f")" contents
    exec 5< "/mnt/m/$storage/f"
    refused 32 busy umount /mnt/m
    umount -l /mnt/m; gone /mnt/m
    exec 5<&-
    mount -f -n -v -t mtpfs virtual:/srv /mnt/m
    gone /mnt/m
    mount -t mtpfs -s virtual:/srv/phone /mnt/m -o nonsense,fsname=mine
    is "$(findmnt -n -r -o SOURCE /mnt/m)" mine
    umount /mnt/m
    """)


def test_lines_of_other_filesystems(users: Machine) -> None:
    """Words that lines of other FUSE filesystems have are dropped, and told in one line; the mount works."""
    users(r"""
    echo contents > $phone/f
    echo "virtual:$phone /mnt/m mtpfs big_writes,max_read=4096,attr_timeout=1,noauto 0 0" > /etc/fstab
    mount /mnt/m 2> /tmp/said
    is "$(cat /tmp/said)" "mtpfs: options for other filesystems, without effect here: big_writes, max_read=4096, attr_timeout=1"
    is "$(cat "/mnt/m/$storage/f")" contents
    umount /mnt/m
    """)


def test_redaction(users: Machine) -> None:
    """The helper takes `--redact` like all commands."""
    users(r"""
    refused 32 "'name-" /sbin/mount.mtpfs virtual:$phone /mnt/m -o storage=none --redact
    ! grep "$storage" /tmp/said
    """)


def test_exit_statuses(users: Machine) -> None:
    """The helper's statuses are those of mount(8), and mount(8) hands them on."""
    users(r"""
    refused 1 "unknown option: nonsense" mount -t mtpfs virtual:$phone /mnt/m -o nonsense
    refused 1 "no such source" mount -t mtpfs nonsense:1 /mnt/m
    refused 1 "usage\|--help" /sbin/mount.mtpfs
    refused 32 "no directory" mount -t mtpfs virtual:/none /mnt/m
    refused 32 "no MTP device\|no device fits\|can't list" mount -t mtpfs serial:none /mnt/m
    refused 32 "no such directory" /sbin/mount.mtpfs virtual:$phone /mnt/none
    unshare -m sh -c "mount -t tmpfs none /dev; exec /sbin/mount.mtpfs virtual:$phone /mnt/m" || status=$?
    is "$status" 2
    env -i PATH=/none $(command -v setpriv) --reuid=1000 --clear-groups /sbin/mount.mtpfs virtual:$phone /home/me/phone || status=$?
    is "$status" 2
    gone /mnt/m
    """)


def _example_lines() -> list[str]:
    lines = (TOP / "fstab.example").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize(
    "number", range(len(_example_lines())), ids=lambda n: re.split(r"\s+", _example_lines()[n])[1]
)
def test_example_line(users: Machine, number: int) -> None:
    """Every line of fstab.example works as it stands, but for the phone that it means."""
    line = _example_lines()[number]
    source, target, _, options, _, _ = line.split()
    mounter = "as me" if "user" in options.split(",") else ""
    users(rf"""
    line='{line}'
    echo "virtual:$phone${{line#{source}}}" > /etc/fstab
    mkdir -p {target}
    {mounter} mount {target}
    as me sh -c "echo mine > '{target}/$storage/f'; cat '{target}/$storage/f'"
    is "$(cat $phone/f)" mine
    is "$(as me stat -c %u "{target}/$storage/f")" 1000
    {mounter} umount {target}
    gone {target}
    """)


def test_systemd_understands_the_example(users: Machine) -> None:
    """systemd makes a unit of every line, an automount where it is asked for, and finds no fault in them."""
    generator = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")
    if not generator.exists():
        pytest.skip("no systemd")
    names = users(rf"""
    mkdir /gen
    SYSTEMD_FSTAB={TOP}/fstab.example {generator} /gen /gen /gen
    for unit in /gen/*.mount; do grep -q "^Type=mtpfs" "$unit"; done
    if command -v systemd-analyze >/dev/null; then
        systemd-analyze verify /gen/*.mount /gen/*.automount 2>/tmp/verified || true
        cat /tmp/verified
        ! grep -E "^/gen/|mnt-.*(Unknown|Failed|invalid|Invalid)" /tmp/verified || exit 1
    fi
    ls /gen
    """).split()
    assert sum(name.endswith(".mount") for name in names) == len(_example_lines())
    assert "mnt-auto.automount" in names
