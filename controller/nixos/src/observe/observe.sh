# Tells everything about this machine that a plan needs, in one round trip. $1 is the wanted closure
# or empty. A fact is a line that begins with the sentinel: a login script may write what it likes
# before us. What a tool answers in lines of its own stands between "begin" and "end". Few processes,
# since on a small machine each costs more than the way there.
tell() { printf '=cim= %s %s\n' "$1" "$2"; }

# A link that is missing comes back as itself.
tell begin links
readlink -m /run/current-system /run/booted-system /nix/var/nix/profiles/system \
    /run/current-system/kernel /run/current-system/initrd /run/current-system/kernel-modules \
    /run/booted-system/kernel /run/booted-system/initrd /run/booted-system/kernel-modules
tell end links
[ -e /run/current-system/kernel ] && [ -e /run/booted-system/kernel ] && tell kernels both
tell generation "$(readlink /nix/var/nix/profiles/system)"
read -r boot_id </proc/sys/kernel/random/boot_id
tell boot-id "$boot_id"

tell begin unit
systemctl show cim-switch.service \
    --property LoadState,ActiveState,Job,ExecMainCode,ExecMainStatus,Result,Description
systemctl show --property NFailedUnits
tell end unit
tell rollback-unit "$(systemctl show --property ActiveState --value cim-rollback.service)"

# The records of cim-activate, one line each.
read -r uptime _ </proc/uptime
tell uptime "${uptime%.*}"
for record in /run/cim/pending /var/lib/cim/rolled-back /var/lib/cim/staged; do
    [ -r "$record" ] && read -r line <"$record" && tell "${record##*/}" "$line"
done
[ -e /run/cim/tested ] && tell tested yes

# Asking Nix takes longer than all the rest, and there is nothing to deliver to a machine in sync.
if [ -n "$1" ] && ! { [ /run/current-system -ef "$1" ] && [ /nix/var/nix/profiles/system -ef "$1" ]; }; then
    # What awaits its confirmation was verified before that, and is held since.
    [ -r /run/cim/pending ] && read -r pending _ </run/cim/pending
    if [ "${pending-}" = "$1" ]; then
        tell verify 0
    else
        nix --extra-experimental-features nix-command store verify \
            --no-contents --sigs-needed 1 --option trusted-public-keys \
            "$(cat /etc/cim/delivery-keys 2>/dev/null)" -- "$1" >/dev/null 2>&1
        tell verify $?
    fi
    # As cim-activate compares them; a system without the file inhibits nothing.
    if [ -d "$1" ] && [ -d /run/current-system ]; then
        if [ ! -e "$1/switch-inhibitors" ] || [ ! -e /run/current-system/switch-inhibitors ] ||
            cmp -s "$1/switch-inhibitors" /run/current-system/switch-inhibitors; then
            tell inhibited no
        else
            tell inhibited yes
        fi
    fi
fi
tell nix-free "$(stat -f -c '%a %S' /nix/store)"

lock=/run/nixos/switch-to-configuration.lock
if [ -e "$lock" ]; then
    tell lock "$(stat -c %D:%i "$lock")"
    while read -r _ kind _ mode _ file _; do
        tell held "$kind $mode $file"
    done </proc/locks
fi
tell done ok
