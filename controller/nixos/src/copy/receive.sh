# Takes from standard input what this machine lacks of a closure, as portions of a binary cache, and
# has Nix import them, which verifies their signatures as for anybody who is not trusted.
#   $1 "seen": what is seen in the store is taken for valid, as it nearly always is
#      "valid": Nix is asked
#   $2 the closure
#   $3 the length of the list of its paths' names, which comes first
# Then come the portions: a line with the length, and that much of a tar. A line "0" is the end. What is
# to be done then waits for a line "go": nobody wants it any more whose connection was lost.
mode=$1
closure=$2
list=$3
shift 3
dir=
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
# A connection that is lost shows itself by the end of the input, and what is here is removed then.
trap '' PIPE

names=$(head -c "$list")
if [ "$mode" = valid ]; then
    # shellcheck disable=SC2086
    printf '/nix/store/%s\n' $names | xargs nix-store --check-validity --print-invalid |
        while read -r path; do echo "=cim= lacks ${path#/nix/store/}"; done
else
    for name in $names; do
        [ -e "/nix/store/$name" ] && [ "/nix/store/$name" != "$closure" ] || echo "=cim= lacks $name"
    done
fi
# On a disk, unlike /tmp in some places. What a crash left there goes with the next copy.
for left in /var/tmp/cim-copy.*; do
    [ ! -d "$left" ] || find "$left" -prune -mmin +1440 -exec rm -rf {} + 2>/dev/null
done
dir=$(mktemp -d /var/tmp/cim-copy.XXXXXXXX) || exit
echo 'StoreDir: /nix/store' >"$dir/nix-cache-info" || exit
# Nix makes its store when it is first used.
store=/nix/store
[ -d "$store" ] || store=/
stat -f -c '=cim= room %a %S' "$store" "$dir" || exit
echo '=cim= asked'

while read -r length && [ "$length" -gt 0 ]; do
    [ ! -e "$dir/nar" ] || rm -rf "$dir/nar" "$dir"/*.narinfo
    head -c "$length" | tar -x -f - -C "$dir" || exit
    # By name: of all that is in a cache, Nix does not know what must come first.
    for narinfo in "$dir"/*.narinfo; do
        read -r _ path <"$narinfo" && echo "$path"
    done >"$dir/paths"
    nix --extra-experimental-features nix-command copy --quiet --no-recursive --stdin \
        --from "file://$dir" <"$dir/paths" || exit
done
[ "$length" = 0 ] || exit
trap - EXIT HUP INT TERM PIPE
rm -rf "$dir"
echo '=cim= copied'
