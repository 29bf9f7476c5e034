#!/bin/sh
# Installs skydht from a release:
#   curl -fsSL https://github.com/skydht/skydht/releases/latest/download/install.sh | sh
#
# SKYDHT_PREFIX    where to: PREFIX/bin, PREFIX/share [/usr/local as root, else ~/.local]
# SKYDHT_RELEASE   from where [https://github.com/skydht/skydht/releases/latest/download]
#
# The archive must have the SHA-256 that SHA256SUMS beside it names; else nothing is installed.
set -eu

fail() {
    echo "skydht: $*" >&2
    exit 1
}

fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsSL --retry 2 -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1"
    else
        fail "curl or wget is needed"
    fi || fail "cannot fetch $1"
}

# Called at the last line: of a script that was cut off, nothing runs.
main() {
    release=${SKYDHT_RELEASE:-https://github.com/skydht/skydht/releases/latest/download}
    if [ -n "${SKYDHT_PREFIX:-}" ]; then
        prefix=$SKYDHT_PREFIX
    elif [ "$(id -u)" = 0 ]; then
        prefix=/usr/local
    else
        prefix=${HOME:?is not set}/.local
    fi
    name=skydht-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM

    fetch "$release/SHA256SUMS" "$scratch/SHA256SUMS"
    sum=$(awk -v file="$name.tar.gz" '$2 == file || $2 == "*" file { print $1 }' "$scratch/SHA256SUMS")
    [ -n "$sum" ] || fail "$release has nothing for this machine: no $name.tar.gz"
    fetch "$release/$name.tar.gz" "$scratch/archive"
    if command -v sha256sum >/dev/null 2>&1; then
        is=$(sha256sum "$scratch/archive" | cut -d' ' -f1)
    elif command -v shasum >/dev/null 2>&1; then
        is=$(shasum -a 256 "$scratch/archive" | cut -d' ' -f1)
    else
        fail "sha256sum or shasum is needed to check what was fetched"
    fi
    [ "$is" = "$sum" ] || fail "$release/$name.tar.gz is not what SHA256SUMS names: $is, not $sum"

    tar -xzf "$scratch/archive" -C "$scratch"
    "$scratch/$name/bin/skydht" version >/dev/null || fail "the program does not run on this machine"
    mkdir -p "$prefix/bin" "$prefix/share"
    cp -R "$scratch/$name/share/." "$prefix/share/"
    # Beside its place first: a program that runs is replaced, not written into.
    cp "$scratch/$name/bin/skydht" "$prefix/bin/.skydht.new"
    mv -f "$prefix/bin/.skydht.new" "$prefix/bin/skydht"
    echo "$("$prefix/bin/skydht" version) installed: $prefix/bin/skydht"
    case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) echo "put it into PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
    echo "next: skydht demo"
}

main "$@"
