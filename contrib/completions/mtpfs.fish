# Completion of mtpfs(1) for fish.

set -l files ls tree stat get put cat rm mkdir mv cp df sync thumbs
set -l commands umount list info doctor stats import help $files
set -l mounting "not __fish_seen_subcommand_from $commands"

function __mtpfs_sources
    printf '%s\n' any\t'the only device there is' ip:\t'a camera in the network' virtual:\t'a phone made of software'
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
        ttl=\t'how long attributes are believed' thumbnails\t'fetch thumbnails of what is listed' \
        exit_on_unplug\t'unmount when unplugged' \
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
complete -c mtpfs -n __fish_use_subcommand -a ls -d 'List files on the phone'
complete -c mtpfs -n __fish_use_subcommand -a tree -d 'Show directories of the phone as a tree'
complete -c mtpfs -n __fish_use_subcommand -a stat -d 'Tell what is known of files on the phone'
complete -c mtpfs -n __fish_use_subcommand -a get -d 'Fetch files from the phone'
complete -c mtpfs -n __fish_use_subcommand -a put -d 'Send files to the phone'
complete -c mtpfs -n __fish_use_subcommand -a cat -d 'Write files of the phone to the standard output'
complete -c mtpfs -n __fish_use_subcommand -a rm -d 'Remove files on the phone'
complete -c mtpfs -n __fish_use_subcommand -a mkdir -d 'Make directories on the phone'
complete -c mtpfs -n __fish_use_subcommand -a mv -d 'Move or rename files on the phone'
complete -c mtpfs -n __fish_use_subcommand -a cp -d 'Copy files on the phone'
complete -c mtpfs -n __fish_use_subcommand -a df -d 'Tell the room on the phone'
complete -c mtpfs -n __fish_use_subcommand -a import -d 'Fetch the new photos and videos'
complete -c mtpfs -n __fish_use_subcommand -a sync -d 'Make a directory on the phone like one here, or the other way round'
complete -c mtpfs -n __fish_use_subcommand -a thumbs -d 'Fetch thumbnails of pictures and films'
complete -c mtpfs -l source -x -d 'Which device' -a "(__mtpfs_sources)"
complete -c mtpfs -n "__fish_seen_subcommand_from ls tree stat get put rm mkdir mv cp df sync thumbs" -l json -d 'Print JSON'
complete -c mtpfs -n "__fish_seen_subcommand_from get put cp rm" -s r -d 'Directories, with all that is in them'
complete -c mtpfs -n "__fish_seen_subcommand_from get put cp mv" -s n -d 'Replace nothing'
complete -c mtpfs -n "__fish_seen_subcommand_from get put cp mv rm" -s i -d 'Ask before something goes'
complete -c mtpfs -n "__fish_seen_subcommand_from rm" -s f -d "What isn't there is no failure"
complete -c mtpfs -n "__fish_seen_subcommand_from mkdir" -s p -d 'Those above, too'
complete -c mtpfs -n "__fish_seen_subcommand_from ls" -s l -d 'Sizes and dates'
complete -c mtpfs -n "__fish_seen_subcommand_from ls df" -s h -d 'Short sizes'
complete -c mtpfs -n "__fish_seen_subcommand_from ls tree" -s a -d 'All names'
complete -c mtpfs -n "__fish_seen_subcommand_from ls" -s d -d 'Directories themselves'
complete -c mtpfs -n "__fish_seen_subcommand_from ls" -s R -d 'Directories in directories, too'
complete -c mtpfs -n "__fish_seen_subcommand_from tree" -s d -d 'Directories only'
complete -c mtpfs -n "__fish_seen_subcommand_from tree" -s L -x -d 'No deeper than this'
complete -c mtpfs -n "__fish_seen_subcommand_from thumbs" -l to -x -d 'Write files there' -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "__fish_seen_subcommand_from get put thumbs" -F
complete -c mtpfs -n "__fish_seen_subcommand_from import" -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l json -d 'Print JSON'
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l into -x -d 'Directories below it' -a "{taken:%Y/%m} {folder} {phone}"
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l delete -d 'Then delete on the phone what is proven'
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l yes -d "Don't ask"
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l dry-run -d 'Only print what would be done'
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l again -d "What isn't here any more, too"
complete -c mtpfs -n "__fish_seen_subcommand_from import" -l wait -d 'Wait until the phone is unlocked'
complete -c mtpfs -n "__fish_seen_subcommand_from help" -a "umount list info doctor stats import $files"
complete -c mtpfs -n "__fish_seen_subcommand_from sync" -l delete -d 'Remove what SRC has not'
complete -c mtpfs -n "__fish_seen_subcommand_from sync" -l exclude -x -d 'Leave this out'
complete -c mtpfs -n "__fish_seen_subcommand_from sync" -s c -l checksum -d 'Compare contents'
complete -c mtpfs -n "__fish_seen_subcommand_from sync" -s n -l dry-run -d 'Only print the plan'
complete -c mtpfs -n "__fish_seen_subcommand_from sync" -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "__fish_seen_subcommand_from list info stats" -s J -l json -d 'Print JSON'
complete -c mtpfs -n "__fish_seen_subcommand_from list" -l network -d 'Cameras in the network'
complete -c mtpfs -n "__fish_seen_subcommand_from info doctor" -a "(__mtpfs_sources)"
complete -c mtpfs -n "__fish_seen_subcommand_from doctor" -a "(__fish_complete_directories (commandline -ct))"
complete -c mtpfs -n "__fish_seen_subcommand_from umount info stats" -a "(findmnt -rn -t fuse.mtpfs -o TARGET)"
