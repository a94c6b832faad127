#!/usr/bin/env bash
# Makes the three backups of this folder anew, with a real MariaDB server and mariadb-backup: a full backup of a small
# shop, and two incrementals, each based on the one before. The rows are always the same; the bytes are not (MariaDB
# writes times and log positions into them), so README.md's digests must be renewed after a run.
# Needs: mariadb-server, mariadb-backup, gzip. As root, the server runs as the user `mysql`.
set -euo pipefail
shopt -s inherit_errexit

out=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d /tmp/quickstart.XXXXXX)
server=
cleanup() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

user=()
if [[ $(id -u) = 0 ]]; then user=(--user=mysql); chown mysql: "$tmp"; fi

# A small data directory: what a backup holds should be the shop, not the server's own empty space.
cat >"$tmp/my.cnf" <<CNF
[mysqld]
datadir=$tmp/data
socket=$tmp/s
pid-file=$tmp/pid
tmpdir=$tmp
lc-messages-dir=/usr/share/mysql
skip-networking
skip-log-bin
performance_schema=off
innodb_data_file_path=ibdata1:4M:autoextend
innodb_autoextend_increment=1
innodb_log_file_size=4M
innodb_undo_tablespaces=0
innodb_buffer_pool_size=32M
innodb_buffer_pool_dump_at_shutdown=off
innodb_purge_rseg_truncate_frequency=1
character-set-server=utf8mb4
[client]
socket=$tmp/s
CNF

mariadb-install-db --defaults-file="$tmp/my.cnf" "${user[@]}" --auth-root-authentication-method=normal \
    --skip-test-db --skip-name-resolve >"$tmp/install.log" 2>&1 || { cat "$tmp/install.log" >&2; exit 1; }
mariadbd --defaults-file="$tmp/my.cnf" "${user[@]}" >"$tmp/server.log" 2>&1 &
server=$!
sql() { mariadb --defaults-file="$tmp/my.cnf" -u root --batch --skip-column-names "$@"; }
until sql -e 'SELECT 1' >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { cat "$tmp/server.log" >&2; exit 1; }
    sleep 0.1
done

# The manual pages of the SQL client, which every incremental would carry whole.
sql mysql -e 'TRUNCATE help_topic; TRUNCATE help_keyword; TRUNCATE help_relation; TRUNCATE help_category'
sql -e 'CREATE DATABASE shop'
sql shop -e "CREATE TABLE orders (
    id INT UNSIGNED PRIMARY KEY, placed DATETIME NOT NULL, customer VARCHAR(60) NOT NULL, email VARCHAR(80) NOT NULL,
    city VARCHAR(30) NOT NULL, item VARCHAR(40) NOT NULL, quantity TINYINT UNSIGNED NOT NULL,
    cents INT UNSIGNED NOT NULL, status ENUM('placed', 'paid', 'shipped', 'returned') NOT NULL,
    tracking CHAR(18) NOT NULL, KEY (placed)) ENGINE=InnoDB"

# orders FIRST LAST: everything in a row follows from its number.
orders() {
    sql shop -e "INSERT INTO orders
    SELECT n, '2013-05-01' + INTERVAL n * 97 + h % 89 SECOND, CONCAT(first, ' ', last),
        CONCAT(LOWER(first), '.', LOWER(last), h % 97, '@example.', ELT(1 + h % 3, 'com', 'org', 'net')),
        ELT(1 + (h DIV 7) % 12, 'Lisbon', 'Porto', 'Madrid', 'Lyon', 'Gent', 'Bremen', 'Oslo', 'Turku', 'Riga', 'Gdansk', 'Brno', 'Graz'),
        CONCAT(ELT(1 + (h DIV 11) % 6, 'oak', 'walnut', 'steel', 'linen', 'wool', 'glass'), ' ',
            ELT(1 + (h DIV 13) % 9, 'table', 'lamp', 'shelf', 'chair', 'vase', 'rug', 'desk', 'stool', 'mirror')),
        1 + h % 4, (1 + h % 4) * (995 + 500 * ((h DIV 17) % 120)), ELT(1 + LEAST(3, h % 29 DIV 9), 'shipped', 'paid', 'placed', 'returned'),
        CONCAT('BH', UPPER(SUBSTR(MD5(n), 1, 14)), 'PT')
    FROM (SELECT seq AS n, CRC32(CONCAT('order', seq)) AS h,
        ELT(1 + CRC32(CONCAT('first', seq)) % 16, 'Ana', 'Bruno', 'Carla', 'David', 'Elena', 'Filip', 'Greta', 'Hugo', 'Ines',
            'Jonas', 'Karin', 'Luis', 'Marta', 'Nils', 'Olga', 'Pedro') AS first,
        ELT(1 + CRC32(CONCAT('last', seq)) % 16, 'Almeida', 'Berg', 'Costa', 'Dahl', 'Esteves', 'Fischer', 'Gomes', 'Holm', 'Ivanov',
            'Jansen', 'Kowalski', 'Lopes', 'Moreau', 'Novak', 'Olsen', 'Pereira') AS last
        FROM seq_$1_to_$2) AS x ORDER BY n"
}

# backup NAME BASE: streams a backup to orders-NAME.xbstream.gz, and keeps its log positions for the next one.
backup() {
    # Dirty pages go to disk first: what lies only in the redo log would be in this backup and again in the next.
    sql -e 'SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0'
    until [[ $(sql -e "SELECT variable_value FROM information_schema.global_status
        WHERE variable_name = 'innodb_buffer_pool_pages_dirty'") = 0 ]]; do kill -0 "$server"; sleep 0.1; done
    local base=()
    if [[ -n ${2:-} ]]; then base=(--incremental-basedir="$tmp/$2"); fi
    mariadb-backup --defaults-file="$tmp/my.cnf" --backup --user=root --stream=xbstream --extra-lsndir="$tmp/$1" \
        "${base[@]}" 2>"$tmp/$1.log" | gzip -9n >"$tmp/$1.gz" || { cat "$tmp/$1.log" >&2; exit 1; }
    grep -q 'completed OK!' "$tmp/$1.log"
    cp "$tmp/$1.gz" "$out/orders-$1.xbstream.gz"
}

orders 1 30000
backup full
orders 30001 36000
sql shop -e "UPDATE orders SET status = 'shipped' WHERE id BETWEEN 29001 AND 30000 AND status = 'paid'"
backup inc1 full
orders 36001 40000
sql shop -e "DELETE FROM orders WHERE id BETWEEN 101 AND 200"
backup inc2 inc1

cd "$out"
sha256sum orders-*.xbstream.gz
