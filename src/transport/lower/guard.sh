# The host's own guard: who may change it, and what is remembered of each change.
# Set before: state (its folder), run, token (of those who hold the lock).

tab=$(printf '\t')

# Ends the script with a status of the guard's own and one line for people.
refuse() { # STATUS WHY…
    _status=$1
    shift
    [ "$_status" != 97 ] || ! is_full "$state" || set -- "$*: no space left on device"
    printf 'refused %s\n' "$*"
    exit "$_status"
}

# Says whether a folder's file system has no room, be it for bytes or for names. Not every program that fails for that says so.
is_full() { # FOLDER
    _room=$(stat -f -c '%f %c %d' -- "$1" 2>/dev/null) || return
    # Some file systems count no names: then both numbers are 0.
    case $_room in '0 '* | *' '[1-9]*' 0') ;; *) return 1 ;; esac
}

# Moves a finished file into its place so that a power cut leaves the old one or the new one.
put() { # NEW PATH
    _folder=${2%/*}
    sync -- "$1" && mv -fT -- "$1" "$2" && sync -- "${_folder:-/}"
}

# Waits for the host's one lock file and keeps it until the script ends. Programs that ops leave behind must not inherit it.
enter() { # SECONDS
    command -v flock >/dev/null || refuse 97 "flock (util-linux) is not there"
    { true >>"$state/lock"; } 2>/dev/null || refuse 97 "$state cannot be written"
    exec 8>>"$state/lock"
    flock -w "$1" 8 || refuse 94 "an operation is still running here"
}

# Sets now (seconds since boot) and boot (what tells this boot from others: PID 1's start). The wall clock is never used.
clock() {
    read -r _up _ </proc/uptime && read -r _stat </proc/1/stat || refuse 97 "/proc is not there"
    now=${_up%%.*}
    # The second field is a name in parentheses and may hold anything; the start is the 20th after it.
    set -- ${_stat##*) }
    boot=${20}
}

# Sets what the fence says: the last token, who has it (`-`: nobody), its lease, and the connection over which it is held.
read_fence() {
    seen=0 holder=- who=- fence_boot=- taken= renewed=0 until=0 lease=60 sshd=-
    [ -e "$state/fence" ] || return 0
    seen=
    while read -r _key _value; do
        case $_key in
        token) seen=$_value ;;
        run) holder=$_value ;;
        who) who=$_value ;;
        boot) fence_boot=$_value ;;
        taken) taken=$_value ;;
        renewed) renewed=$_value ;;
        until) until=$_value ;;
        lease) lease=$_value ;;
        sshd) sshd=$_value ;;
        esac
    done <"$state/fence"
    # Reading a broken fence as "no token yet" would hand out a token twice.
    case $seen$taken$renewed$until$lease in
    '' | *[!0-9]*) refuse 97 "$state/fence cannot be read" ;;
    esac
    [ -n "$seen" ] || refuse 97 "$state/fence cannot be read"
}

is_live() {
    [ "$holder" != - ] && [ "$fence_boot" = "$boot" ] && [ "$now" -lt "$until" ]
}

# The lease begins now. `taken`, `lease` and `sshd` are as they were read, or as the caller set them since.
write_fence() { # TOKEN RUN WHO
    printf 'muster-fence 1\ntoken %s\nrun %s\nwho %s\nboot %s\ntaken %s\nrenewed %s\nuntil %s\nlease %s\nsshd %s\n' \
        "$1" "$2" "$3" "$boot" "${taken:-$now}" "$now" $((now + lease)) "$lease" "$sshd" >"$state/fence.new" &&
        put "$state/fence.new" "$state/fence" || refuse 97 "$state/fence cannot be written"
}

# Lets only the holder of the last token go on, and only while its lease lasts.
check_fence() {
    clock
    read_fence
    [ "$seen" = "$token" ] && [ "$holder" = "$run" ] ||
        refuse 91 "token $token of run $run is not the last one; the last is $seen of run $holder"
    is_live || refuse 91 "the lease of token $token is over"
}

# Starts the lease anew. Called under the lock file, where nobody can have taken it meanwhile, even if it ran out.
extend() {
    clock
    write_fence "$token" "$run" "$who"
}

# Writes one line to the host's log. A full disk must not stop the work that may free it.
note() { # WHAT OUTCOME
    take_time
    printf '%s %s %s %s: %s\n' "$stamp" "$run" "$token" "$1" "$2" >>"$state/log"
} 2>/dev/null

# Sets stamp to the time of day, to a second. It is not asked for again within one second of uptime.
stamped=
take_time() {
    read -r _up _ </proc/uptime
    [ "${_up%%.*}" != "$stamped" ] || return 0
    stamp=$(date -u +%Y-%m-%dT%H:%M:%SZ) stamped=${_up%%.*}
}

make_salt() {
    [ -s "$state/salt" ] && return
    # 32 bytes are 44 characters; a short read would leave fewer.
    head -c 32 /dev/urandom | base64 -w0 >"$state/salt.new" && [ "$(wc -c <"$state/salt.new")" -eq 44 ] &&
        printf '\n' >>"$state/salt.new" && put "$state/salt.new" "$state/salt" || refuse 97 "$state/salt cannot be made"
}

# Reads the manifest's head and proves its checksum. Status 1 if there is no manifest.
read_manifest() {
    [ -e "$state/manifest" ] || [ -L "$state/manifest" ] || return 1
    _last=$(tail -n 1 -- "$state/manifest") || refuse 95 "$state/manifest cannot be read"
    head -n -1 -- "$state/manifest" >"$state/manifest.above" && _sum=$(sha256sum <"$state/manifest.above") ||
        refuse 97 "$state/manifest.above cannot be written"
    [ "$_last" = "sha256 ${_sum%% *}" ] || refuse 95 "$state/manifest is damaged: its checksum is wrong"
    {
        read -r _form
        read -r _key fleet
        read -r _key host
        read -r _key lineage
        read -r _key generation
    } <"$state/manifest.above"
    [ "$_form" = "muster-manifest 1" ] || refuse 95 "$state/manifest is of another form: $_form"
}

# Writes a manifest with the entries of manifest.body. Changes nothing if it fails.
write_manifest() { # FLEET HOST LINEAGE GENERATION RUN
    {
        printf 'muster-manifest 1\nfleet %s\nhost %s\nlineage %s\ngeneration %s\nlast_run %s\n' "$@" &&
            cat -- "$state/manifest.body"
    } >"$state/manifest.new" && _sum=$(sha256sum <"$state/manifest.new") &&
        printf 'sha256 %s\n' "${_sum%% *}" >>"$state/manifest.new" && keep_previous &&
        put "$state/manifest.new" "$state/manifest"
}

keep_previous() {
    [ -e "$state/manifest" ] || return 0
    # A power cut between here and the rename of the new one leaves one file under both names, which mv refuses to rename.
    [ ! "$state/manifest" -ef "$state/manifest.previous" ] || return 0
    [ ! -e "$state/manifest.previous.new" ] || rm -f -- "$state/manifest.previous.new"
    ln -- "$state/manifest" "$state/manifest.previous.new" &&
        mv -fT -- "$state/manifest.previous.new" "$state/manifest.previous"
}

# Makes the first manifest, or proves that the one that is there belongs to this fleet and host. One that knows the host
# under its former fleet and name takes the new ones; its lineage and its entries stay.
claim_manifest() { # FLEET HOST FORMER_FLEET FORMER_HOST
    if read_manifest; then
        if [ "$fleet" != "$1" ] || [ "$host" != "$2" ]; then
            [ "$fleet" = "$3" ] && [ "$host" = "$4" ] || refuse 93 "this machine is $host of fleet $fleet"
            tail -n +7 -- "$state/manifest.above" >"$state/manifest.body" &&
                write_manifest "$1" "$2" "$lineage" $((generation + 1)) "$run" ||
                refuse 97 "$state/manifest cannot be written"
        fi
        rm -f -- "$state/manifest.above" "$state/manifest.body"
        return 0
    fi
    # A new lineage over a lost manifest would forget everything that muster made here.
    [ ! -e "$state/manifest.previous" ] || refuse 95 "$state/manifest is gone; the one before it is still there"
    read -r _lineage </proc/sys/kernel/random/uuid || refuse 97 "/proc is not there"
    true >"$state/manifest.body" && write_manifest "$1" "$2" "$_lineage" 0 - ||
        refuse 97 "$state/manifest cannot be written"
    rm -f -- "$state/manifest.body"
}

# Takes lines for the manifest. The shell writes them itself: that starts no program, and they stand in no argument list.
incoming() { # set|touched LINE…
    _part=$state/manifest.$1
    shift
    { [ $# -eq 0 ] || printf '%s\n' "$@"; } >"$_part" || refuse 97 "$_part cannot be written"
}

# Puts the entries of manifest.set in the place of all those named in manifest.touched. Both are sorted.
# A handful of programs in all, however many entries there are; none of them in a pipe, so that each failure is seen.
record() {
    read_manifest || refuse 95 "$state/manifest is gone"
    tail -n +7 -- "$state/manifest.above" >"$state/manifest.old" &&
        join --check-order -t "$tab" -v 1 -- "$state/manifest.old" "$state/manifest.touched" >"$state/manifest.kept" &&
        sort -- "$state/manifest.kept" "$state/manifest.set" >"$state/manifest.body" &&
        write_manifest "$fleet" "$host" "$lineage" $((generation + 1)) "$run"
    _status=$?
    set --
    for _part in above old kept set touched body new; do
        set -- "$@" "$state/manifest.$_part"
    done
    rm -f -- "$@"
    [ "$_status" -eq 0 ] || refuse 97 "$state/manifest cannot be written"
}

# Begins a new log at 1 MiB; the one before stays.
turn_log_over() {
    [ ! -e "$state/log" ] || [ "$(wc -c <"$state/log")" -lt 1048576 ] || mv -fT -- "$state/log" "$state/log.1"
}

# Makes this run's undo folder and removes those of older runs: the five before it stay.
make_undo() {
    mkdir -p -- "$state/undo/$run" && touch -- "$state/undo/$run" || refuse 97 "$state/undo cannot be made"
    for _old in $(ls -1t -- "$state/undo" | tail -n +7); do
        rm -rf -- "$state/undo/$_old"
    done
    turn_log_over
    sweep
}

# Keeps what is at a path, once for each run: its bytes, owner, group, mode, or that there was nothing.
keep() { # ID PATH
    _kept=$state/undo/$run/$1
    [ ! -e "$_kept.meta" ] || return 0
    _attributes='- - - 0'
    rm -f -- "$_kept.data"
    if [ -L "$2" ]; then
        _type=link
        cp -P -- "$2" "$_kept.data" || return
    elif [ -f "$2" ]; then
        _type=file
        _attributes=$(stat -c '%u %g %a %s' -- "$2") && has_room "${_attributes##* }" || return
        cp -- "$2" "$_kept.data" && chmod 0600 -- "$_kept.data" && sync -- "$_kept.data" || return
    elif [ -d "$2" ]; then
        _type=directory
        _attributes=$(stat -c '%u %g %a %s' -- "$2") || return
    elif [ -e "$2" ]; then
        echo "$2 is neither a file nor a directory nor a link" >&2
        return 1
    else
        _type=absent
    fi
    rm -f -- "$_kept.left"
    note_left "$1" "$2" && printf 'type %s\nattributes %s\npath %s\n' "$_type" "$_attributes" "$2" >"$_kept.new" &&
        put "$_kept.new" "$_kept.meta"
}

has_room() { # BYTES
    _free=$(stat -f -c '%a %S' -- "$state") || return
    [ $((${_free% *} * ${_free#* })) -gt $(($1 + 1048576)) ] ||
        { echo "no room in $state to keep $1 bytes for undo" >&2 && return 1; }
}

# Puts back what this run kept. What it never touched is as it was.
restore() { # ID PATH
    [ -d "$state/undo/$run" ] || { echo "nothing was kept of run $run" >&2 && return 1; }
    [ -e "$state/undo/$run/$1.meta" ] || return 0
    is_left "$1" "$2" "$run" || { echo "$2 was changed by others since; it stays as it is" >&2 && return 1; }
    _kept=$state/undo/$run/$1
    put_back "$1" "$2"
}

# Puts back what lies under _kept.
put_back() { # ID PATH
    {
        read -r _ _type
        read -r _ _uid _gid _mode _
    } <"$_kept.meta"
    _folder=${2%/*}
    case $_type in
    absent)
        if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir -- "$2"; else rm -f -- "$2"; fi && sync -- "${_folder:-/}"
        ;;
    directory)
        [ ! -L "$2" ] && [ ! -f "$2" ] || rm -f -- "$2" || return
        [ -d "$2" ] || mkdir -m 0700 -- "$2" || return
        chown -- "$_uid:$_gid" "$2" && chmod -- "$_mode" "$2" && sync -- "${_folder:-/}"
        ;;
    link)
        temp_for "$1" "$2" && make_way "$2" && cp -P -- "$_kept.data" "$_temp" && mv -fT -- "$_temp" "$2" && sync -- "${_folder:-/}"
        ;;
    file)
        temp_for "$1" "$2" && make_way "$2" || return
        { (set -C && cat -- "$_kept.data" >"$_temp") && chown -- "$_uid:$_gid" "$_temp" &&
            chmod -- "$_mode" "$_temp" && put "$_temp" "$2"; } || { rm -f -- "$_temp" && return 1; }
        ;;
    *)
        echo "$_kept.meta cannot be read" >&2
        return 1
        ;;
    esac
}

# Removes an empty folder that stands where a file is to be.
make_way() { # PATH
    [ ! -d "$1" ] || [ -L "$1" ] || rmdir -- "$1"
}

# Sets _temp to a free name beside a path. Always the same one, so that what a kill left behind is cleaned up next time;
# opened with noclobber, so that a link planted there is never followed.
temp_for() { # ID PATH
    _temp=${2%/*}/.muster-${1%"${1#????????????}"}
    { [ ! -e "$_temp" ] && [ ! -L "$_temp" ]; } || rm -f -- "$_temp" || return
    printf '%s\n' "$_temp" >"$state/temp"
}

# Removes what an operation that was cut off left beside its path, even if nobody writes there any more.
sweep() {
    IFS= read -r _temp 2>/dev/null <"$state/temp" || return 0
    case $_temp in /*/.muster-???????????? | /.muster-????????????) rm -f -- "$_temp" ;; esac
    rm -f -- "$state/temp"
}

# Sets armed_run to the run whose switch is armed, or to nothing.
find_armed() {
    armed_run= armed_secs=0
    [ -e "$state/switch/armed" ] || return 0
    read -r armed_run armed_secs <"$state/switch/armed" && [ -n "$armed_run" ] ||
        refuse 97 "$state/switch/armed cannot be read"
}

# Lets changes go on only while they are sure to be taken back if they cut us off.
check_armed() {
    find_armed
    [ "$armed_run" = "$run" ] || refuse 91 "the dead-man switch of run $run is not armed, or no longer"
}
