#!/usr/bin/env bash
# Fuzzes what reads the bytes of strangers, with libFuzzer under nightly Rust:
#
#   scripts/fuzz.sh                              every target, ten minutes each
#   scripts/fuzz.sh --seconds 60 message csv     these, for a minute each
#   scripts/fuzz.sh --keep                       and adds to service/fuzz/corpus what reached something new
#
# Two run at a time where there are two processors. What was found is in target/fuzz/artifacts: give it to `cargo fuzz run`.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

CARGO_FUZZ=0.13.2
seconds=600
keep=
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift ;;
        --keep) keep=yes ;;
        -*) fail "$1 is no option: see the top of this script" ;;
        *) targets+=("$1") ;;
    esac
    shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "--seconds is $seconds, but must be a whole number from 1"

need_packages build-essential ca-certificates
need_cargo
command -v rustup >/dev/null || fail "this needs rustup, for nightly Rust"
rustup run nightly rustc --version >/dev/null 2>&1 ||
    step "nightly Rust" rustup toolchain install nightly --profile minimal
if ! cargo fuzz --version >/dev/null 2>&1; then
    step "building cargo-fuzz $CARGO_FUZZ" cargo install --quiet --locked --version "=$CARGO_FUZZ" cargo-fuzz
fi

mapfile -t known < <(cargo +nightly fuzz list --fuzz-dir service/fuzz)
[ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
    [[ " ${known[*]} " == *" $target "* ]] || fail "$target is no target: there are ${known[*]}"
done

# Apart from what the other builds share: the sanitizer is in all of it.
folder=$(realpath -m "$TARGET/fuzz")
build=(--fuzz-dir service/fuzz --target-dir "$folder/build")
mkdir -p "$folder/logs"
step "building" cargo +nightly fuzz build "${build[@]}"
# Called by themselves, so that nothing is built again while they run.
programs="$folder/build/$(rustc +nightly --version --verbose | sed -n 's/^host: //p')/release"

# fuzz TARGET: new inputs go beside those that are kept.
fuzz() {
    mkdir -p "$folder/corpus/$1" "$folder/artifacts/$1"
    "$programs/$1" "$folder/corpus/$1" "service/fuzz/corpus/$1" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$folder/artifacts/$1/" >"$folder/logs/$1" 2>&1
}

failed=()
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
        # Whose end it is, is read from its log.
        wait -n || true
    done
    say "$target: for $seconds s"
    fuzz "$target" &
done
wait || true
for target in "${targets[@]}"; do
    log="$folder/logs/$target"
    if grep -q '^Done [0-9]* runs' "$log"; then
        say "$target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log") runs, nothing found; $(grep -o 'cov: [0-9]*' "$log" | tail -1) edges"
    else
        tail -n 40 "$log" >&2
        failed+=("$target")
    fi
    if [ -n "$keep" ]; then
        # What reaches an edge of the code that nothing kept does; how often it does so is no reason to keep more.
        "$programs/$target" "service/fuzz/corpus/$target" "$folder/corpus/$target" \
            -merge=1 -use_counters=0 -max_len=4096 >"$folder/logs/$target.merge" 2>&1
        say "$target: $(find "service/fuzz/corpus/$target" -type f | wc -l) inputs are kept"
    fi
done
[ ${#failed[@]} -eq 0 ] || fail "${failed[*]}: see $folder/artifacts"
say "nothing was found"
