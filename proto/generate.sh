#!/bin/sh
# Generates proto/gen from the .proto files; with --check compares instead and fails on a difference.
# Needs protoc (Debian: protobuf-compiler) and the package's own dev dependencies.
set -eu
cd "$(dirname "$0")"
command -v protoc >/dev/null || { echo "generate.sh: protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
find . -name '*.proto' | sed 's,^\./,,' | sort | xargs protoc -I . \
  --plugin=protoc-gen-es=../node_modules/.bin/protoc-gen-es \
  --es_out="$out" --es_opt=target=js+dts,import_extension=js
if [ "${1:-}" = --check ]; then
  diff -r "$out" gen || { echo "generate.sh: proto/gen differs from what the .proto files generate; run: npm run gen" >&2; exit 1; }
  echo "proto/gen is up to date"
else
  rm -rf gen && mkdir gen && cp -r "$out"/. gen/
fi
