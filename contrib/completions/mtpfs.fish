# Completion of mtpfs(1) for fish.

set -l commands umount list info doctor stats help
set -l mounting "not __fish_seen_subcommand_from $commands"

function __mtpfs_sources
    printf '%s\n' any\t'the only device there is' virtual:\t'a phone made of software'
    mtpfs list --json 2>/dev/null | string match -rg '^ *"source": "([^"\\\\]*)",$'
end

function __mtpfs_options
    set -l before (string match -rg '^(.*,)' -- (commandline -ct))
    printf "$before%s\n" \
        ro\t'read-only' rw\t'read-write' \
        allow_other\t'let other users in' allow_root\t'let root in' \
        default_permissions\t'have the kernel check mode bits' \
        uid=\t'owner of all files' gid=\t'group of all files' \
        umask=\t'permission bits taken away, octal' \
        fmask=\t'permission bits taken from files' dmask=\t'permission bits taken from directories' \
        fsname=\t'source shown by findmnt' subtype=\t'type shown by findmnt' \
        storage=\t'mount only this storage' \
        timeout=\t'how long a simple request may take' readahead=\t'how much is fetched at once' \
        ttl=\t'how long attributes are believed' exit_on_unplug\t'unmount when unplugged' \
        debug\t'log what the kernel asks' \
        atime\t'update access times' noatime\t"don't update access times" \
        nodiratime\t"don't update directories' access times" \
        exec\t'allow programs to be run' noexec\t'no programs' \
        suid\t'honour set-user-ID bits' nosuid\t'ignore set-user-ID bits' \
        dev\t'honour device files' nodev\t'no device files' \
        sync\t'write synchronously' async\t'write asynchronously' dirsync\t'change directories synchronously' \
        auto_unmount\t'unmount when the program dies'
end

complete -c mtpfs -f
complete -c mtpfs -s h -l help -d 'Show help'
complete -c mtpfs -n "$mounting" -a "(__mtpfs_sources)"
complete -c mtpfs -n "$mounting" -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "$mounting" -s o -x -d 'Mount options' -a "(__mtpfs_options)"
complete -c mtpfs -l redact -d 'Hide serial numbers and names'
complete -c mtpfs -n "$mounting" -s f -d 'Stay in the foreground'
complete -c mtpfs -n "$mounting" -s d -d 'Log everything; implies -f'
complete -c mtpfs -n "$mounting" -s s -d 'Ignore unknown mount options'
complete -c mtpfs -n "$mounting" -s V -l version -d 'Show the version'
complete -c mtpfs -n "$mounting" -l in -x -d 'Mount on a new directory below this one' -a "(__fish_complete_directories (commandline -ct))"

complete -c mtpfs -n __fish_use_subcommand -a umount -d 'Unmount, and wait until everything is on the phone'
complete -c mtpfs -n __fish_use_subcommand -a list -d 'List the devices on the bus'
complete -c mtpfs -n __fish_use_subcommand -a info -d 'Tell what a device is and can do'
complete -c mtpfs -n __fish_use_subcommand -a doctor -d 'Find out what keeps a mount from working'
complete -c mtpfs -n __fish_use_subcommand -a stats -d 'Show what a mount has done so far'
complete -c mtpfs -n __fish_use_subcommand -a help -d 'Show help'
complete -c mtpfs -n "__fish_seen_subcommand_from help" -a "umount list info doctor stats"
complete -c mtpfs -n "__fish_seen_subcommand_from list info stats" -s J -l json -d 'Print JSON'
complete -c mtpfs -n "__fish_seen_subcommand_from info doctor" -a "(__mtpfs_sources)"
complete -c mtpfs -n "__fish_seen_subcommand_from doctor" -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "__fish_seen_subcommand_from umount info stats" -a "(findmnt -rn -t fuse.mtpfs -o TARGET)"
