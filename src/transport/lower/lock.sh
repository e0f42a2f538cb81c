# Who may come next: reservations and locks of runs, and holds of people. A host has at most one of them in force.
# A reservation keeps others out and permits nothing; a lock has a token and a lease; a hold stays until it is released.

# How long a reservation lasts without renewal, in seconds.
reservation=600

make_state() {
    [ -d "$state" ] || { mkdir -p -- "$state" && chmod 0700 -- "$state"; } || refuse 97 "$state cannot be made"
}

# Sets what the reservation says, and what the hold says.
read_claims() {
    claim_run=- claim_who=- claim_boot=- claim_taken=0 claim_until=0
    [ ! -e "$state/reserved" ] || while read -r _key _value; do
        case $_key in
        run) claim_run=$_value ;;
        who) claim_who=$_value ;;
        boot) claim_boot=$_value ;;
        taken) claim_taken=$_value ;;
        until) claim_until=$_value ;;
        esac
    done <"$state/reserved"
    case $claim_taken$claim_until in
    *[!0-9]*) refuse 97 "$state/reserved cannot be read" ;;
    esac
    # A hold of which no more is there than its file is a hold.
    hold_who='?' hold_at=0 hold_reason='?'
    [ ! -e "$state/hold" ] || while read -r _key _value; do
        case $_key in
        who) hold_who=$_value ;;
        at) hold_at=$_value ;;
        reason) hold_reason=$_value ;;
        esac
    done <"$state/hold"
}

read_all() {
    clock
    read_fence
    read_claims
}

is_reserved() {
    [ "$claim_run" != - ] && [ "$claim_boot" = "$boot" ] && [ "$now" -lt "$claim_until" ]
}

# Says who has the host, if it is another than this run. Status 1 if nobody has. People see a hold's age by the host's wall clock;
# nothing is decided by it.
say_holder() {
    find_armed
    if [ -n "$armed_run" ] && [ "$armed_run" != "${spared_run-$run}" ]; then
        printf 'state armed\nrun %s\nwho %s\nage %s\nreason %s\n' "$armed_run" "$who" \
            $(($(date +%s) - $(stat -c %Y -- "$state/switch/armed"))) "settled within $armed_secs s, by a new login or by the host"
    elif [ -e "$state/hold" ]; then
        _now=$(date +%s)
        case $hold_at in '' | *[!0-9]*) hold_at=$_now ;; esac
        [ "$_now" -ge "$hold_at" ] || hold_at=$_now
        printf 'state held\nwho %s\nage %s\nreason %s\n' "$hold_who" $((_now - hold_at)) "$hold_reason"
    elif is_live && [ "$holder" != "$run" ]; then
        printf 'state locked\nrun %s\nwho %s\nage %s\n' "$holder" "$who" $((now - ${taken:-$renewed}))
    elif is_reserved && [ "$claim_run" != "$run" ]; then
        printf 'state reserved\nrun %s\nwho %s\nage %s\n' "$claim_run" "$claim_who" $((now - claim_taken))
    else
        return 1
    fi
}

refuse_if_held() {
    ! say_holder || refuse 92 held
}

# Takes the lock file, and makes sure that nobody else has the host. Told apart before the wait: a holder with a long operation
# is no reason to wait for it.
come_first() { # WAIT
    read_all
    refuse_if_held
    enter "$1"
    read_all
    refuse_if_held
}

# Reserves the host for this run, or renews that. Gives the lock file back, so that a look that follows does not hold it.
# Not synced: a reservation does not outlast this boot.
reserve_host() { # WHO WAIT
    make_state
    come_first "$2"
    is_reserved || claim_taken=$now
    printf 'muster-reserved 1\nrun %s\nwho %s\nboot %s\ntaken %s\nuntil %s\n' \
        "$run" "$1" "$boot" "$claim_taken" $((now + reservation)) >"$state/reserved.new" &&
        mv -fT -- "$state/reserved.new" "$state/reserved" || refuse 97 "$state/reserved cannot be written"
    exec 8>&-
}

unreserve_host() { # WAIT
    [ -e "$state/reserved" ] || [ -e "$state/fence" ] || { printf 'end\n' && exit 0; }
    enter "$1"
    read_all
    [ "$claim_run" != "$run" ] || rm -f -- "$state/reserved"
    # What this run locked before it was killed, and had no reason to lock again. Whoever comes next ends that connection.
    if [ "$holder" = "$run" ]; then
        until=0 lease=0 token=$seen
        write_fence "$seen" - -
        note release done
    fi
    printf 'end\n'
}

# Takes the lock. OVER is `ssh` where the connection's sshd can be found among this shell's ancestors.
lock_host() { # WHO FLEET HOST WAIT FORMER_FLEET FORMER_HOST OVER LEASE
    make_state
    # An armed switch is settled before anybody changes something again, its own run included.
    spared_run=
    come_first "$4"
    claim_manifest "$2" "$3" "$5" "$6"
    make_salt
    # A person's command keeps nothing to be undone, and must not push out what runs kept.
    case $run in exec-*) ;; *) make_undo ;; esac
    _before=$sshd
    find_sshd "$7"
    end_connection "$_before"
    lease=$8 taken=$now
    token=$((seen + 1)) who=$1
    write_fence "$token" "$run" "$who"
    # It is this run's, or over.
    [ ! -e "$state/reserved" ] || rm -f -- "$state/reserved"
    note lock done
    printf 'token %s\n' "$token"
}

# After a look under a fresh lock: one that took long must not have used its lease up.
keep_lease() {
    clock
    [ $((now - taken)) -lt $((lease / 4)) ] || extend
}

# Frees the lock, which is this run's, while the lock file is held.
free_lock() {
    until=0 lease=0 sshd=-
    write_fence "$token" - -
    note release done
}

renew_lock() { # OVER
    command -v flock >/dev/null || refuse 97 "flock (util-linux) is not there"
    exec 8>>"$state/lock"
    # Whoever holds the lock file now works under it; an operation of this run renews the lease itself when it ends.
    flock -w 2 8 || { printf 'busy\nend\n' && exit 0; }
    check_fence
    # The connection may be another than the one that took the lock.
    find_sshd "$1"
    extend
    printf 'end\n'
}

release_lock() { # WAIT
    [ -e "$state/fence" ] || { printf 'end\n' && exit 0; }
    enter "$1"
    read_all
    [ "$seen" != "$token" ] || [ "$holder" != "$run" ] || free_lock
    printf 'end\n'
}

# Sets _name, _state, _parent and _start of a process. Status 1 if there is none.
find_process() { # PID
    { read -r _stat <"/proc/$1/stat"; } 2>/dev/null || return
    _name=${_stat#*\(}
    _name=${_name%\)*}
    set -- ${_stat##*) }
    _state=$1 _parent=$2 _start=${20}
}

# Sets sshd to the number and the start time of the process that keeps this connection: the nearest sshd above this shell.
find_sshd() { # OVER
    sshd=-
    [ "$1" = ssh ] || return 0
    _pid=$$
    while find_process "$_pid"; do
        case $_name in
        sshd | sshd-session)
            sshd="$_pid $_start"
            return
            ;;
        esac
        case $_parent in '' | *[!0-9]* | 0 | 1) return ;; esac
        _pid=$_parent
    done
    return 0
}

# Ends the connection over which the last holder came, so that whoever slept there wakes to a dead one. The start time tells its process
# from a later one with its number; this connection is spared, since its holder is awake.
end_connection() { # SSHD
    [ "$1" != - ] && [ "$fence_boot" = "$boot" ] && [ "$1" != "$sshd" ] || return 0
    is_process "$1" || return 0
    kill -s KILL "${1%% *}" 2>/dev/null
    _left=50
    while is_process "$1"; do
        [ "$_left" -gt 0 ] || refuse 94 "the connection of run $holder cannot be ended"
        _left=$((_left - 1))
        sleep 0.1
    done
    note "end the connection of run $holder" done
}

is_process() { # PID-AND-START
    find_process "${1%% *}" && [ "$_start" = "${1##* }" ] && [ "$_state" != Z ] &&
        case $_name in sshd | sshd-session) ;; *) false ;; esac
}

# Says who has the host. Changes nothing.
say_standing() {
    if [ -d "$state" ] && read_all && say_holder; then :; else printf 'state free\n'; fi
    printf 'end\n'
}

# Holds the host for a person. Who holds it already may say another reason.
hold_host() { # WHO WAIT REASON
    make_state
    read_all
    [ -e "$state/hold" ] && [ "$hold_who" = "$1" ] || refuse_if_held
    enter "$2"
    read_all
    [ -e "$state/hold" ] && [ "$hold_who" = "$1" ] || refuse_if_held
    printf 'muster-hold 1\nwho %s\nat %s\nreason %s\n' "$1" "$(date +%s)" "$3" >"$state/hold.new" &&
        put "$state/hold.new" "$state/hold" || refuse 97 "$state/hold cannot be written"
    note "hold by $1" "$3"
    printf 'end\n'
}

# Releases a person's own hold. Says whether there was one.
free_host() { # WHO WAIT
    [ -e "$state/hold" ] || { printf 'state free\nend\n' && exit 0; }
    enter "$2"
    read_all
    [ -e "$state/hold" ] || { printf 'state free\nend\n' && exit 0; }
    [ "$hold_who" = "$1" ] || refuse_if_held
    rm -f -- "$state/hold" && sync -- "$state" || refuse 97 "$state/hold cannot be removed"
    note "release by $1" "$hold_reason"
    printf 'state held\nwho %s\nage 0\nreason %s\nend\n' "$hold_who" "$hold_reason"
}

# Takes the host from whoever has it. A lock is fenced off: the next token belongs to nobody, and its connection is ended.
break_host() { # WHO WAIT REASON OVER
    [ -d "$state" ] || { printf 'state free\nend\n' && exit 0; }
    enter "$2"
    read_all
    say_holder || printf 'state free\n'
    if [ -e "$state/hold" ]; then
        rm -f -- "$state/hold" && sync -- "$state" || refuse 97 "$state/hold cannot be removed"
        note "break by $1 of the hold of $hold_who" "$3"
    fi
    if [ -e "$state/reserved" ]; then
        rm -f -- "$state/reserved" || refuse 97 "$state/reserved cannot be removed"
        note "break by $1 of the reservation of run $claim_run of $claim_who" "$3"
    fi
    if [ "$holder" != - ]; then
        note "break by $1 of the lock of run $holder of $who" "$3"
        _before=$sshd
        find_sshd "$4"
        end_connection "$_before"
        until=0 lease=0 sshd=-
        write_fence $((seen + 1)) - -
    fi
    printf 'end\n'
}
