# The hand-tuned loop: everything that Nix can do at once at once, connections that are kept, ten
# machines at a time.
#   by_hand.sh roll-out DIR URL WIDTH HOW MACHINE…   builds, signs and activates; prints the closures
#   by_hand.sh true DIR WIDTH MACHINE…               one round trip to each
# HOW is "at-once", or "with-care": with what keeps a machine from being lost, so with a way back that
# is armed, a login over a new connection, and a confirmation.
set -eu
verb=$1
dir=$2
shift 2
export NIX_USER_CONF_FILES="$dir/nix.conf" NIX_SSHOPTS="-F$dir/ssh_config"
case $verb in
roll-out)
    url=$1
    width=$2
    how=$3
    shift 3
    for machine in "$@"; do
        set -- "$@" "$url#nixosConfigurations.$machine.config.system.build.toplevel"
        shift
    done
    nix build --no-link --print-out-paths "$@" >"$dir/closures"
    xargs nix store sign --recursive --key-file "$dir/key" <"$dir/closures"
    xargs -P "$width" -n 1 sh "$0" "$how" "$dir" <"$dir/closures" >&2
    cat "$dir/closures"
    ;;
at-once)
    machine=${1##*-}
    nix copy --to "ssh-ng://$machine" "$1"
    ssh -F "$dir/ssh_config" "$machine" "sudo nix-env --profile /nix/var/nix/profiles/system --set $1 &&
        sudo $1/bin/switch-to-configuration switch"
    ;;
with-care)
    machine=${1##*-}
    nix copy --to "ssh-ng://$machine" "$1"
    ssh -F "$dir/ssh_config" "$machine" "sudo -n cim-activate try $1 120 600"
    ssh -F "$dir/ssh_config" -oControlMaster=no -oControlPath=none "$machine" true
    ssh -F "$dir/ssh_config" "$machine" "sudo -n cim-activate confirm $1"
    [ "$(ssh -F "$dir/ssh_config" "$machine" 'readlink -e /nix/var/nix/profiles/system')" = "$1" ]
    ;;
true)
    width=$1
    shift
    printf '%s\n' "$@" | xargs -P "$width" -I{} ssh -F "$dir/ssh_config" {} true
    ;;
esac
