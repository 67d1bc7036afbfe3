#!/usr/bin/env bash
# Makes a site of the book: target/book/index.html. Builds mdBook the first time, which takes some minutes.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

MDBOOK=0.5.4

need_packages build-essential python3 ca-certificates
need_cargo
mdbook="$SLUICEGATE_CACHE/mdbook-$MDBOOK/bin/mdbook"

install_mdbook() {
    # Without the parts that serve and watch.
    cargo install --quiet --locked --root "$SLUICEGATE_CACHE/mdbook-$MDBOOK" --version "=$MDBOOK" \
        --no-default-features --features search mdbook
}
[ -x "$mdbook" ] || step "building mdBook $MDBOOK" install_mdbook

out="$(realpath -m "$TARGET")/book"
rm -rf "$out"
mkdir -p "$(dirname "$out")"
"$mdbook" build docs --dest-dir "$out"
python3 scripts/docs/site.py "$out"
say "the book is in $out/index.html"
