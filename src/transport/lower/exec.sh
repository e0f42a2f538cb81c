# A person's command, on its way to root's shell.

# Runs a command whose text comes in Base64 on standard input, as the last thing of a script; everything that it prints goes to the
# connection as it comes. `go` tells its output and its status from the guard's own. Whoever asks it to end sends TERM to the
# group: the command ends by that, and this shell stays to write down that it did.
exec_command() { # WHO WHAT LOCKED
    exec 9<&0 </dev/null
    trap : TERM
    [ ! -d "$state" ] || { turn_log_over && note "exec by $1" "$2"; }
    printf 'go\n'
    (
        trap - PIPE
        exec env -i PATH="$PATH" LC_ALL=C sh -c '_script=$(base64 -d <&9) && exec 8>&- 9<&- && eval "$_script"' muster
    )
    _status=$?
    [ ! -d "$state" ] || note "exec by $1" "ended ($_status)"
    [ -z "$3" ] || extend
    exit "$_status"
}
