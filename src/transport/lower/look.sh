# Looking: every answer is one line, a name and its parts in Base64, so that no content can be taken for a frame.
# Nothing is interpreted here; `answer.rs` does that. Nothing is written, not even a temporary file.

# Runs a command and prints `NAME OUTPUT ERRORS`; the exit status stands on a line of its own at the output's end.
say() { # NAME COMMAND…
    printf '%s ' "$1"
    shift
    {
        _errors=$({ { "$@"; printf '\n%d' "$?"; } | base64 -w0 >&7; } 2>&1)
    } 7>&1
    printf ' %s\n' "$(printf %s "$_errors" | base64 -w0)"
}

# Prints the manifest, or says why it cannot be read.
say_manifest() {
    if [ -d "$state" ] && [ ! -x "$state" ]; then
        echo "manifest-unreadable"
    elif [ -e "$state/manifest" ] || [ -L "$state/manifest" ]; then
        say manifest cat -- "$state/manifest"
    elif [ -e "$state/manifest.previous" ]; then
        echo "manifest-lost"
    else
        echo "manifest-absent"
    fi
}

say_salt() {
    salt=
    [ ! -s "$state/salt" ] || read -r salt <"$state/salt" || salt=
    [ -z "$salt" ] || printf 'salt %s\n' "$salt"
}

# Prints what identifies the machine, what muster knows of it, and the salt.
say_host() { # TOOL…
    say machine cat /etc/machine-id
    say systemd test -d /run/systemd/system
    say missing missing_tools "$@"
    say_manifest
    say_salt
}

missing_tools() { # NAME…
    for _tool; do
        command -v "$_tool" >/dev/null 2>&1 || printf '%s\n' "$_tool"
    done
}

stats() { # PATH…
    [ $# -eq 0 ] || stat --printf '%n\0%f\0%u\0%U\0%g\0%G\0%s\0%Z\0' -- "$@"
}

links() { # PATH…
    for _path; do
        shift
        [ ! -L "$_path" ] || set -- "$@" "$_path"
    done
    [ $# -eq 0 ] || { printf '%s\0' "$#" "$@" && readlink -z -- "$@"; }
}

# Prints each directory with `yes` if it is empty. By patterns, which start no program.
empties() { # PATH…
    for _path; do
        [ -d "$_path" ] && [ ! -L "$_path" ] || continue
        set -- "$_path"/* "$_path"/.[!.]* "$_path"/..?*
        _empty=yes
        for _inside; do
            if [ -e "$_inside" ] || [ -L "$_inside" ]; then
                _empty=no
                break
            fi
        done
        printf '%s\0%s\0' "$_path" "$_empty"
    done
}

sums() { # PATH…
    for _path; do
        shift
        [ ! -f "$_path" ] || [ -L "$_path" ] || set -- "$@" "$_path"
    done
    [ $# -eq 0 ] || sha256sum -z -- "$@"
}

# Prints salted prints. The salt is written by the shell itself: it must not stand in an argument list.
prints() { # PATH…
    for _path; do
        [ -f "$_path" ] && [ ! -L "$_path" ] || continue
        printf '%s\0' "$_path"
        { { printf %s "$salt" && cat -- "$_path" && printf %s "$salt" || printf 'unreadable ' >&6; } | sha256sum; } 6>&1
        printf '\0'
    done
}

# Prints how many files there are that are not longer than MAX, their sizes, their names, and then all their bytes.
# The digests that `sums` gave tell whether a file changed meanwhile, so that the sizes no longer fit.
contents() { # MAX PATH…
    _max=$1
    shift
    for _path; do
        shift
        # Under /proc and /sys a size says nothing of the content.
        case $_path in /proc/* | /sys/*) continue ;; esac
        [ ! -f "$_path" ] || [ -L "$_path" ] || set -- "$@" "$_path"
    done
    [ $# -gt 0 ] || return 0
    _sizes=$(stat -c %s -- "$@") || return
    _kept=
    for _size in $_sizes; do
        _path=$1
        shift
        [ "$_size" -gt "$_max" ] || { set -- "$@" "$_path" && _kept="$_kept $_size"; }
    done
    [ $# -gt 0 ] || return 0
    printf '%s\0' "$#" $_kept "$@" && cat -- "$@"
}

# Prints the value of each kernel parameter, by its path under /proc/sys: `path`, `ok` or `bad` or `absent`, value.
sysctls() { # PATH…
    for _path; do
        _value= _state=ok
        if [ ! -e "$_path" ]; then
            _state=absent
        else
            # Not `read`: it takes one byte at a time, and the kernel gives a number's first digit and then the end.
            _value=$(cat -- "$_path" 2>/dev/null) || _state=bad
        fi
        printf '%s\0%s\0%s\0' "$_path" "$_state" "$_value"
    done
}

package_states() { # NAME…
    command -v dpkg-query >/dev/null || { echo "dpkg-query is not there" >&2 && return 127; }
    dpkg-query -W -f='${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Status}\t${Version}\n' -- "$@"
}

# systemctl stops at the first name that it cannot look up; then each is asked alone, so that only that one is spoilt.
unit_states() { # PROPERTIES UNIT…
    command -v systemctl >/dev/null || { echo "systemctl is not there" >&2 && return 127; }
    [ -d /run/systemd/system ] || { echo "systemd does not run here" >&2 && return 1; }
    _properties=$1
    shift
    # In UTC, so that timestamps can be read: releases before 251 know no other form.
    _states=$(TZ=UTC systemctl show --no-pager -p "$_properties" -- "$@" 2>/dev/null) &&
        printf '%s\n' "$_states" && return
    for _unit; do
        TZ=UTC systemctl show --no-pager -p "$_properties" -- "$_unit" || echo 'Failed=yes'
        echo
    done
}

# Facts that rarely change.
say_facts() {
    say os cat /etc/os-release
    say kernel uname -nrm
    say arch dpkg --print-architecture
    say cpus nproc
    say memory cat /proc/meminfo
    say disks df -l -B1 --output=size,fstype,target
    say addresses ip -o addr show scope global
    [ -z "$(command -v nvidia-smi)" ] ||
        say gpus timeout 20 nvidia-smi --query-gpu=index,memory.total,name --format=csv,noheader,nounits
}
