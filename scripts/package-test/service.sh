# The service under systemd: started, broken and mended. Sourced by ../test-package.sh.
# shellcheck shell=bash disable=SC2154 # root is that script's

property() {
    inside systemctl show --value --property "$2" "$1"
}

status_begins() {
    [[ $(property sluicegate StatusText) == "$1"* ]]
}

readyz() {
    inside curl --silent --max-time 5 http://127.0.0.1:8080/readyz
}

# The commands of the paper, as they stand there.
newcomer() {
    sed -n '/^## The first readings/,/^## /p' docs/packages.md | sed -n '/^```sh/,/^```$/p' | grep -v '^```' \
        >"$root/root/newcomer.sh"
    holds "docs/packages.md has the commands" grep -q "systemctl enable --now sluicegate" "$root/root/newcomer.sh"
    local said
    said=$(inside sh -c 'cd /root/packages && sh -ex /root/newcomer.sh 2>&1') || fail "$said"
    has "$said" "systemctl enable --now sluicegate" '"ready":true' '"id2":"seattle"'
    is "$(inside mariadb --batch --skip-column-names -e 'SELECT COUNT(*) >= 100000 FROM sluicegate.sensor_readings')" 1
    is "$(property sluicegate ActiveState)" active
    has "$(property sluicegate StatusText)" "takes readings: gRPC on 127.0.0.1:50051, REST on 127.0.0.1:8080"
    # The password is for root alone.
    is "$(inside stat --format '%a %U' /etc/sluicegate/sluicegate.env)" "600 root"
    holds "nobody else reads the password" inside sh -c '! setpriv --reuid nobody cat /etc/sluicegate/sluicegate.env 2>/dev/null'
    has "$(inside journalctl --no-pager --unit sluicegate)" ready
    is "$(inside mariadb --batch --skip-column-names -e \
        "SELECT COUNT(*) > 0 FROM sluicegate.ingest_streams WHERE stream_id LIKE 'lane:gate-of-the-test/%'")" 1
}

check_units() {
    local said
    said=$(inside systemd-analyze verify sluicegate.service sluicegen.service 2>&1) || fail "$said"
    is "$(grep sluice <<<"$said" || true)" ""
    for unit in sluicegate sluicegen; do
        said=$(inside systemd-analyze security --threshold=19 --no-pager "$unit.service" 2>&1) || fail "$said"
        say "${said##*→ }"
    done
    local main
    main=$(property sluicegate MainPID)
    is "$(inside stat --format %U "/proc/$main")" sluicegate
    has "$(inside cat "/proc/$main/status")" "NoNewPrivs:	1" "Seccomp:	2" "CapEff:	0000000000000000"
    # As many as the unit says, or as this machine lets it have.
    holds "more files than connections" inside sh -c "awk '/^Max open files/ { exit \$4 < 4096 }' /proc/$main/limits"
}

check_absent_database() {
    inside systemctl stop mariadb
    until_so 60 "the status names the database" status_begins "not ready: "
    is "$(property sluicegate ActiveState)" active
    has "$(readyz)" '"ready":false'
    inside systemctl start mariadb
    until_so 60 "readings flow again" status_begins "takes readings"
    is "$(property sluicegate NRestarts)" 0
    # A start does not hang on it, and ends by itself.
    inside systemctl stop sluicegate mariadb
    inside systemctl start sluicegate
    has "$(property sluicegate StatusText)" "not ready: " "not reachable"
    is "$(property sluicegate ActiveState)" active
    inside systemctl start mariadb
    until_so 60 "readings flow once the database is there" status_begins "takes readings"
    is "$(property sluicegate NRestarts)" 0
}

check_restart() {
    inside sh -c 'cd /root && rm -f run.journal && exec sluicegen run --rate 20000 --duration 8s --journal run.journal >run.txt 2>&1' &
    local running=$!
    sleep 3
    inside systemctl restart sluicegate
    is "$(property sluicegate ActiveState)" active
    wait "$running" || fail "$(cat "$root/root/run.txt")"
    local said
    said=$(inside sluicegen verify --journal /root/run.journal --rest http://127.0.0.1:8080 2>&1) || fail "$said"
    has "$(inside journalctl --no-pager --unit sluicegate)" drained
    say "160,000 readings over a restart: nothing lost, stored twice or altered"
}

has_restarted() {
    [ "$(property sluicegate NRestarts)" -gt "$1" ] && status_begins "takes readings"
}

check_watchdog() {
    local restarts
    restarts=$(property sluicegate NRestarts)
    has "$(property sluicegate WatchdogUSec)" 30s
    inside mkdir -p /run/systemd/system/sluicegate.service.d
    inside sh -c 'printf "[Service]\nWatchdogSec=3\n" >/run/systemd/system/sluicegate.service.d/hasty.conf'
    inside systemctl daemon-reload
    inside systemctl restart sluicegate
    # Fed: it lives on for longer than the limit.
    sleep 8
    is "$(property sluicegate NRestarts)" 0
    inside systemctl kill --kill-whom main --signal STOP sluicegate
    until_so 60 "a process that stands still is replaced" has_restarted 0
    has "$(inside journalctl --no-pager --unit sluicegate)" "Watchdog timeout" "watchdog"
    inside rm -r /run/systemd/system/sluicegate.service.d
    inside systemctl daemon-reload
    inside systemctl restart sluicegate
}

# refused SENTENCE: a start fails at once with the sentence in log and status, and is not tried again.
refused() {
    local sentence=$1 log
    inside systemctl reset-failed sluicegate
    # A start that has failed after it had waited for the database is not its command's fault.
    inside systemctl restart sluicegate 2>/dev/null || true
    until_so 30 "the unit has failed" eval '[ "$(property sluicegate ActiveState)" = failed ]'
    is "$(property sluicegate ExecMainStatus)" 2
    is "$(property sluicegate NRestarts)" 0
    has "$(property sluicegate StatusText)" "$sentence"
    has "$(inside systemctl status --no-pager sluicegate || true)" "$sentence" "status=2"
    log=$(inside journalctl --no-pager --output cat "_SYSTEMD_INVOCATION_ID=$(property sluicegate InvocationID)")
    is "$(grep -c "^sluicegate: " <<<"$log")" 1
    has "$log" "sluicegate: $sentence"
}

check_wrong_settings() {
    local yaml=$root/etc/sluicegate/sluicegate.yaml env=$root/etc/sluicegate/sluicegate.env
    cp "$yaml" "$root/root/yaml" && cp -p "$env" "$root/root/env"
    printf 'ingest:\n  lains: 3\n' >>"$yaml"
    refused "/etc/sluicegate/sluicegate.yaml: ingest: unknown field \`lains\`"
    cat "$root/root/yaml" >"$yaml"
    echo SLUICEGATE_INGEST_LANES=65 >>"$env"
    refused "ingest.lanes is 65, but must be 1 to 64"
    echo SLUICEGATE_INGEST_LANES=many >>"$env"
    refused_by_clap
    cat "$root/root/env" >"$env"
    sed -i 's/a-password-of-yours/another/' "$env"
    refused "the database refuses access"
    sed -i 's/^SLUICEGATE_DATABASE_URL/#&/' "$env"
    refused "no database: give --database-url"
    cat "$root/root/env" >"$env"
    inside systemctl reset-failed sluicegate
    inside systemctl start sluicegate
    has "$(property sluicegate StatusText)" "takes readings"
}

refused_by_clap() {
    inside systemctl reset-failed sluicegate
    inside systemctl restart sluicegate 2>/dev/null && fail "it starts"
    is "$(property sluicegate ActiveState)" failed
    is "$(property sluicegate ExecMainStatus)" 2
    has "$(property sluicegate StatusText)" "invalid value 'many'" "--ingest-lanes"
}

# What may pass is tried again, but not for ever: the unit fails after five starts within a minute.
check_taken_port() {
    inside systemctl stop sluicegate
    inside systemd-run --quiet --unit taker sluicegen serve --addr 127.0.0.1:8080
    until_so 30 "the port is taken" eval 'inside curl --silent --fail --max-time 5 --output /dev/null http://127.0.0.1:8080/api/v1/stats'
    inside systemctl reset-failed sluicegate
    inside systemctl start --no-block sluicegate
    until_so 60 "the unit has failed" eval '[ "$(property sluicegate ActiveState)" = failed ]'
    is "$(property sluicegate ExecMainStatus)" 1
    holds "it was tried four times again" [ "$(property sluicegate NRestarts)" -ge 4 ]
    has "$(property sluicegate StatusText)" "cannot listen on 127.0.0.1:8080 (--rest-addr): Address already in use"
    inside systemctl stop taker
    inside systemctl reset-failed sluicegate
    inside systemctl start sluicegate
    has "$(property sluicegate StatusText)" "takes readings"
}
