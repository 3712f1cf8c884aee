# Refuses a disk layout that speaks of another disk than those consented to: $1 the script, then the
# disks. A net below the consent, not the consent itself: it reads this one file.
script=$1
shift
words=$(grep -oE '/dev/[A-Za-z0-9._:/-]+' "$script" | sort -u) || exit 0
for word in $words; do
    name=$(readlink -f "$word") && name=${name#/dev/}
    [ -n "$name" ] && [ -e "/sys/class/block/$name" ] || continue
    # A partition lies below its disk.
    if [ -e "/sys/class/block/$name/partition" ]; then
        name=$(readlink -f "/sys/class/block/$name/..")
        name=${name##*/}
    fi
    consented=
    for disk in "$@"; do
        [ "$disk" = "/dev/$name" ] && consented=yes
    done
    [ -n "$consented" ] && continue
    printf '%s names %s, which is on /dev/%s: its destruction was not consented to\n' \
        "$script" "$word" "$name" >&2
    exit 77
done
