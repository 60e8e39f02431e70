#!/bin/sh
# Run commands every day at a time in UTC: deploy/nightly.sh [--now] 02:00 "first command" "second command"
# For containers, where there is neither cron nor systemd. If a command fails, the next one still runs.
# SIGTERM ends the wait, and the command that runs.
# With --now, the commands also run at the start. If one of them fails then, the script ends with status 1 after the last
# one, so that Docker starts it again: after a reboot, the database may not be ready yet.
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
at=$((${hours#0} * 3600 + ${minutes#0} * 60)) # without the leading zero, which would make it octal

say() { echo "$(date --utc +%Y-%m-%dT%H:%M:%SZ) $*"; }

trap 'kill "${!-}" 2>/dev/null || true; exit 143' TERM INT # $! is the command that runs

# In the background: a shell that waits for a command in the foreground reacts to a signal only after its end.
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
    # From 1 to 86400 seconds: never 0, so that a short command does not run twice in the same second.
    seconds=$(((at - $(date +%s) % 86400 + 2 * 86400 - 1) % 86400 + 1))
    say "waits until $start UTC"
    wait_for sleep "$seconds"
    run "$@" || true
done
