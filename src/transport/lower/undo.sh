# What a run left at the paths that it touched: by this others' changes are told from its own before anything is put back.
# Nothing here writes but `note_left` and `restore_from`.

# Prints what is at a path, in one line.
state_of() { # PATH
    if [ -L "$1" ]; then
        _state=$(readlink -- "$1" | base64 -w0) && printf 'link %s\n' "$_state"
    elif [ -f "$1" ]; then
        _state=$(sha256sum <"$1") && _attributes=$(stat -c '%u %g %a' -- "$1") &&
            printf 'file %s %s\n' "${_state%% *}" "$_attributes"
    elif [ -d "$1" ]; then
        _attributes=$(stat -c '%u %g %a' -- "$1") && printf 'directory %s\n' "$_attributes"
    elif [ -e "$1" ]; then
        echo other
    else
        echo absent
    fi
}

# Notes what a path is or, before a rename, what it will be: the file at AS. Several states may be noted, since a kill can come
# between any two of them.
note_left() { # ID AS
    _left=$state/undo/$run/$1.left
    _now=$(state_of "$2") && printf '%s\n' "$_now" >>"$_left"
}

# Says whether what is at a path is what a run found or left there. Of a run that noted nothing nobody can tell more than the look.
is_left() { # ID PATH RUN
    [ -e "$state/undo/$3/$1.left" ] || return 0
    _now=$(state_of "$2") || return 1
    while IFS= read -r _line; do
        [ "$_line" != "$_now" ] || return 0
    done <"$state/undo/$3/$1.left"
    return 1
}

# Puts back what an older run kept, if what is there is what that run left, or what this one did since.
restore_from() { # ID PATH RUN
    [ -d "$state/undo/$3" ] || { echo "what run $3 kept is gone" >&2 && return 1; }
    [ -e "$state/undo/$3/$1.meta" ] || return 0
    is_left "$1" "$2" "$3" || { [ -e "$state/undo/$run/$1.left" ] && is_left "$1" "$2" "$run"; } ||
        { echo "$2 was changed since run $3; it stays as it is" >&2 && return 1; }
    keep "$1" "$2" || return
    _kept=$state/undo/$3/$1
    put_back "$1" "$2" && note_left "$1" "$2"
}

# Prints for each path whether the run's store is there, and whether what is at the path is what that run left.
kept_states() { # RUN ID PATH …
    while [ $# -gt 0 ]; do
        _store=no _same=no
        [ ! -d "$state/undo/$1" ] || _store=yes
        ! is_left "$2" "$3" "$1" || _same=yes
        printf '%s\0%s\0%s\0%s\0' "$1" "$3" "$_store" "$_same"
        shift 3
    done
}
