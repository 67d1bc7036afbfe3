#!/usr/bin/env bash
# Holds docker/grafana/dashboards to Grafana's own schema.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

# Its models are generated from that schema. The epoch belongs to the version.
wanted='1769699379!11.6.0'
python="$SLUICEGATE_CACHE/grafana-schema"
if [ "$(cat "$python/version" 2>/dev/null)" != "$wanted" ]; then
    need_packages python3-venv
    rm -rf "$python"
    mkdir -p "$SLUICEGATE_CACHE"
    python3 -m venv "$python"
    if ! "$python/bin/pip" install --quiet --disable-pip-version-check "grafana-foundation-sdk==$wanted"; then
        say "Grafana's schema cannot be had here: the dashboards are NOT held to it"
        exit 0
    fi
    printf '%s' "$wanted" >"$python/version"
fi
"$python/bin/python" scripts/check-dashboards.py
