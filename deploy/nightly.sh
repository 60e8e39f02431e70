#!/bin/sh
# Run commands every day at a time in UTC: deploy/nightly.sh [--now] 02:00 "first command" "second command"
# For containers, which have neither cron nor systemd. If a command fails, the next one still runs. SIGTERM ends the
# wait or the running command.
# With --now, the commands also run at the start. If one of them fails then, the script exits with status 1 after the
# last one, so that Docker restarts it: after a reboot, the database may not be ready yet.
set -eu

usage() { echo "Usage: $0 [--now] HH:MM COMMAND..." >&2; exit 2; }

now=
if [ "${1:-}" = --now ]; then now=yes; shift; fi
case ${1:-} in
    [01][0-9]:[0-5][0-9] | 2[0-3]:[0-5][0-9]) ;;
    *) usage ;;
esac
[ $# -ge 2 ] || usage
start=$1
shift
hours=${start%:*} minutes=${start#*:}
at=$((${hours#0} * 3600 + ${minutes#0} * 60)) # a leading zero would make the number octal

say() { echo "$(date --utc +%Y-%m-%dT%H:%M:%SZ) $*"; }

trap 'kill "${!-}" 2>/dev/null || true; exit 143' TERM INT # $! is the running command

# Run a command in the background and wait for it. A shell handles a signal only after a foreground command has ended.
wait_for() {
    "$@" &
    wait "$!"
}

run() {
    failed=
    for command; do
        say "runs: $command"
        if wait_for sh -c "exec $command"; then
            say "has run: $command"
        else
            say "failed with status $?: $command"
            failed=yes
        fi
    done
    [ -z "$failed" ]
}

if [ "$now" ]; then run "$@" || exit 1; fi
while :; do
    # From 1 to 86400 seconds. With 0, a short command would run twice in the same second.
    seconds=$(((at - $(date +%s) % 86400 + 2 * 86400 - 1) % 86400 + 1))
    say "waits until $start UTC"
    wait_for sleep "$seconds"
    run "$@" || true
done
