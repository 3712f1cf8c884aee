# Starts a job that outlives whoever asked for it: $1 its phase, $2 its subject, $3 its limit in
# seconds, then program and arguments. Its record appears when it ends. One runs at a time; the lock
# is held as long as it does, by a process of its own session.
umask 077
dir=/run/cim-install
mkdir -p "$dir"
exec 9>>"$dir/lock"
# Whoever only looks holds it for a moment.
flock -w 5 9 || { echo "another job of an installation runs: $(cat "$dir/job")" >&2; exit 75; }
rm -f "$dir/$1"
# What was installed is not on the new disks.
[ "$1" != disko ] || rm -f "$dir/install"
printf '%s %s\n' "$1" "$2" >"$dir/job"
setsid /bin/sh -c '
    dir=/run/cim-install phase=$1 subject=$2 limit=$3
    shift 3
    : >"$dir/$phase.log"
    # The new system is not made with the mask of our records.
    (umask 022; exec timeout -k 10 "$limit" "$@" >>"$dir/$phase.log" 2>&1 </dev/null 9>&-)
    echo "$subject $?" >"$dir/$phase.new"
    mv "$dir/$phase.new" "$dir/$phase"
' sh "$@" >/dev/null 2>&1 </dev/null &
