# What the packages bring, and what becomes of it. Sourced by ../test-package.sh.
# shellcheck shell=bash disable=SC2154 # root, packages and work are that script's

check_packages() {
    local package program said
    for package in "$packages"/sluicegate_*.deb "$packages"/sluicegen_*.deb; do
        said=$(dpkg-deb --info "$package")
        has "$said" "Architecture: $(dpkg --print-architecture)" "Depends: " "libc6 (>= 2." "Maintainer: " "Section: net"
        said=$(dpkg-deb --contents "$package")
        has "$said" /usr/bin/ /usr/share/man/man1/ /usr/share/bash-completion/completions/ \
            /usr/share/zsh/vendor-completions/_ /usr/share/fish/vendor_completions.d/ /usr/lib/systemd/system/ \
            /copyright /changelog.Debian.gz /THIRD-PARTY.txt
        program=$(basename "$package" | cut -d_ -f1)
        dpkg-deb --fsys-tarfile "$package" | tar -xO "./usr/bin/$program" >"$work/program"
        said=$(readelf --section-headers --wide "$work/program")
        [[ $said == *.text* && $said != *.debug_line* ]] || fail "$package: $program is not stripped"
    done
    has "$(dpkg-deb --info "$packages"/sluicegate_*.deb)" adduser
    dpkg-deb --ctrl-tarfile "$packages"/sluicegate_*.deb | tar -xO ./conffiles >"$work/conffiles"
    has "$(cat "$work/conffiles")" /etc/sluicegate/sluicegate.yaml /etc/sluicegate/sluicegate.env
    say "$(du -k "$packages"/*.deb | awk '{ printf "%s KiB %s  ", $1, $2 }' | sed "s|$packages/||g")"
}

check_installed() {
    local program page said
    for program in sluicegate sluicegen; do
        is "$(inside sh -c "file=/usr/bin/$program; test -x \$file && $program --version | cut -d' ' -f1")" "$program"
        said=$(inside bash -c ". /usr/share/bash-completion/completions/$program && complete -p $program")
        has "$said" "_$program"
        is "$(inside dpkg --verify "$program" | grep -v /etc/ || true)" ""
    done
    inside sh -c 'cd /root/packages && apt-get install -y -qq man-db bash-completion' >/dev/null 2>&1
    for page in sluicegate sluicegate-serve sluicegate-migrate sluicegate-config sluicegen sluicegen-serve sluicegen-run; do
        said=$(inside env MANWIDTH=100 man --warnings --pager=cat "$page" 2>&1) || fail "man $page: $said"
        has "$(tr -s '[:space:]' ' ' <<<"$said")" "NAME $page - " SYNOPSIS "${page//-/ } [" OPTIONS
        [[ $said != *"warning:"* ]] || fail "man $page: $said"
    done
    has "$(inside apropos sluicegate)" "sluicegate-serve (1)"
    # Completion as somebody at a terminal has it: after "sluicegate mi" there is one way to go on.
    said=$(inside bash -c '. /usr/share/bash-completion/completions/sluicegate
        COMP_WORDS=(sluicegate mi) COMP_CWORD=1; _sluicegate sluicegate mi sluicegate; echo "${COMPREPLY[@]}"')
    is "$said" migrate
    said=$(inside sluicegate config --config /etc/sluicegate/sluicegate.yaml)
    has "$said" "grpc_addr: 127.0.0.1:50051" "linger_ms: 1"
    said=$(inside systemctl is-enabled sluicegen || true)
    is "$said" disabled
    is "$(inside stat --format '%a %U %G' /var/lib/sluicegate)" "700 sluicegate sluicegate"
}

# The same database without a password: MariaDB knows the user at the other end of its socket.
check_socket_user() {
    local env=$root/etc/sluicegate/sluicegate.env
    sed -n '/^```sql$/,/^```$/p' docs/packages.md | grep -v '^```' | sed 's/^CREATE USER/ALTER USER/' >"$root/root/user.sql"
    inside sh -c 'mariadb </root/user.sql'
    sed -i 's|^SLUICEGATE_DATABASE_URL=.*|SLUICEGATE_DATABASE_URL=mysql://sluicegate@localhost/sluicegate?socket=/run/mysqld/mysqld.sock|' "$env"
    inside systemctl restart sluicegate
    has "$(property sluicegate StatusText)" "takes readings"
    has "$(inside sluicegen run --count 1000 2>&1)" "1,000"
}

check_embedded() {
    local env=$root/etc/sluicegate/sluicegate.env main
    cp -p "$env" "$root/root/env"
    sed -i -e 's/^SLUICEGATE_DATABASE_URL/#&/' -e 's/^#SLUICEGATE_EMBEDDED_DB/SLUICEGATE_EMBEDDED_DB/' "$env"
    inside systemctl restart sluicegate
    has "$(property sluicegate StatusText)" "takes readings"
    inside sluicegen run --count 1000 >/dev/null 2>&1
    main=$(property sluicegate MainPID)
    has "$(inside sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" " "')" "--datadir=/var/lib/sluicegate/database"
    inside systemctl stop sluicegate
    is "$(property sluicegate Result)" success
    is "$(inside sh -c "pgrep --full '[d]atadir='/var/lib/sluicegate || true")" ""
    holds "its data stays" inside test -d /var/lib/sluicegate/database
    holds "nothing is forbidden that it needs" inside sh -c \
        '! grep -iE "operation not permitted|permission denied" /var/lib/sluicegate/database/*.log'
    cat "$root/root/env" >"$env"
    inside systemctl start sluicegate
    has "$(property sluicegate StatusText)" "takes readings"
}

check_generator() {
    echo 'SLUICEGEN_ARGUMENTS=--rate 500 --start --journal-dir /var/lib/sluicegen/journals' >>"$root/etc/default/sluicegen"
    inside systemctl start sluicegen
    until_so 30 "it listens" eval 'inside curl --silent --fail --max-time 5 --output /dev/null http://127.0.0.1:9000/api/v1/stats'
    # A user that is there only meanwhile has one of these numbers.
    holds "it has a user of its own" inside sh -c \
        'user=$(stat --format %u "/proc/$(systemctl show --value -p MainPID sluicegen)"); [ "$user" -ge 61184 ] && [ "$user" -le 65519 ]'
    sleep 2
    inside systemctl stop sluicegen
    is "$(property sluicegen Result)" success
    holds "a journal is there" inside sh -c 'ls /var/lib/sluicegen/journals/* >/dev/null'
    echo 'SLUICEGEN_ARGUMENTS=--rate never' >>"$root/etc/default/sluicegen"
    inside systemctl start sluicegen || true
    until_so 30 "it has failed" eval '[ "$(property sluicegen ActiveState)" = failed ]'
    is "$(property sluicegen NRestarts)" 0
    inside systemctl reset-failed sluicegen
}

# The package of a later revision, with another default.
later() {
    local tree=$work/later
    dpkg-deb --raw-extract "$packages"/sluicegate_*.deb "$tree"
    sed -i 's/^Version: .*-1$/Version: 9.0.0-1/' "$tree/DEBIAN/control"
    echo '# A later default.' >>"$tree/etc/sluicegate/sluicegate.yaml"
    dpkg-deb --root-owner-group -Znone --build "$tree" "$root/root/packages/later.deb" >/dev/null
    rm -rf "$tree"
}

check_upgrade() {
    local before
    later
    echo '# A change of the owner.' >>"$root/etc/sluicegate/sluicegate.yaml"
    before=$(property sluicegate MainPID)
    inside apt-get install -y -qq -o Dpkg::Options::=--force-confold /root/packages/later.deb >/dev/null 2>&1
    is "$(inside dpkg-query --show --showformat '${Version}' sluicegate)" 9.0.0-1
    has "$(cat "$root/etc/sluicegate/sluicegate.yaml")" "# A change of the owner."
    has "$(cat "$root/etc/sluicegate/sluicegate.yaml.dpkg-dist")" "# A later default."
    is "$(inside stat --format '%a %U' /etc/sluicegate/sluicegate.env)" "600 root"
    is "$(property sluicegate ActiveState)" active
    holds "the new program runs" [ "$(property sluicegate MainPID)" != "$before" ]
    has "$(property sluicegate StatusText)" "takes readings"
    is "$(inside systemctl is-enabled sluicegate)" enabled
    # One that was stopped stays so.
    inside systemctl stop sluicegate
    inside dpkg --install --force-downgrade --force-confold "$(cd "$root" && ls root/packages/sluicegate_*.deb | sed 's|^|/|')" >/dev/null 2>&1
    is "$(property sluicegate ActiveState)" inactive
    inside systemctl start sluicegate
}

check_removal() {
    inside apt-get remove -y -qq sluicegate sluicegen >/dev/null 2>&1
    is "$(inside sh -c 'pgrep --exact sluicegate || true')" ""
    holds "the program is gone" inside sh -c '! command -v sluicegate'
    holds "settings stay" inside test -f /etc/sluicegate/sluicegate.env
    inside apt-get purge -y -qq sluicegate sluicegen >/dev/null 2>&1
    holds "settings are gone" inside sh -c '! ls -d /etc/sluicegate /etc/default/sluicegen 2>/dev/null'
    holds "data stays" inside test -d /var/lib/sluicegate/database
    holds "and so does its user" inside getent passwd sluicegate
    inside rm -r /var/lib/sluicegate/database
    inside sh -c 'cd /root/packages && apt-get install -y -qq ./sluicegate_*.deb && apt-get purge -y -qq sluicegate' >/dev/null 2>&1
    holds "nothing is left" inside sh -c '! ls -d /etc/sluicegate /var/lib/sluicegate 2>/dev/null && ! getent passwd sluicegate'
    is "$(inside systemctl list-unit-files --no-legend --no-pager 'sluice*')" ""
    is "$(inside dpkg --audit)" ""
}
