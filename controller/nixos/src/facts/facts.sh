# Tells what this machine is, in one round trip. Any POSIX shell on any Linux will do (busybox too):
# what a tool or a file does not tell is left out. Writes nothing. Used as a line: name, value.
tell() { [ -z "$2" ] || printf '=cim= %s %s\n' "$1" "$2"; }
first() { [ ! -r "$1" ] || { read -r line <"$1" || :; tell "$2" "$line"; line=; } 2>/dev/null; }
has() { command -v "$1" >/dev/null 2>&1; }

tell os "$(uname -s)"
tell arch "$(uname -m)"
tell kernel "$(uname -r)"
tell uid "$(id -u)"
first /proc/sys/kernel/random/boot_id boot-id
tell cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo)"
while read -r name kib _; do
    [ "$name" = MemTotal: ] && tell memory-kib "$kib" && break
done </proc/meminfo

dmi=/sys/class/dmi/id
first $dmi/sys_vendor vendor
first $dmi/product_name model
first $dmi/product_serial serial
# Boards without DMI have a device tree; its strings end with NUL.
for name in model serial-number; do
    file=/proc/device-tree/$name
    [ -r "$file" ] && tell "tree-$name" "$(tr -d '\000' <"$file")"
done
if has systemd-detect-virt; then
    tell virtualization "$(systemd-detect-virt 2>/dev/null || :)"
elif [ -r /sys/hypervisor/type ]; then
    first /sys/hypervisor/type virtualization
elif grep -q '^flags.* hypervisor' /proc/cpuinfo; then
    tell virtualization vm-other
fi
has nix && tell nix "$(nix --version 2>/dev/null)"

if [ -r /etc/os-release ]; then
    ID='' VARIANT_ID=''
    . /etc/os-release
    tell os-id "$ID"
    tell os-variant "$VARIANT_ID"
fi

for dir in /sys/block/*; do
    name=${dir##*/}
    case $name in
    '*' | loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtdblock*) continue ;;
    esac
    size=0
    [ -r "$dir/size" ] && read -r size <"$dir/size"
    # An empty card reader, and a drive without a medium.
    [ "$size" -gt 0 ] || continue
    tell disk "$name"
    tell disk-sectors "$size"
    first "$dir/device/model" disk-model
    if [ -r "$dir/device/serial" ]; then
        first "$dir/device/serial" disk-serial
    elif [ -r "$dir/serial" ]; then
        first "$dir/serial" disk-serial
    elif [ -r "/run/udev/data/b$(cat "$dir/dev" 2>/dev/null)" ]; then
        # A SATA disk tells it to udev alone.
        tell disk-serial "$(sed -n 's/^E:ID_SERIAL_SHORT=//p' "/run/udev/data/b$(cat "$dir/dev")")"
    fi
    for link in /dev/disk/by-id/*; do
        [ "$(readlink -f "$link" 2>/dev/null)" = "/dev/$name" ] && tell disk-id "${link##*/}"
    done
done

for dir in /sys/class/net/*; do
    name=${dir##*/}
    case $name in '*' | lo) continue ;; esac
    # A file here belongs to the bonding module.
    [ -d "$dir" ] || continue
    tell interface "$name"
    first "$dir/address" mac
    has ip && ip -o addr show dev "$name" 2>/dev/null | while read -r _ _ family address _; do
        case $family in inet | inet6) tell address "$address" ;; esac
    done
done

# A report of nixos-facter knows more; it reads the hardware and wants root for that.
if has nixos-facter && [ "$(id -u)" = 0 ]; then
    if has timeout; then report=$(timeout 20 nixos-facter 2>/dev/null); else report=$(nixos-facter 2>/dev/null); fi
    [ -n "$report" ] && printf '=cim= begin facter\n%s\n=cim= end facter\n' "$report"
fi
