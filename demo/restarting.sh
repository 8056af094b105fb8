#!/bin/sh
# Run a command, and run it again whenever it ends, after 1 s, 2 s, 4 s, ... 30 s; not after exit code 2, which says that
# only the user can mend it. Ends with the command on SIGTERM, and with the process $UP, however that ends.
stopping='' child='' pause=1

stop() {
  stopping=yes
  test "$child" && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT HUP

# Where $UP was killed it told nobody; then the process group, which is ours alone, is told here.
(
  while kill -0 "$UP" && kill -0 $$; do sleep 1; done
  kill -TERM 0
) >/dev/null 2>&1 &
watcher=$!

# Wait for the child to its very end: a signal that is trapped ends a `wait` before.
await() {
  while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || return
  done
}

while test -z "$stopping"; do
  began=$(date +%s)
  "$@" &
  child=$!
  test "$stopping" && stop # it came in between
  await
  test "$stopping" || test "$code" -eq 2 && break
  test $(($(date +%s) - began)) -ge 60 && pause=1
  echo "$* ended with exit code $code; it is started again in $pause s" >&2
  sleep "$pause" >/dev/null 2>&1 &
  child=$!
  await
  pause=$((pause * 2))
  test "$pause" -gt 30 && pause=30
done
kill "$watcher" 2>/dev/null
exit "$code"
