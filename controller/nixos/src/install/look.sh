# What an installation has done here, behind the facts and with their functions.
dir=/run/cim-install
for tool in setsid flock timeout tar; do has "$tool" || tell missing "$tool"; done
if [ "$VARIANT_ID" = installer ]; then
    for tool in nix-daemon nixos-install; do has "$tool" || tell missing "$tool"; done
else
    # The script of nixos-images puts keys and addresses into the installer's initrd with these.
    for tool in cpio gzip; do has "$tool" || tell missing "$tool"; done
fi
[ -e /etc/cim/delivery-keys ] && tell delivered yes
[ -e /run/current-system ] && tell current "$(readlink -f /run/current-system)"
if [ -r "$dir/job" ] && ! flock -n "$dir/lock" true 2>/dev/null; then
    first "$dir/job" job
fi
first "$dir/disko" disko
first "$dir/install" install
while read -r _ at _; do
    [ "$at" = /mnt ] && tell mounted yes && break
done </proc/mounts
# The generation's link is absolute within the new system.
profiles=/mnt/nix/var/nix/profiles
link=$(readlink "$profiles/system")
[ -n "$link" ] && tell system "$(readlink "$profiles/${link##*/}")"
tell done ok
