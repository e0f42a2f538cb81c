# The dead-man switch: a host puts back by itself what may have cut us off, unless a new login confirms it.
# $state/switch holds what an armed one needs; while `armed` is in it, the host's lock is handed out to nobody. What became
# of it stands in the run's undo folder. Whoever settles a switch holds the lock file, so that confirming and restoring
# shut each other out, whatever ends first.

: "${unit_dir:=/etc/systemd/system}"

begin_switch() {
    find_armed
    [ -z "$armed_run" ] || refuse 97 "the dead-man switch of run $armed_run is armed already"
    command -v systemctl >/dev/null || refuse 97 "systemd is not there, which keeps the time of a dead-man switch"
    rm -rf -- "$state/switch" "$state/undo/$run/switch" && mkdir -m 0700 -- "$state/switch" ||
        refuse 97 "$state/switch cannot be made"
}

# Takes a part of a switch that is being armed, in Base64 on standard input.
switch_part() { # paths|units|readers|parameters|touched|script
    base64 -d >"$state/switch/$1" || refuse 97 "$state/switch/$1 cannot be written"
}

# Keeps everything that a restore needs, starts the timer, and only then calls the switch armed: one that was begun and not
# ended bars nobody, and its timer finds nothing to do.
arm_switch() { # SECONDS
    keep_paths && keep_units && keep_parameters && keep_rules && keep_entries &&
        sync -- "$state/switch"/* "$state/switch" && start_timer "$1" &&
        printf '%s %s\n' "$run" "$1" >"$state/switch/armed.new" && put "$state/switch/armed.new" "$state/switch/armed" || {
        drop_units
        refuse 97 "the dead-man switch cannot be armed"
    }
    note "dead-man switch" "armed for $1 s"
}

# Each line is the path's name in the undo store and the path in Base64.
keep_paths() {
    each_path paths keep
}

each_path() { # LIST FUNCTION
    while read -r _id _encoded; do
        # The last letter saves a line break at the end of the path.
        _path=$(printf %s "$_encoded" | base64 -d && printf x) || return
        "$2" "$_id" "${_path%x}" || return
    done <"$state/switch/$1"
}

keep_units() {
    for _list in units readers; do
        while read -r _unit; do
            _enabled=$(systemctl is-enabled -- "$_unit" 2>/dev/null)
            _active=$(systemctl show -p ActiveState --value -- "$_unit") || return
            _start=$(systemctl show -p InvocationID --value -- "$_unit") || return
            printf '%s %s %s %s %s\n' "$_unit" "$_list" "${_enabled:--}" "${_active:--}" "${_start:--}"
        done <"$state/switch/$_list"
    done >"$state/switch/units.before"
}

keep_parameters() {
    while read -r _parameter; do
        [ ! -e "$_parameter" ] || printf '%s %s\n' "$_parameter" "$(cat -- "$_parameter")" || return
    done <"$state/switch/parameters" >"$state/switch/parameters.before"
}

# Keeps the manifest's lines of what is about to change, before the intents go over them.
keep_entries() {
    read_manifest || return
    tail -n +7 -- "$state/manifest.above" >"$state/manifest.old" &&
        join --check-order -t "$tab" -- "$state/manifest.old" "$state/switch/touched" >"$state/switch/set"
    _status=$?
    rm -f -- "$state/manifest.above" "$state/manifest.old"
    return "$_status"
}

# `OnActiveSec` counts from the start of the timer, and so anew from the boot that starts it: a reboot does not lose it.
# `OnBootSec` would be over at once on a host that has been up for longer.
start_timer() { # SECONDS
    _unit=muster-deadman-$run
    printf '%s\n' '[Unit]' "Description=Put back what run $run of muster changed" 'StartLimitIntervalSec=0' \
        '[Service]' "ExecStart=/bin/sh $state/switch/script" 'Restart=on-failure' 'RestartSec=2' \
        >"$unit_dir/$_unit.service.new" &&
        put "$unit_dir/$_unit.service.new" "$unit_dir/$_unit.service" &&
        printf '%s\n' '[Unit]' "Description=Wait for a new login to confirm what run $run of muster changed" \
            '[Timer]' "OnActiveSec=$1" 'AccuracySec=1s' '[Install]' 'WantedBy=timers.target' \
            >"$unit_dir/$_unit.timer.new" &&
        put "$unit_dir/$_unit.timer.new" "$unit_dir/$_unit.timer" &&
        systemctl daemon-reload && systemctl -q enable -- "$_unit.timer" && systemctl start -- "$_unit.timer" &&
        sync -- "$unit_dir" "$unit_dir/timers.target.wants"
}

drop_units() {
    _unit=muster-deadman-$run
    [ -e "$unit_dir/$_unit.timer" ] || [ -e "$unit_dir/$_unit.service" ] || return 0
    systemctl -q disable -- "$_unit.timer"
    systemctl stop -- "$_unit.timer"
    rm -f -- "$unit_dir/$_unit.timer" "$unit_dir/$_unit.service" "$unit_dir/$_unit".*.new
    systemctl daemon-reload
} >/dev/null 2>&1 8>&-

# Called over a connection that was made anew: what was changed stays.
confirm_switch() { # WAIT
    enter "$1"
    find_armed
    [ "$armed_run" != "$run" ] || settle_switch confirmed
    say_switch
}

# Has the host put everything back now. It does so by itself: this connection may not live to see the end.
release_switch() {
    find_armed
    [ "$armed_run" != "$run" ] || systemctl start --no-block -- "muster-deadman-$run.service" ||
        refuse 97 "muster-deadman-$run.service cannot be started"
    say_switch
}

say_switch() {
    find_armed
    if [ "$armed_run" = "$run" ]; then
        printf 'switch armed\n'
    elif [ -e "$state/undo/$run/switch" ]; then
        cat -- "$state/undo/$run/switch"
    else
        printf 'switch none\n'
    fi
    printf 'end\n'
}

# What the unit runs. It may be ended and begun again anywhere: each step may be done twice, and the record comes last.
restore_switch() {
    enter 60
    find_armed
    if [ "$armed_run" = "$run" ]; then
        for _try in 1 2 3; do
            put_all_back && break
            sleep 2
        done
        # What a damaged manifest says is no reason to keep the host shut.
        [ -s "$state/switch/trouble" ] || (give_entries_back) >/dev/null ||
            printf 'trouble the manifest could not be written\n' >>"$state/switch/trouble"
        settle_switch restored
    fi
    drop_units
}

put_all_back() {
    true >"$state/switch/trouble"
    each_unit stop_what_did_not_run
    each_path paths put_path_back
    tac -- "$state/switch/paths" >"$state/switch/paths.reversed"
    each_path paths.reversed take_path_away
    attempt "reading units" systemctl daemon-reload
    while read -r _parameter _value; do
        attempt "$_parameter" write_parameter "$_parameter" "$_value"
    done <"$state/switch/parameters.before"
    each_unit start_what_ran
    attempt "packet filter" put_rules_back
    [ ! -s "$state/switch/trouble" ]
}

# Runs a step; what it says if it fails is kept, on one line.
attempt() { # WHAT COMMAND…
    _what=$1
    shift
    _said=$("$@" 2>&1 8>&- </dev/null) && return
    printf 'trouble %s: %s\n' "$_what" "$_said" | tail -n 1 | tr -cd '[:print:]\n' >>"$state/switch/trouble"
}

write_parameter() { # PATH VALUE
    printf '%s\n' "$2" >"$1"
}

each_unit() { # FUNCTION
    while read -r _unit _list _enabled _active _start; do
        "$1"
    done <"$state/switch/units.before"
}

ran() {
    case $1 in active | activating | reloading) ;; *) return 1 ;; esac
}

is_enabled() {
    [ "$(systemctl is-enabled -- "$_unit" 2>/dev/null </dev/null)" = enabled ]
}

# Before files go, since a unit is stopped and disabled by what its file says.
stop_what_did_not_run() {
    ran "$_active" || ! ran "$(systemctl show -p ActiveState --value -- "$_unit" </dev/null)" ||
        attempt "stopping $_unit" systemctl stop -- "$_unit"
    [ "$_enabled" = enabled ] || ! is_enabled || attempt "disabling $_unit" systemctl -q disable -- "$_unit"
}

# A unit that only might have read something is started anew only if somebody did so since.
start_what_ran() {
    [ "$_enabled" != enabled ] || is_enabled || attempt "enabling $_unit" systemctl -q enable -- "$_unit"
    ran "$_active" || return 0
    [ "$_list" = units ] || [ "$(systemctl show -p InvocationID --value -- "$_unit" </dev/null)" != "$_start" ] || return 0
    attempt "starting $_unit" restart_unit
}

# A unit that failed too often in a row is not started otherwise.
restart_unit() {
    systemctl reset-failed -- "$_unit" 2>/dev/null
    systemctl restart -- "$_unit"
}

kept_type() { # ID
    read -r _ _type <"$state/undo/$run/$1.meta"
}

put_path_back() { # ID PATH
    kept_type "$1" && [ "$_type" != absent ] || return 0
    is_as_kept "$1" "$2" || attempt "$2" put_kept_back "$1" "$2"
}

take_path_away() { # ID PATH
    kept_type "$1" && [ "$_type" = absent ] || return 0
    [ ! -e "$2" ] && [ ! -L "$2" ] || attempt "$2" put_kept_back "$1" "$2"
}

# Whatever is there now: who cannot log in cannot say whether it is worth more.
put_kept_back() { # ID PATH
    _kept=$state/undo/$run/$1
    put_back "$1" "$2"
}

is_as_kept() { # ID PATH
    _kept=$state/undo/$run/$1
    [ "$_type" = file ] && [ -f "$2" ] && [ ! -L "$2" ] && cmp -s -- "$_kept.data" "$2" &&
        grep -qxF -- "attributes $(stat -c '%u %g %a %s' -- "$2")" "$_kept.meta"
}

# The manifest says again what it said before the change.
give_entries_back() {
    cp -- "$state/switch/set" "$state/manifest.set" && cp -- "$state/switch/touched" "$state/manifest.touched" ||
        refuse 97 "$state cannot be written"
    record
}

settle_switch() { # confirmed|restored
    {
        printf 'switch %s\n' "$1"
        [ "$1" = confirmed ] || cat -- "$state/switch/trouble"
    } >"$state/undo/$run/switch.new" && put "$state/undo/$run/switch.new" "$state/undo/$run/switch" &&
        rm -f -- "$state/switch/armed" && sync -- "$state/switch" || refuse 97 "$state/undo/$run/switch cannot be written"
    note "dead-man switch" "$1"
    # The units need the script, so the folder goes last.
    drop_units
    rm -rf -- "$state/switch"
}
