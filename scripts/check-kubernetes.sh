#!/usr/bin/env bash
# Holds docker/kubernetes to the schemas of Kubernetes, and its settings to the program.
#
#   scripts/check-kubernetes.sh PROGRAM     the folder of sluicegate

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

[ $# -eq 1 ] || fail "which sluicegate? give the folder of the program"
python="$SLUICEGATE_CACHE/kubernetes-validate"
if ! "$python/bin/python" -c 'import kubernetes_validate' 2>/dev/null; then
    need_packages python3-venv
    rm -rf "$python"
    mkdir -p "$SLUICEGATE_CACHE"
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
fi
command -v kubectl >/dev/null ||
    say "no kubectl here: files are checked one by one, and the overlays are NOT built"
"$python/bin/python" scripts/check-kubernetes.py "$1"
