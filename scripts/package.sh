#!/usr/bin/env bash
# Makes the Debian packages of both programs.
#
#   scripts/package.sh [FOLDER]     where they go; target/debian unless it is said

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

CARGO_DEB_VERSION=3.8.0
out=${1:-$TARGET/debian}
mkdir -p "$out"
out=$(cd "$out" && pwd)

need_packages build-essential pkg-config dpkg-dev python3 liblzma-dev
need_cargo

cargo_deb="$SLUICEGATE_CACHE/cargo-deb/bin/cargo-deb"
if [ "$("$cargo_deb" --version 2>/dev/null)" != "$CARGO_DEB_VERSION" ]; then
    step "cargo-deb" cargo install --quiet --locked --root "$SLUICEGATE_CACHE/cargo-deb" \
        --target-dir "$SLUICEGATE_CACHE/cargo-deb/build" "cargo-deb@$CARGO_DEB_VERSION"
    rm -rf "$SLUICEGATE_CACHE/cargo-deb/build"
fi

# The same sources make the same package.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
step "pages" scripts/page.sh
step "release build" cargo build --quiet --release --locked -p sluicegate -p sluicegen

# What the programs say of themselves, beside them.
describe() {
    local program=$1 folder="$TARGET/release/packaging/$1"
    rm -rf "$folder"
    mkdir -p "$folder/man" "$folder/completions"
    "$TARGET/release/$program" man-pages "$folder/man"
    gzip -9n "$folder"/man/*.1
    local shell
    for shell in bash zsh fish; do
        "$TARGET/release/$program" completions "$shell" >"$folder/completions/$shell"
    done
    scripts/third-party.py "$program" >"$folder/THIRD-PARTY.txt"
}

package() {
    local program
    for program in sluicegate sluicegen; do
        describe "$program"
        "$cargo_deb" --quiet --no-build --strip --locked -p "$program" --output "$out"
    done
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
grep -q "^sluicegate ($version-1)" service/packaging/debian/changelog ||
    fail "service/packaging/debian/changelog does not begin with version $version-1"
step "packages" package
for package in "$out/sluicegate_${version}-1_"*.deb "$out/sluicegen_${version}-1_"*.deb; do
    say "$package: $(du -k "$package" | cut -f1) KiB"
done
