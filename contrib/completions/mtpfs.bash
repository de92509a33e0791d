# Completion of mtpfs(1) for bash. Needs nothing but bash; bash-completion loads it by the command's name.

# Mount options; those with a value end in "=".
_mtpfs_options='ro rw allow_other allow_root default_permissions uid= gid= umask= fmask= dmask= fsname= subtype=
    storage= timeout= readahead= ttl= thumbnails exit_on_unplug debug atime noatime exec noexec suid nosuid dev nodev nodiratime sync async dirsync
    auto_unmount'

_mtpfs_files='ls tree stat get put cat rm mkdir mv cp df sync thumbs'  # commands for files, without a mount

# The words up to the cursor as the shell sees them: readline parts them at "=" and ":" too.
_mtpfs_words() {
    local i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i > 0)) && [[ ${COMP_WORDS[i]} == [=:]* || ${COMP_WORDS[i - 1]} == *[=:] ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
}

_mtpfs_directories() {  # PREFIX WORD
    local directory
    while IFS= read -r directory; do
        compopt -o filenames 2>/dev/null
        COMPREPLY+=("$1$directory")
    done < <(compgen -d -- "$2")
}

_mtpfs_sources() {
    local found=''
    if [[ $word == virtual:* ]]; then
        _mtpfs_directories virtual: "${word#virtual:}"
        return
    fi
    if [[ $word != virtual* && $word != ip:* && $word != /* ]]; then
        found=$("${words[0]}" list --json 2>/dev/null | sed -n 's/^ *"source": "\([^"\\ ]*\)",$/\1/p')
    fi
    COMPREPLY+=($(compgen -W "any ip: virtual: $found" -- "$word"))
}

_mtpfs_mounts() {
    COMPREPLY+=($(compgen -W "$(findmnt -rn -t fuse.mtpfs -o TARGET 2>/dev/null)" -- "$word"))
}

# The options of a command for files, and what of its arguments is on this machine.
_mtpfs_file_command() {
    local letters
    case $command in
        ls) letters='-a -l -h -d -R' ;;
        tree) letters='-a -d -L' ;;
        df) letters='-h' ;;
        get | put | cp) letters='-r -n -i' ;;
        rm) letters='-r -f -i' ;;
        mkdir) letters='-p' ;;
        mv) letters='-n -i' ;;
        sync) letters='--delete --exclude -c --checksum -n --dry-run' ;;
        thumbs) letters='--to' ;;
        *) letters='' ;;
    esac
    [[ $command == cat ]] || letters+=' --json'
    case $previous:$word in
        --source:*) _mtpfs_sources ;;
        --to:*) _mtpfs_directories '' "$word" ;;
        *:-*) COMPREPLY=($(compgen -W "$letters --source --redact --help" -- "$word")) ;;
        *)
            [[ $command == sync ]] && _mtpfs_directories '' "$word"
            [[ $command == get || $command == put || $command == thumbs ]] || return 0
            local file
            while IFS= read -r file; do
                compopt -o filenames 2>/dev/null
                COMPREPLY+=("$file")
            done < <(compgen -f -- "$word")
            ;;
    esac
}

_mtpfs_mount_option() {
    local before='' option=$word choices
    if [[ $word == *,* ]]; then
        before=${word%,*},
        option=${word##*,}
    fi
    case $option in
        uid=*) choices=$(compgen -u -P "${before}uid=" -- "${option#uid=}") ;;
        gid=*) choices=$(compgen -g -P "${before}gid=" -- "${option#gid=}") ;;
        *) choices=$(compgen -W "$_mtpfs_options" -P "$before" -- "$option") ;;
    esac
    COMPREPLY=($choices)
    compopt -o nospace 2>/dev/null
}

_mtpfs() {
    local words word previous command='' positional=0 i
    local IFS=$' \t\n'
    COMPREPLY=()
    _mtpfs_words
    word=${words[-1]}
    previous=${words[-2]}
    case ${words[1]} in
        umount | list | info | doctor | stats | import | help) ((${#words[@]} == 2)) || command=${words[1]} ;;
        ls | tree | stat | get | put | cat | rm | mkdir | mv | cp | df | sync | thumbs)
            ((${#words[@]} == 2)) || command=${words[1]}
            ;;
    esac

    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
            -o | --in | --source | --to) ((i++)) ;;
            -*) ;;
            *) ((positional++)) ;;
        esac
    done

    case $command:$previous:$word in
        ls:* | tree:* | stat:* | get:* | put:* | cat:* | rm:* | mkdir:* | mv:* | cp:* | df:* | sync:* | thumbs:*) _mtpfs_file_command ;;
        :--source:* | import:--source:* | info:--source:* | doctor:--source:*) _mtpfs_sources ;;
        :-o:*) _mtpfs_mount_option ;;
        :--in:*) _mtpfs_directories '' "$word" ;;
        :*:-*) COMPREPLY=($(compgen -W '-o -f -d -s -h --help -V --version --in --source --redact' -- "$word")) ;;
        help:*) ((positional > 1)) || COMPREPLY=($(compgen -W "umount list info doctor stats import $_mtpfs_files" -- "$word")) ;;
        doctor:*:-*) COMPREPLY=($(compgen -W '--source --redact -h --help' -- "$word")) ;;
        import:*:-*) COMPREPLY=($(compgen -W '--into --delete --yes --dry-run --again --wait --json --source --redact --help' -- "$word")) ;;
        import:--into:*) COMPREPLY=($(compgen -W '{taken:%Y/%m} {folder} {phone}' -- "$word")) ;;
        import:*) _mtpfs_directories '' "$word" ;;
        umount:*:-*) COMPREPLY=($(compgen -W '--redact -h --help' -- "$word")) ;;
        info:*:-*) COMPREPLY=($(compgen -W '-J --json --source --redact -h --help' -- "$word")) ;;
        list:*:-*) COMPREPLY=($(compgen -W '-J --json --network --redact -h --help' -- "$word")) ;;
        *:*:-*) COMPREPLY=($(compgen -W '-J --json --redact -h --help' -- "$word")) ;;
        list:*) ;;
        stats:* | umount:*) ((positional > 1)) || _mtpfs_mounts ;;
        info:*)
            _mtpfs_sources
            _mtpfs_mounts
            ;;
        *)
            ((${#words[@]} > 2)) || COMPREPLY=($(compgen -W "umount list info doctor stats import help $_mtpfs_files" -- "$word"))
            ((positional > (${#command} > 0))) || _mtpfs_sources
            [[ $word == *:* ]] || _mtpfs_directories '' "$word"
            ;;
    esac

    # What readline takes for the word begins after the last "=" or ":".
    if [[ $word == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]]; then
        local parted=${word%"${word##*[=:]}"}
        COMPREPLY=("${COMPREPLY[@]#"$parted"}")
    fi
}

complete -F _mtpfs mtpfs
