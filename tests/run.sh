#!/usr/bin/env bash
# Installs what the tests need, then format, lints, docs, all tests, the report in a browser and the readers nobody here wrote.
#
#   tests/run.sh             everything; the Python packages take some 2.5 GB in the user's cache and ten minutes, once
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
    command -v java >/dev/null || missing+=(default-jre-headless)    # Spark
    command -v psql >/dev/null || missing+=(postgresql-client)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v "${HUOPAN_REDIS_SERVER:-redis-server}" >/dev/null || missing+=(redis-server)
    command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
    [ -n "$(fc-list :lang=zh 2>/dev/null)" ] || missing+=(fonts-droid-fallback)    # Chinese, for the report's screenshots
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
# The tables of killed runs, of coverage, of pace and of nights are printed. Pace is measured alone: a process that does not
# get its turn on a core leaves later than it was granted.
cargo test --locked --test it -- --show-output --test-threads 1 pace::
cargo test --locked --test it -- --show-output --skip matrix:: --skip polled:: --skip pace::
cargo test --locked --test it -- --show-output --skip matrix::a_night_on_a_bucket matrix:: polled::    # on a bucket: by name
step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

[ "$quick" = no ] || exit 0
huopan="$CARGO_TARGET_DIR/debug/huopan"
work="$(mktemp -d)"
sim=
. tests/seaweedfs.sh
trap 'kill $sim 2>/dev/null || true; seaweedfs_stop; rm -rf "$work"' EXIT

# ── the report in a browser ─────────────────────────
step "report, in Chromium (pictures: $CARGO_TARGET_DIR/report)"
"$huopan" demo --quiet --lake "$work/demo" > /dev/null
python3 tests/report.py "$huopan" "$work/demo" "$CARGO_TARGET_DIR/report"

# ── readers that nobody here wrote ──────────────────

# The environment of Python packages that a requirements file names, made anew when the file changes.
environment() {
    local name="$1" venv="$cache/$1"
    if ! cmp -s "tests/$name-requirements.txt" "$venv/installed.txt"; then
        step "installing tests/$name-requirements.txt"
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "tests/$name-requirements.txt"
        cp "tests/$name-requirements.txt" "$venv/installed.txt"
    fi
}

# Two nights of a shop's gateway, one of a gateway of items, and captured answers with an offer that has no id, into the lake
# LAKE; its tables as they are published now into EXPORT.
fill() {
    local lake="$1" export="$2" pipelines="$3" day other
    mkdir -p "$pipelines"
    for pipeline in portals product-get; do
        sed "s#127\.0\.0\.1:1688#$address#; s#\.\./data/lake#$lake#; s#\.\./data/#$pipelines/#" \
            "pipelines/$pipeline.toml" > "$pipelines/$pipeline.toml"
    done
    # Two processes write into the lake at once.
    "$huopan" run --quiet "$pipelines/product-get.toml" &
    other=$!
    for day in $(date -u -d yesterday +%F) $(date -u +%F); do
        "$huopan" run --quiet "$pipelines/portals.toml" --dt "$day"
    done
    wait "$other"
    sed '1s/"item_id"/"was"/' data/sample/listing.jsonl > "$pipelines/captured.jsonl"
    sed "s#\.\./data/lake#$lake#; s#\.\./data/sample/#$pipelines/#" pipelines/files.toml > "$pipelines/files.toml"
    # Captured pages alone prove no shop whole.
    "$huopan" run --quiet "$pipelines/files.toml" --dt "$(date -u +%F)" || [ $? = 3 ]
    "$huopan" lake verify --lake "$lake"
    for profile in plain hive; do
        "$huopan" lake export --quiet --lake "$lake" --dt 2000-01-01..2999-12-31 --profile "$profile" "$export/$profile" \
            --table offers,price_tiers,skus,shops,quarantine,runs,calls,raw_pages > /dev/null
    done
}

"$huopan" sim --listen 127.0.0.1:0 > "$work/sim.txt" &
sim=$!
for _ in $(seq 100); do grep -q '^shops:' "$work/sim.txt" && break; sleep 0.1; done
address="$(grep -o '127\.0\.0\.1:[0-9]*' "$work/sim.txt" | head -n 1)"
export HUOPAN_APP_SECRET=sim-secret

environment readers
step "readers, from disk"
fill "$work/lake" "$work/export" "$work/pipelines"
"$cache/readers/bin/python" tests/readers.py "$huopan" "$work/lake" "$work/export/plain"
step "readers, over an export for Hive"
"$cache/readers/bin/python" tests/readers.py "$huopan" "$work/lake" "$work/export/hive"

environment clients
step "clients of the server, from disk"
"$cache/clients/bin/python" tests/clients.py "$huopan" "$work/lake"

environment contracts
step "contracts"
"$cache/contracts/bin/python" tests/contracts.py schemas/tables "$work/export/plain"

step "readers, from S3 (SeaweedFS)"
seaweedfs_start "$work/seaweedfs" "$cache/seaweedfs"
cargo test --locked --lib -- --exact --show-output store::tests::a_bucket_of_a_server_that_runs_elsewhere_conforms
fill "$HUOPAN_TEST_S3/lake" "$HUOPAN_TEST_S3/export" "$work/pipelines-s3"
"$cache/readers/bin/python" tests/readers.py "$huopan" "$HUOPAN_TEST_S3/lake" "$HUOPAN_TEST_S3/export/plain"
step "clients of the server, from S3 (SeaweedFS)"
"$cache/clients/bin/python" tests/clients.py "$huopan" "$HUOPAN_TEST_S3/lake"
