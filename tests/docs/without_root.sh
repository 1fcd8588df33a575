#!/bin/sh
# without_root.sh RUN: the script RUN, started by somebody who is not root and has no sudo, stops with status 2 and the line for
# an administrator, and calls no apt-get.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cp "$1" "$work/run"
for tool in bash dirname; do ln -s "$(command -v "$tool")" "$work/bin/$tool"; done
printf '#!/bin/sh\necho apt-get was called\n' >"$work/bin/apt-get"
chmod -R a+rX,u+w "$work"
chmod a+x "$work/bin/apt-get"
somebody=
[ "$(id -u)" -ne 0 ] || somebody='setpriv --reuid=65534 --regid=65534 --clear-groups'
status=0
# shellcheck disable=SC2086
output=$(cd / && $somebody env PATH="$work/bin" bash "$work/run" setup one=no-such-program two=/no/such/file 2>&1) || status=$?
line=$(printf '%s\n' "$output" | grep '^  apt-get install ' || true)
case "$status $line " in
  '2   apt-get install '*' one two '*) ;;
  *) printf 'FAILED: status %s, printed:\n%s\n' "$status" "$output" && exit 1 ;;
esac
if printf '%s\n' "$output" | grep -q 'was called'; then
  printf 'FAILED: apt-get was called:\n%s\n' "$output"
  exit 1
fi
