# Tells everything about this machine that a plan needs, in one round trip. $1 is the wanted closure
# or empty. Each line begins with a sentinel: a login script may write what it likes before us.
tell() { printf '=cim= %s %s\n' "$1" "$2"; }
link() { readlink -e "$1" 2>/dev/null || readlink "$1" 2>/dev/null; }
same() {
    [ -e /run/booted-system ] && [ -e /run/current-system ] || return 0
    for part in kernel initrd kernel-modules; do
        [ "$(link /run/booted-system/$part)" = "$(link /run/current-system/$part)" ] || {
            echo no
            return 0
        }
    done
    echo yes
}
profile=$(link /nix/var/nix/profiles/system)
current=$(link /run/current-system)
tell current "$current"
tell booted "$(link /run/booted-system)"
tell profile "$profile"
tell generation "$(readlink /nix/var/nix/profiles/system)"
tell boot-id "$(cat /proc/sys/kernel/random/boot_id)"
tell same-kernel "$(same)"
if [ -n "$1" ]; then
    nix --extra-experimental-features nix-command store verify \
        --no-contents --sigs-needed 1 -- "$1" >/dev/null 2>&1
    tell verify $?
fi
systemctl show cim-switch.service 2>/dev/null \
    --property LoadState,ActiveState,Job,ExecMainCode,ExecMainStatus,Result,Description |
    sed 's/^\([A-Za-z]*\)=/=cim= unit-\1 /'
tell failed-units "$(systemctl list-units --state=failed --plain --no-legend 2>/dev/null | grep -c .)"
tell nix-free "$(df --output=avail -B1 /nix/store 2>/dev/null | tail -n 1)"
lock=/run/nixos/switch-to-configuration.lock
if [ -e "$lock" ]; then
    tell lock "$(stat -c %D:%i "$lock")"
    while read -r _ kind _ mode _ file _; do
        tell held "$kind $mode $file"
    done </proc/locks
fi
tell end ok
