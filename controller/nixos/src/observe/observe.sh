# Tells everything about this machine that a plan needs, in one round trip. $1 is the wanted closure
# or empty. A fact is a line that begins with the sentinel: a login script may write what it likes
# before us. What systemctl answers in lines of its own stands between "begin" and "end". As few
# processes as there can be: on a small machine each costs more than the way there, and what the shell
# can do itself costs nothing.
tell() { printf '=cim= %s %s\n' "$1" "$2"; }

# Where a link leads; nothing if there is none. A shell can go to a directory and see where it is.
follow() {
    if cd -P "$2" 2>/dev/null; then
        tell "$1" "$PWD"
    elif [ -L "$2" ]; then
        tell "$1" "$(readlink -m "$2")"
    fi
}
current=/run/current-system
booted=/run/booted-system
profile=/nix/var/nix/profiles/system
follow current "$current"
follow booted "$booted"
follow profile "$profile"
cd /
if [ -e "$current/kernel" ] && [ -e "$booted/kernel" ]; then
    if [ "$current" -ef "$booted" ] || {
        [ "$current/kernel" -ef "$booted/kernel" ] && [ "$current/initrd" -ef "$booted/initrd" ] &&
            [ "$current/kernel-modules" -ef "$booted/kernel-modules" ]
    }; then
        tell kernels same
    else
        tell kernels differ
    fi
fi
# Which link of the profile, and which file is the lock, of those that somebody holds.
lock=/run/nixos/switch-to-configuration.lock
stat -c '=cim= file %D:%i %N' "$profile" "$lock" 2>/dev/null
held=
# Only those in memory file systems, which have no device of their own, can be it.
[ -e "$lock" ] && while read -r _ kind _ mode _ file _; do
    case "$kind $mode $file" in
    'FLOCK WRITE 00:'*) held="$held $file" ;;
    esac
done </proc/locks
tell held "$held"

read -r boot_id </proc/sys/kernel/random/boot_id
tell boot-id "$boot_id"

tell begin units
systemctl show cim-switch.service cim-rollback.service \
    --property Id,LoadState,ActiveState,Job,ExecMainCode,ExecMainStatus,Result,Description
tell end units

# The records of cim-activate, one line each.
read -r uptime _ </proc/uptime
tell uptime "${uptime%.*}"
for record in /run/cim/pending /var/lib/cim/rolled-back /var/lib/cim/staged; do
    [ -r "$record" ] && read -r line <"$record" && tell "${record##*/}" "$line"
done
[ -e /run/cim/tested ] && tell tested yes

# Asking Nix takes longer than all the rest, and there is nothing to deliver to a machine in sync.
if [ -n "$1" ] && ! { [ "$current" -ef "$1" ] && [ "$profile" -ef "$1" ]; }; then
    # What awaits its confirmation was verified before that, and is held since.
    [ -r /run/cim/pending ] && read -r pending _ </run/cim/pending
    if [ "${pending-}" = "$1" ]; then
        tell verify 0
    elif [ ! -e "$1" ]; then
        # As Nix says of a path that is not valid.
        tell verify 4
    else
        nix --extra-experimental-features nix-command store verify \
            --no-contents --sigs-needed 1 --option trusted-public-keys \
            "$(cat /etc/cim/delivery-keys 2>/dev/null)" -- "$1" >/dev/null 2>&1
        tell verify $?
    fi
    # As cim-activate compares them; a system without the file inhibits nothing.
    if [ -d "$1" ] && [ -d "$current" ]; then
        if [ ! -e "$1/switch-inhibitors" ] || [ ! -e "$current/switch-inhibitors" ] ||
            cmp -s "$1/switch-inhibitors" "$current/switch-inhibitors"; then
            tell inhibited no
        else
            tell inhibited yes
        fi
    fi
fi
tell done ok
