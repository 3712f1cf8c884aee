# How the job of phase $1 stands.
dir=/run/cim-install
tell() { [ -z "$2" ] || printf '=cim= %s %s\n' "$1" "$2"; }
read -r boot_id </proc/sys/kernel/random/boot_id
tell boot-id "$boot_id"
VARIANT_ID=''
[ -r /etc/os-release ] && . /etc/os-release
tell os-variant "$VARIANT_ID"
# The lock before the record: it ends with the record in place.
[ -e "$dir/lock" ] && ! flock -n "$dir/lock" true && tell running yes
[ -r "$dir/$1" ] && tell record "$(cat "$dir/$1")"
[ -r "$dir/$1.log" ] && tell latest "$(tail -n 1 "$dir/$1.log" | tr -d '\000-\037')"
tell done ok
