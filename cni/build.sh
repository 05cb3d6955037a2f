#!/bin/sh
# Builds the CNI plugin that is checked in: cni/loam-cni.amd64 and .arm64. With --check, builds it elsewhere and compares.
# Prebuilt for the same reason as the BPF objects, and by the same compiler (bpf/compiler.txt); no library is linked, so that both are made on any
# machine. Exit codes: 1 differs or does not compile, 2 wrong use, 3 compiler missing, 4 another compiler.
set -eu
cd "$(dirname "$0")"
say() { printf 'cni/build.sh: %s\n' "$*" >&2; }

case "${1:-}" in
'') out=. ;;
--check) out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT ;;
*) say "unknown argument $1; allowed: --check"; exit 2 ;;
esac

for tool in clang-19 ld.lld-19; do
  command -v "$tool" >/dev/null 2>&1 && continue
  say "CNI_COMPILER_MISSING: there is no $tool; on Debian 12: apt-get install clang-19 lld-19"
  exit 3
done
wanted=$(sed -n 1p ../bpf/compiler.txt)
found=$(clang-19 --version | sed -n 1p)
if [ "$found" != "$wanted" ]; then
  say "CNI_COMPILER_OTHER: this is \"$found\", the plugin is made with \"$wanted\": its output cannot be compared"
  exit 4
fi

failed=0
for target in amd64:x86_64 arm64:aarch64; do
  name=loam-cni.${target%%:*}
  # Else it would call a library that is not linked.
  case "$target" in arm64:*) own=-mno-outline-atomics ;; *) own= ;; esac
  clang-19 --target="${target##*:}-linux-gnu" -std=c17 -Os -ffreestanding -fno-stack-protector -fno-builtin \
    -fno-asynchronous-unwind-tables -fno-pic $own -Wall -Wextra -Werror -Wno-unused-command-line-argument \
    -nostdlib -static -fuse-ld=lld-19 -Wl,--build-id=none,--strip-all,-z,noexecstack,-z,separate-code \
    -ffile-prefix-map="$PWD"=. loam-cni.c -o "$out/$name"
  chmod 755 "$out/$name"
  [ "$out" = . ] || cmp -s "$name" "$out/$name" || {
    say "CNI_PLUGIN_DIFFERS: $name is not what loam-cni.c compiles to; run cni/build.sh and commit the result"
    failed=1
  }
done
[ "$out" = . ] || [ "$failed" != 0 ] || say "the plugin is what its source compiles to"
exit "$failed"
