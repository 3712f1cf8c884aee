#!/bin/sh
# systemctl and systemd-run where there is no systemd: as much of them as cim-activate and observing
# need for a delivery that goes well. A unit is a directory of its properties. A service runs at once
# and in the background; a timer is remembered and never fires; units of the machine's own are not
# run at all.
set -eu
units=/run/units

property() {
    if [ -r "$units/$2/$1" ] && read -r value <"$units/$2/$1"; then
        return
    fi
    case $1 in
    LoadState) [ -d "$units/$2" ] && value=loaded || value=not-found ;;
    ActiveState) value=inactive ;;
    Id | Description) value=$2 ;;
    Result) value=success ;;
    *) value=0 ;;
    esac
}

control() {
    verb=
    names=
    properties=
    bare=no
    while [ $# -gt 0 ]; do
        case $1 in
        --property) properties=$2 && shift ;;
        --value) bare=yes ;;
        --*) ;;
        *) if [ -z "$verb" ]; then verb=$1; else names="$names${names:+ }$1"; fi ;;
        esac
        shift
    done
    case $verb in
    show)
        # The manager's own.
        [ -n "$names" ] || names=-
        IFS=', '
        between=
        for name in $names; do
            printf %s "$between"
            for property in $properties; do
                # Absent while no job waits, and none does here.
                [ "$property" != Job ] || continue
                property "$property" "$name"
                if [ "$bare" = yes ]; then echo "$value"; else echo "$property=$value"; fi
            done
            between='
'
        done
        ;;
    stop | reset-failed)
        for name in $names; do
            [ ! -d "$units/$name" ] || rm -rf "${units:?}/$name"
        done
        ;;
    daemon-reload | start | restart | unmask) ;;
    *)
        echo "systemctl: this stand-in has no $verb" >&2
        exit 1
        ;;
    esac
}

start() {
    unit=
    description=
    kind=service
    while [ $# -gt 0 ]; do
        case $1 in
        --unit=*) unit=${1#*=} ;;
        --description=*) description=${1#*=} ;;
        --on-active=*) kind=timer ;;
        --) shift && break ;;
        esac
        shift
    done
    dir=$units/${unit%.service}.$kind
    mkdir -p "$dir"
    echo "${description:-$unit}" >"$dir/Description"
    if [ "$kind" = timer ]; then
        echo active >"$dir/ActiveState"
        return
    fi
    echo activating >"$dir/ActiveState"
    # Without what the caller has open, such as its lock.
    setsid sh -c '
        dir=$0
        status=0
        sh -c "echo \$\$ >\"\$0/MainPID\" && exec \"\$@\"" "$dir" "$@" || status=$?
        echo 1 >"$dir/ExecMainCode"
        echo "$status" >"$dir/ExecMainStatus"
        case $status in
        0 | 100) echo active >"$dir/state" ;;
        *) echo exit-code >"$dir/Result" && echo failed >"$dir/state" ;;
        esac
        mv "$dir/state" "$dir/ActiveState"
    ' "$dir" "$@" </dev/null >>/run/journal 2>&1 9>&- &
}

case $0 in
*systemd-run) start "$@" ;;
*) control "$@" ;;
esac
