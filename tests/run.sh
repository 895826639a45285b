#!/usr/bin/env bash
# Installs what the tests need, then format, lints, docs, all tests and the readers nobody here wrote.
#
#   tests/run.sh             everything
#   tests/run.sh --quick     format, lints and tests only: nothing is installed
#
# Build output goes to CARGO_TARGET_DIR (default: huopan/target in the user's cache directory), so that fresh
# clones reuse it.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no
case "${1:-}" in
    --quick) quick=yes ;;
    "") ;;
    *) echo "usage: tests/run.sh [--quick]" >&2; exit 2 ;;
esac

cache="${XDG_CACHE_HOME:-$HOME/.cache}/huopan"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
step() { printf '\n== %s\n' "$*"; }

# ── what the tests need ─────────────────────────────
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
missing=()
command -v cargo >/dev/null || { echo "missing: cargo (install Rust with rustup, see README)" >&2; exit 1; }
command -v cc >/dev/null || missing+=(build-essential)
if [ "$quick" = no ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v "${HUOPAN_REDIS_SERVER:-redis-server}" >/dev/null || missing+=(redis-server)
fi
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        step "installing ${missing[*]}"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    else
        echo "missing: ${missing[*]} (sudo apt-get install ${missing[*]})" >&2
        exit 1
    fi
fi
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

# ── the project ─────────────────────────────────────
step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "tests"
cargo test --locked --lib
cargo test --locked --test it -- --show-output    # the tables of killed runs, of coverage, of pace and of nights
step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

# ── readers that nobody here wrote ──────────────────
[ "$quick" = no ] || exit 0
step "readers"
huopan="$CARGO_TARGET_DIR/debug/huopan"
venv="$cache/readers"
if ! cmp -s tests/readers-requirements.txt "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/readers-requirements.txt
    cp tests/readers-requirements.txt "$venv/installed.txt"
fi
work="$(mktemp -d)"
"$huopan" sim --listen 127.0.0.1:0 > "$work/sim.txt" &
sim=$!
trap 'kill "$sim" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do grep -q '^shops:' "$work/sim.txt" && break; sleep 0.1; done
address="$(grep -o '127\.0\.0\.1:[0-9]*' "$work/sim.txt" | head -n 1)"
mkdir "$work/pipelines"
sed "s/127\.0\.0\.1:1688/$address/; s#\.\./data/lake#$work/lake#" pipelines/product-get.toml > "$work/pipelines/product-get.toml"
"$huopan" demo --lake "$work/lake" > "$work/demo.txt"
HUOPAN_APP_SECRET=sim-secret "$huopan" run "$work/pipelines/product-get.toml"
"$venv/bin/python" tests/readers.py "$huopan" "$work/lake"
