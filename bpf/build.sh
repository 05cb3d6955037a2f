#!/bin/sh
# Builds the BPF objects that are checked in: bpf/*.bpf.o, and those of test/support/next-layout. With --check, builds them elsewhere and compares.
# The objects are prebuilt so that a node needs no compiler; to be comparable they are made by one exact compiler,
# named in bpf/compiler.txt. Exit codes: 1 differs or does not compile, 2 wrong use, 3 compiler missing,
# 4 another compiler.
set -eu
cd "$(dirname "$0")"
say() { printf 'bpf/build.sh: %s\n' "$*" >&2; }

case "${1:-}" in
'') out=. ;;
--check) scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT && out=$scratch/bpf ;;
*) say "unknown argument $1; allowed: --check"; exit 2 ;;
esac

clang=clang-19
strip=llvm-strip-19
for tool in "$clang" "$strip"; do
  command -v "$tool" >/dev/null 2>&1 && continue
  say "BPF_COMPILER_MISSING: there is no $tool; on Debian 12: apt-get install clang-19 llvm-19 libbpf-dev"
  exit 3
done
if [ ! -r /usr/include/bpf/bpf_helpers.h ]; then
  say "BPF_COMPILER_MISSING: there is no bpf/bpf_helpers.h; on Debian 12: apt-get install libbpf-dev"
  exit 3
fi

wanted=$(sed -n 1p compiler.txt)
found=$("$clang" --version | sed -n 1p)
if [ "$found" != "$wanted" ]; then
  say "BPF_COMPILER_OTHER: this is \"$found\", the objects are made with \"$wanted\": its output cannot be compared"
  exit 4
fi

failed=0
# compile OBJECT SOURCE [FLAG...]
compile() {
  object=$1
  source=$2
  shift 2
  # No path of the building machine inside; BTF stays (the loader needs it), DWARF goes.
  "$clang" -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter \
    -ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. "$@" -c "$source" -o "$out/$object"
  "$strip" -g "$out/$object"
  if [ "$out" = . ]; then return 0; fi
  if ! cmp -s "$object" "$out/$object"; then
    say "BPF_OBJECT_DIFFERS: $object is not what $source compiles to; run bpf/build.sh and commit the result"
    failed=1
  fi
}

# The same programs with another layout of their maps, for the tests of an upgrade.
next=../test/support/next-layout
mkdir -p "$out/$next"
for source in *.bpf.c; do
  compile "${source%.c}.o" "$source"
  # Observe mode's maps are no part of an upgrade: they begin empty (docs/decisions/0171).
  [ "$source" != observe.bpf.c ] || continue
  compile "$next/${source%.c}.o" "$source" -I. -include "$next/next.h"
done
[ "$out" = . ] || [ "$failed" != 0 ] || say "the objects are what the sources compile to"
exit "$failed"
