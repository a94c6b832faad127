#!/usr/bin/env bash
# restore.sh DIR FULL [INCREMENTAL...]
# Restores a chain of gzipped mariadb-backup streams from DIR alone, starts a server on the result and prints one line:
#   orders=<rows> last=<highest id> cents=<sum> checksum=<16 hex digits over every column of every row>
# Anything that fails ends it with status 1 and one line on stderr. Uses no network; many may run at once.
# Needs: mariadb-server, mariadb-backup, gzip. As root, the server runs as the user `mysql`.
set -euo pipefail

if (($# < 2)); then echo "usage: restore.sh DIR FULL [INCREMENTAL...]" >&2; exit 2; fi
dir=$1
shift

tmp=$(mktemp -d /tmp/restore.XXXXXX) # not $TMPDIR: a socket's path is short, and `mysql` must get there
server=
cleanup() {
    if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# fail STAGE LOG: one line, with the last telling line of the log.
fail() {
    local why
    why=$(grep -aiE 'error|fail|corrupt|invalid|unexpected|not ' "$2" | tail -n 1 || true)
    echo "restore: $1: ${why:-$(tail -n 1 "$2")}" >&2
    exit 1
}

links=()
for name in "$@"; do
    link=$tmp/${#links[@]}
    mkdir "$link"
    [[ -f $dir/$name ]] || { echo "restore: $name: not in $dir" >&2; exit 1; }
    gzip -dc <"$dir/$name" 2>"$tmp/gzip.log" | mbstream -x -C "$link" 2>"$tmp/mbstream.log" || {
        if [[ -s $tmp/gzip.log ]]; then fail "unpack $name" "$tmp/gzip.log"; fi
        fail "unpack $name" "$tmp/mbstream.log"
    }
    links+=("$link")
done

full=${links[0]}
mariadb-backup --prepare --target-dir="$full" >"$tmp/log" 2>&1 || fail "prepare $1" "$tmp/log"
for ((i = 1; i < $#; i++)); do
    mariadb-backup --prepare --target-dir="$full" --incremental-dir="${links[i]}" >"$tmp/log" 2>&1 ||
        fail "apply ${*:i+1:1}" "$tmp/log"
done

user=()
if [[ $(id -u) = 0 ]]; then user=(--user=mysql); chown -R mysql: "$tmp"; fi
# backup-my.cnf is part of the backup: the layout of the data files as the source had it.
mariadbd --defaults-file="$full/backup-my.cnf" "${user[@]}" --datadir="$full" --tmpdir="$tmp" --socket="$tmp/s" \
    --pid-file="$tmp/pid" --skip-networking --skip-grant-tables --skip-log-bin --skip-slave-start \
    --innodb-buffer-pool-size=16M --innodb-flush-log-at-trx-commit=0 >"$tmp/log" 2>&1 &
server=$!
sql() { mariadb --no-defaults --socket="$tmp/s" --batch --skip-column-names -e "$1"; }
for ((tries = 300; ; tries--)); do
    if sql 'SELECT 1' >/dev/null 2>&1; then break; fi
    kill -0 "$server" 2>/dev/null && ((tries > 0)) || fail "start the server" "$tmp/log"
    sleep 0.1
done

sql 'CHECK TABLE shop.orders EXTENDED' >"$tmp/check" 2>&1 || fail "check shop.orders" "$tmp/check"
grep -qP '\tstatus\tOK$' "$tmp/check" || fail "check shop.orders" "$tmp/check"
sql "SELECT CONCAT('orders=', COUNT(*), ' last=', MAX(id), ' cents=', SUM(cents), ' checksum=', LOWER(LPAD(HEX(BIT_XOR(CAST(
    CONV(LEFT(MD5(CONCAT_WS('|', id, placed, customer, email, city, item, quantity, cents, status, tracking)), 16), 16, 10)
    AS UNSIGNED))), 16, '0'))) FROM shop.orders" >"$tmp/line" 2>"$tmp/query" || fail "read shop.orders" "$tmp/query"
cat "$tmp/line"
