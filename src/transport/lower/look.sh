# Looking: what a command prints goes out as it is, between lines that begin with a mark which nothing that is looked at can
# know. A program costs more than all else here, so that none is started for what the shell itself can tell.
# Nothing is interpreted here; `answer.rs` does that. Nothing is written, not even a temporary file.

# The kernel's own dice.
read -r mark </proc/sys/kernel/random/uuid || { echo "/proc is not there" >&2 && exit 97; }
printf 'mark %s\n' "$mark"
# How much was said: all of it is numbered, so that a part that gets lost is missed.
said=0
# Names as they are, where stat would quote them.
export QUOTING_STYLE=literal

# Runs a program and prints its output, its status and its errors. It runs in a shell of its own: the last one may be its `exec`.
say() { # NAME COMMAND…
    printf '%s %d %s\n' "$mark" "$said" "$1"
    said=$((said + 1))
    shift
    { _errors=$("$@" 2>&1 >&7 7>&-); } 7>&1
    printf '\n%s %d\n%s\n%s\n' "$mark" "$?" "$_errors" "$mark"
}

# Prints what a function that starts no program prints, and its status.
tell() { # NAME FUNCTION…
    printf '%s %d %s\n' "$mark" "$said" "$1"
    said=$((said + 1))
    shift
    "$@"
    printf '\n%s %d\n\n%s\n' "$mark" "$?" "$mark"
}

# Runs somebody else's command and prints `NAME NUMBER OUTPUT ERRORS` in Base64, the status on a line of its own at the output's
# end: what it leaves running must not write between the marks.
relay() { # NAME COMMAND…
    printf '%s %d ' "$1" "$said"
    said=$((said + 1))
    shift
    {
        _errors=$({ { "$@"; printf '\n%d' "$?"; } | base64 -w0 >&7; } 2>&1)
    } 7>&1
    printf ' %s\n' "$(printf %s "$_errors" | base64 -w0)"
}

# Ends the answer.
finish() {
    printf 'end %d\n' "$said"
}

# Prints a table of accounts or groups with numbered lines and an end of its own: a name that it lacks is absent.
table() { # PATH
    printf '\nend\n' | cat -n -- "$1" -
}

# Prints a short file.
lines_of() { # PATH
    [ -r "$1" ] || return 1
    while IFS= read -r _line || [ -n "$_line" ]; do
        printf '%s\n' "$_line"
    done <"$1"
}

# Prints the first line of a file.
first_line_of() { # PATH
    [ -r "$1" ] && read -r _line <"$1" && printf '%s\n' "$_line"
}

# Prints the manifest, or says why it cannot be read.
say_manifest() {
    if [ -d "$state" ] && [ ! -x "$state" ]; then
        tell manifest-unreadable true
    elif [ -e "$state/manifest" ] || [ -L "$state/manifest" ]; then
        say manifest cat -- "$state/manifest"
    elif [ -e "$state/manifest.previous" ]; then
        tell manifest-lost true
    else
        tell manifest-absent true
    fi
}

say_salt() {
    salt=
    [ ! -s "$state/salt" ] || read -r salt <"$state/salt" || salt=
    tell salt printf 'salt %s' "$salt"
}

# Prints what identifies the machine, what muster knows of it, and the salt.
say_host() { # TOOL…
    tell machine first_line_of /etc/machine-id
    tell systemd test -d /run/systemd/system
    tell missing missing_tools "$@"
    say_manifest
    say_salt
}

missing_tools() { # NAME…
    for _tool; do
        command -v "$_tool" >/dev/null 2>&1 || printf '%s\n' "$_tool"
    done
}

# The last field is `NAME -> TARGET` where it is a link. Answers even where nothing is asked: answers are counted.
say_stats() { # PATH…
    [ $# -gt 0 ] || { tell stat true && return; }
    say stat stat --printf '%n\0%f\0%u\0%U\0%g\0%G\0%s\0%.9Z\0%N\0' -- "$@"
}

# Prints each directory with the number of things in it, up to 1000. By patterns, which start no program.
empties() { # PATH…
    for _path; do
        [ -d "$_path" ] && [ ! -L "$_path" ] || continue
        set -- "$_path"/* "$_path"/.[!.]* "$_path"/..?*
        _count=0
        for _inside; do
            if [ -e "$_inside" ] || [ -L "$_inside" ]; then
                _count=$((_count + 1))
                [ "$_count" -lt 1000 ] || break
            fi
        done
        printf '%s\0%s\0' "$_path" "$_count"
    done
}

say_sums() { # PATH…
    for _path; do
        shift
        [ ! -f "$_path" ] || [ -L "$_path" ] || set -- "$@" "$_path"
    done
    [ $# -eq 0 ] || say sum sha256sum -z -- "$@"
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

# Says the first MAX bytes of each file. `say_stats` says how many of them there are, and the digests that `say_sums` says tell
# whether a file changed meanwhile.
say_contents() { # MAX PATH…
    _max=$1
    shift
    for _path; do
        shift
        # Under /proc and /sys a size says nothing of the content.
        case $_path in /proc/* | /sys/*) continue ;; esac
        [ ! -f "$_path" ] || [ -L "$_path" ] || set -- "$@" "$_path"
    done
    [ $# -eq 0 ] || say text contents "$@"
}

# Prints how many bytes of each file there are at most, how many files, their names, and then all their bytes.
contents() { # PATH…
    printf '%s\0' "$_max" "$#" "$@"
    exec head -q -c "$_max" -- "$@"
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
    exec dpkg-query -W -f='${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Status}\t${Version}\n' -- "$@"
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
    tell os lines_of /etc/os-release
    say kernel uname -nrm
    say arch dpkg --print-architecture
    say cpus nproc
    tell memory first_line_of /proc/meminfo
    say disks df -l -B1 --output=size,fstype,target
    say addresses ip -o addr show scope global
    [ -z "$(command -v nvidia-smi)" ] ||
        say gpus timeout 20 nvidia-smi --query-gpu=index,memory.total,name --format=csv,noheader,nounits
}
