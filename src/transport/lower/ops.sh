# The ops. Each may be done twice with the effect of once, says what went wrong on its output, and returns a status.

# Performs one op, with its output out of the way of the connection: a client that is gone must not end it half-way.
step() { # NUMBER WHAT FUNCTION
    (trap - PIPE && "$3" || { _status=$? && say_if_full && exit "$_status"; }) >"$state/output" 2>&1 </dev/null
    _status=$? _said=done
    [ "$_status" -eq 0 ] || _said="failed ($_status)"
    note "$2" "$_said"
    _said=
    [ ! -s "$state/output" ] || _said=$(tail -c 8192 -- "$state/output" | base64 -w0)
    printf 'step %s %s %s\n' "$1" "$_status" "$_said"
    [ "$_status" -eq 0 ] || { end_steps && exit 96; }
}

# After the last step: nothing of them is left, and the lease lasts on.
end_steps() {
    rm -f -- "$state/output" "$state/temp"
    extend
}

# After an op that failed: says so if there is no room where it wrote.
say_if_full() {
    [ -z "$_temp" ] || ! is_full "${_temp%/*}/" || echo "no space left on device: ${_temp%/*}"
}

# Writes a file; its content comes in Base64 on standard input. An owner of `=` keeps what the file there has.
write_file() { # ID PATH OWNER GROUP MODE VALIDATE
    [ ! -d "$2" ] || [ -L "$2" ] || { echo "$2 is a directory" >&2 && return 1; }
    keep "$1" "$2" && temp_for "$1" "$2" && fill_temp "$2" "$3" "$4" "$5" && validate "$6" && note_left "$1" "$_temp" &&
        put "$_temp" "$2" ||
        { _status=$? && rm -f -- "$_temp" && return "$_status"; }
}

fill_temp() { # PATH OWNER GROUP MODE
    (set -C && base64 -d >"$_temp") || return
    case $2 in
    =) chown --reference="$1" -- "$_temp" && chmod --reference="$1" -- "$_temp" ;;
    *) chown -- "$2:$3" "$_temp" && chmod -- "$4" "$_temp" ;;
    esac
}

# Runs a check on the new file. The command finds the file's name in a variable, which `{}` became.
validate() { # COMMAND
    [ -n "$1" ] || return 0
    muster_new=$_temp sh -c "$1" 8>&- </dev/null
}

# Status 98 if a file is no longer what was read.
is_still() { # PATH DIGEST
    if [ "$2" = absent ]; then
        [ ! -e "$1" ] && [ ! -L "$1" ] || return 98
    else
        [ ! -L "$1" ] && _sum=$(sha256sum <"$1") && [ "${_sum%% *}" = "$2" ] || return 98
    fi
}

set_attributes() { # ID PATH OWNER GROUP MODE
    [ ! -L "$2" ] || { echo "$2 is a link" >&2 && return 1; }
    keep "$1" "$2" && chown -- "$3:$4" "$2" && chmod -- "$5" "$2" && note_left "$1" "$2"
}

make_directory() { # ID PATH OWNER GROUP MODE
    _folder=${2%/*}
    [ ! -L "$2" ] || { echo "$2 is a link" >&2 && return 1; }
    keep "$1" "$2" || return
    [ -d "$2" ] || mkdir -m 0700 -- "$2" || return
    chown -- "$3:$4" "$2" && chmod -- "$5" "$2" && note_left "$1" "$2" && sync -- "${_folder:-/}"
}

make_link() { # ID PATH TO
    _folder=${2%/*}
    keep "$1" "$2" && temp_for "$1" "$2" && ln -s -- "$3" "$_temp" && note_left "$1" "$_temp" && mv -fT -- "$_temp" "$2" &&
        sync -- "${_folder:-/}" || { rm -f -- "$_temp" && return 1; }
}

remove_file() { # ID PATH
    _folder=${2%/*}
    [ -e "$2" ] || [ -L "$2" ] || return 0
    [ ! -d "$2" ] || [ -L "$2" ] || { echo "$2 is a directory" >&2 && return 1; }
    keep "$1" "$2" && rm -f -- "$2" && note_left "$1" "$2" && sync -- "${_folder:-/}"
}

remove_directory() { # ID PATH
    _folder=${2%/*}
    [ -e "$2" ] || [ -L "$2" ] || return 0
    keep "$1" "$2" && rmdir -- "$2" && note_left "$1" "$2" && sync -- "${_folder:-/}"
}

# Sets _line to the line of a name in /etc/passwd or /etc/group. Status 1 if there is none.
find_line() { # FILE NAME
    while IFS= read -r _line; do
        case $_line in "$2":*) return 0 ;; esac
    done <"$1"
    return 1
}

ensure_group() { # NAME GID SYSTEM
    if find_line /etc/group "$1"; then
        [ -z "$2" ] || groupmod -g "$2" -- "$1"
    else
        groupadd ${2:+-g "$2"} ${3:+-r} -- "$1"
    fi
}

remove_group() { # NAME
    ! find_line /etc/group "$1" || groupdel -- "$1"
}

# Makes or changes an account. HOME-TO-MAKE is `make` or empty; the further arguments are those of useradd and usermod.
ensure_account() { # NAME SYSTEM HOME-TO-MAKE HAS-GROUP OPTION…
    _name=$1 _system=$2 _make=$3 _has_group=$4
    shift 4
    if find_line /etc/passwd "$_name"; then
        [ $# -eq 0 ] || usermod "$@" -- "$_name" || return
    else
        # useradd refuses to make a group of the account's name where there is one.
        [ -n "$_has_group" ] || ! find_line /etc/group "$_name" || set -- "$@" -g "$_name"
        [ -n "$_make" ] || set -- "$@" -M
        useradd ${_system:+-r} ${_make:+-m} "$@" -- "$_name" || return
    fi
    [ -z "$_make" ] || make_home "$_name"
}

# Makes a home that an interrupted useradd did not come to.
make_home() { # NAME
    find_line /etc/passwd "$1" || return
    _rest=${_line#*:*:}
    _uid=${_rest%%:*} _rest=${_rest#*:}
    _gid=${_rest%%:*} _rest=${_rest#*:*:}
    _home=${_rest%%:*}
    [ ! -d "$_home" ] || return 0
    mkdir -m 0700 -- "$_home" && { [ ! -d /etc/skel ] || cp -R -- /etc/skel/. "$_home"; } &&
        chown -R -- "$_uid:$_gid" "$_home"
}

remove_account() { # NAME HOME
    ! find_line /etc/passwd "$1" || userdel ${2:+-r} -- "$1"
}

# Runs apt-get and keeps what it says. The lock file is held here, and not by what a package starts and leaves behind.
apt() { # ARGUMENT…
    (
        DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout="$lock_wait" \
            -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
            "$@" >"$state/apt" 2>&1 8>&-
        exit $?
    )
    _status=$?
    cat -- "$state/apt"
    _said=$(cat -- "$state/apt")
    rm -f -- "$state/apt"
    return "$_status"
}

# Reads the lists of packages again. apt itself does not wait for the lists' lock.
update_lists() {
    _left=$lock_wait
    until apt update; do
        case $_said in *"Could not get lock"*) ;; *) return 1 ;; esac
        [ "$_left" -gt 0 ] || return 1
        echo "waiting for the lock of the package lists"
        _left=$((_left - 2))
        sleep 2
    done
}

# Installs and removes in one call; mends what an interrupted call left, and reads the lists when a package is not known.
apt_install() { # ARGUMENT…
    set -- --no-remove "$@"
    case " $* " in *"- "*) shift ;; esac
    apt install "$@" && return
    case $_said in
    *"dpkg was interrupted"*)
        (DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a 8>&- && exit 0) || return
        ;;
    *"Unable to locate package"* | *"has no installation candidate"* | *" was not found"* | *"Failed to fetch"* | *"Unable to fetch"*)
        update_lists || return
        ;;
    *) return "$_status" ;;
    esac
    apt install "$@"
}

# Sets _there to those packages that are installed or half-installed.
find_there() { # NAME…
    _there=
    for _name; do
        case $(dpkg-query -W -f='${db:Status-Status} ' -- "$_name" 2>/dev/null) in
        '' | 'not-installed '* | 'config-files '*) ;;
        *) _there="$_there $_name" ;;
        esac
    done
}

# Sets _broken to those packages whose unpacking was cut off. apt takes them for installed and passes over them.
find_broken() { # NAME[=VERSION]…
    _broken=
    for _name; do
        case $(dpkg-query -W -f='${db:Status-Eflag}' -- "${_name%%=*}" 2>/dev/null) in
        reinstreq) _broken="$_broken $_name" ;;
        esac
    done
}

# INSTALL: `name` or `name=version`; the others: names. Names hold no blanks.
packages() { # INSTALL REMOVE HOLD UNHOLD
    [ -z "$4" ] || apt-mark unhold $4 || return
    find_there $2
    _arguments=$1
    for _name in $_there; do _arguments="$_arguments $_name-"; done
    if [ -n "$_arguments" ]; then
        _held=
        _names=
        for _name in $1 $_there; do _names="$_names ${_name%%=*}"; done
        [ -z "$_names" ] || _held=$(apt-mark showhold $_names) || return
        [ -z "$_held" ] || apt-mark unhold $_held || return
        case $1 in *=*) set -- --allow-downgrades "$@" ;; *) set -- '' "$@" ;; esac
        apt_install $1 $_arguments
        _result=$?
        shift
        find_broken $1
        [ "$_result" -ne 0 ] || [ -z "$_broken" ] || { apt_install --reinstall $_broken || _result=$?; }
        # A hold that only made way for this call is put back, whatever came of the call; that of what is gone went with it.
        _gone=
        [ "$_result" -ne 0 ] || _gone=$2
        for _name in $_held; do
            case " $4 $_gone " in *" $_name "*) ;; *) apt-mark hold "$_name" ;; esac
        done
        [ "$_result" -eq 0 ] || return "$_result"
    fi
    [ -z "$3" ] || apt-mark hold $3
}

enable_unit() { # VERB UNIT
    systemctl -q "$1" -- "$2" && return
    _status=$?
    # What is not there is not enabled.
    [ "$1" = disable ] && [ "$(systemctl show -p LoadState --value -- "$2")" = not-found ] || return "$_status"
}

control_unit() { # VERB UNIT
    systemctl "$1" -- "$2" 8>&- && return
    _status=$?
    [ "$1" = stop ] && [ "$(systemctl show -p LoadState --value -- "$2")" = not-found ] && return 0
    systemctl status --no-pager --full -n 12 -- "$2"
    return "$_status"
}

set_sysctl() { # ID FILE PATH KEY VALUE
    printf '%s\n' "$5" >"$3" || return
    keep "$1" "$2" && temp_for "$1" "$2" || return
    { (set -C && sysctl_file "$2" "$4" "$5" >"$_temp") && chmod 0644 -- "$_temp" && note_left "$1" "$_temp" &&
        put "$_temp" "$2"; } ||
        { rm -f -- "$_temp" && return 1; }
}

# Prints what a file of kernel parameters becomes: its other lines as they are, then this key.
sysctl_file() { # FILE KEY VALUE
    if [ -e "$1" ]; then
        while IFS= read -r _line || [ -n "$_line" ]; do
            _key=${_line%%=*}
            _key=${_key#"${_key%%[! $tab]*}"}
            _key=${_key%"${_key##*[! $tab]}"}
            [ "$_key" = "$2" ] || printf '%s\n' "$_line" || return
        done <"$1"
    fi
    printf '%s = %s\n' "$2" "$3"
}

# Runs a script of a module, which comes in Base64 on standard input, so that neither it nor its environment stand in an
# argument list. The lock file is held by `timeout`, and not by what the script leaves running.
run_script() { # USER SECONDS
    _user=$1 _secs=$2
    exec 9<&0 </dev/null
    set -- sh -c '_script=$(base64 -d <&9) && exec 8>&- 9<&- && eval "$_script"' muster
    [ -z "$_user" ] || set -- runuser -u "$_user" -- "$@"
    env -i PATH="$PATH" LC_ALL=C timeout -k 10 "$_secs" "$@"
}
