# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# systemctl's own completion and the verb live-update, which
# 'luoctl systemctl-verb enable' adds.
. /usr/share/bash-completion/completions/systemctl

_luod_systemctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} word verb=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            -*) ;;
            *) verb=$word; break ;;
        esac
    done
    if [ "$verb" = live-update ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(luoctl __complete live-update "$cur" 2>/dev/null | sed -n 's/^\([^:\t]*\)\(\t.*\)\?$/\1/p')" -- "$cur")
        return
    fi
    _systemctl "$@"
    if [ -z "$verb" ]; then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W live-update -- "$cur")
    fi
}

complete -F _luod_systemctl systemctl
