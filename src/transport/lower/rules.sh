# The rules of the packet filter as they stand in the kernel: what loaded them may not be able to take them back.

# Prints what iptables or ip6tables knows, with counters at zero so that two dumps can be compared.
say_rules() { # iptables|ip6tables
    "$1-save" 2>/dev/null | sed -e '/^#/d' -e 's/ \[[0-9]*:[0-9]*\]$/ [0:0]/'
}

# Prints the tables of nftables, but for those that iptables keeps there.
say_tables() {
    nft list tables 2>/dev/null | while read -r _ _family _table; do
        case $_family:$_table in
        ip:filter | ip:nat | ip:mangle | ip:raw | ip:security | ip6:filter | ip6:nat | ip6:mangle | ip6:raw | ip6:security)
            ! command -v iptables-save >/dev/null || continue
            ;;
        esac
        printf '%s %s\n' "$_family" "$_table"
    done
}

say_nft() {
    say_tables | while read -r _family _table; do
        nft -s list table "$_family" "$_table" || return
    done
}

keep_rules() {
    for _tool in iptables ip6tables; do
        ! command -v "$_tool-save" >/dev/null || say_rules "$_tool" >"$state/switch/rules.$_tool" || return
    done
    ! command -v nft >/dev/null || say_nft >"$state/switch/rules.nft"
}

put_rules_back() {
    _bad=0
    for _tool in iptables ip6tables; do
        [ ! -e "$state/switch/rules.$_tool" ] || put_iptables_back "$_tool" || _bad=1
    done
    [ ! -e "$state/switch/rules.nft" ] || put_nft_back || _bad=1
    return "$_bad"
}

put_iptables_back() { # iptables|ip6tables
    _rules=$(say_rules "$1")
    [ "$_rules" != "$(cat -- "$state/switch/rules.$1")" ] || return 0
    # A table that was not there yet is emptied: restoring leaves alone what it does not name.
    {
        cat -- "$state/switch/rules.$1"
        printf '%s\n' "$_rules" | while read -r _word _rest; do
            case $_word in
            '*'*)
                _is_new=
                grep -qxF -- "$_word" "$state/switch/rules.$1" || { _is_new=yes && printf '%s\n' "$_word"; }
                ;;
            :*)
                case $_is_new$_rest in yes-*) ;; yes*) printf '%s ACCEPT [0:0]\n' "$_word" ;; esac
                ;;
            COMMIT) [ -z "$_is_new" ] || printf 'COMMIT\n' ;;
            esac
        done
    } | "$1-restore"
}

put_nft_back() {
    [ "$(say_nft)" != "$(cat -- "$state/switch/rules.nft")" ] || return 0
    {
        say_tables | while read -r _family _table; do printf 'delete table %s %s\n' "$_family" "$_table"; done
        cat -- "$state/switch/rules.nft"
    } | nft -f -
}
