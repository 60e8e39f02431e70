#!/bin/sh
# Update the service on a bare host: sudo deploy/update.sh [COMMIT]. The default is the latest commit of the repository.
# The commit before the update gets the tag before-update, and `sudo deploy/update.sh before-update` goes back to it.
# That makes no backup and runs no migration: the migrations stay applied, and the earlier code works with them.
# If the script stops, the command can be repeated.
set -eu
umask 022

units=${UNITS:-/etc/systemd/system}

step() {
    step=$1
    echo "== $step"
}

report() {
    [ $? -eq 0 ] || echo "The update has stopped at: $step. Fix the cause and repeat the command, or go back with:" \
        "sudo deploy/update.sh before-update" >&2
}

manage() { sudo -u countonme .venv/bin/python manage.py "$@"; }

# The health check of the service, with a time limit: systemd accepts connections also while the service can't start.
wait_until_ready() {
    curl --fail --silent --show-error --output /dev/null --max-time 10 --retry 10 --retry-all-errors \
        http://127.0.0.1:8000/readyz
}

install_units() {
    new_timers=
    for unit in deploy/systemd/*.timer; do
        [ -e "$units/${unit##*/}" ] || new_timers="$new_timers ${unit##*/}"
    done
    restarted=countonme.service
    cmp --silent deploy/systemd/countonme.socket "$units/countonme.socket" || restarted="countonme.socket $restarted"
    # Remove the units of other commits. Other files that begin with countonme belong to the operator.
    for unit in $(git log --all --format= --name-only -- deploy/systemd | sort --reverse --unique); do
        if [ -e "$units/${unit##*/}" ] && [ ! -e "$unit" ]; then
            systemctl disable --now "${unit##*/}"
            rm "$units/${unit##*/}"
        fi
    done
    install --mode 644 deploy/systemd/* "$units"
    systemctl daemon-reload
    [ -z "$new_timers" ] || systemctl enable --now $new_timers
}

main() {
    cd "$(dirname "$0")/.."
    [ "$(id -u)" -eq 0 ] || { echo "Run this as root: sudo deploy/update.sh $*" >&2; exit 1; }
    exec 9<deploy
    flock --nonblock 9 || { echo "Another update is running." >&2; exit 1; }
    trap report EXIT

    step "Get the code"
    git fetch --quiet origin
    before=$(git rev-parse HEAD)
    target=$(git rev-parse --verify --quiet "${1:-origin/HEAD}^{commit}") ||
        { echo "There is no commit ${1:-origin/HEAD}." >&2; exit 1; }
    migrates=yes
    if [ "$target" = "$before" ]; then : # the script has stopped before, or there is nothing new
    elif git merge-base --is-ancestor "$target" "$before"; then migrates=
    else
        git tag --force before-update >/dev/null
        step "Back up"
        systemctl start countonme-backup.service
    fi
    step "Install $(git log -1 --format='%h of %cs' "$target")"
    git checkout --quiet --detach "$target"
    make .venv/run
    step "Check the settings"
    manage check --deploy
    sudo -u countonme .venv/bin/gunicorn --check-config countonme.wsgi # its own settings, such as WEB_THREADS
    if [ "$migrates" ]; then
        step "Migrate the database"
        manage migrate
    fi
    step "Install the units"
    install_units
    step "Restart the service"
    systemctl restart $restarted
    wait_until_ready
    step "Correct the counters of the quotas" # the old code may have stored rows after the migration
    manage recount
    for file in deploy/nginx.conf deploy/journald.conf deploy/prometheus; do
        git diff --quiet "$before" HEAD -- $file ||
            echo "$file has changed. Copy the change yourself: git diff $before -- $file"
    done
    echo "Ready: $(git log -1 --format='%h of %cs')."
}

# The shell reads this file to its end before it runs main, which replaces the file.
main "$@"; exit
