"""MariaDB servers of their own: one with a small shop, of which the real mariadb-backup makes a chain of three, and one on
what was restored. The shop is as in plans/quickstart."""
import getpass
import os
import shutil
import subprocess
import tempfile
import time

import trovecode
from contents import Backup
from services import Failed

CHAIN = tuple(Backup(name, 5_000_000, '10.11', 'mariadb', parent=parent)
              for name, parent in (('shop-full', None), ('shop-inc1', 'shop-full'), ('shop-inc2', 'shop-inc1')))

TABLE = """CREATE TABLE orders (
    id INT UNSIGNED PRIMARY KEY, placed DATETIME NOT NULL, customer VARCHAR(60) NOT NULL, email VARCHAR(80) NOT NULL,
    city VARCHAR(30) NOT NULL, item VARCHAR(40) NOT NULL, quantity TINYINT UNSIGNED NOT NULL,
    cents INT UNSIGNED NOT NULL, status ENUM('placed', 'paid', 'shipped', 'returned') NOT NULL,
    tracking CHAR(40) NOT NULL, KEY (placed)) ENGINE=InnoDB"""

# Everything in a row follows from its number.
ROWS = """INSERT INTO orders SELECT seq, '2013-05-01' + INTERVAL seq * 97 SECOND, MD5(seq),
    CONCAT(MD5(seq + 1), '@example.org'), LEFT(MD5(seq + 2), 12), MD5(seq + 3), 1 + seq %% 4, seq %% 60000, 1 + seq %% 4,
    SHA1(seq) FROM seq_%d_to_%d"""

# What happens before each backup.
STEPS = {
    'shop-full': (TABLE, ROWS % (1, 12000)),
    'shop-inc1': (ROWS % (12001, 14000), "UPDATE orders SET status = 'shipped' WHERE id BETWEEN 9001 AND 10000"),
    'shop-inc2': (ROWS % (14001, 16000), 'DELETE FROM orders WHERE id BETWEEN 101 AND 200'),
}

# Every column of every row.
SUM = """SELECT CONCAT('orders=', COUNT(*), ' last=', MAX(id), ' cents=', SUM(cents), ' checksum=', LOWER(LPAD(HEX(BIT_XOR(CAST(
    CONV(LEFT(MD5(CONCAT_WS('|', id, placed, customer, email, city, item, quantity, cents, status, tracking)), 16), 16, 10)
    AS UNSIGNED))), 16, '0'))) FROM shop.orders"""

OPTIONS = """[mysqld]
datadir={folder}/data
socket={folder}/s
pid-file={folder}/pid
tmpdir={folder}
lc-messages-dir=/usr/share/mysql
skip-networking
skip-log-bin
performance_schema=off
innodb_data_file_path=ibdata1:4M:autoextend
innodb_log_file_size=4M
innodb_undo_tablespaces=0
innodb_buffer_pool_size=32M
innodb_buffer_pool_dump_at_shutdown=off
innodb_max_dirty_pages_pct=0
innodb_max_dirty_pages_pct_lwm=0
character-set-server=utf8mb4
[client]
socket={folder}/s
"""


class Server:
    """A server in a folder that goes with it; not below TMPDIR, as a socket's path is short."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='backhaul-', dir='/tmp')
        self.options, self.process = self.folder + '/my.cnf', None
        with open(self.options, 'w') as file:
            file.write(OPTIONS.format(folder=self.folder))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)

    def install(self):
        _run(['mariadb-install-db', '--defaults-file=' + self.options, '--user=' + getpass.getuser(),
              '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'])

    def start(self, *options):
        log = self.folder + '/log'
        with open(log, 'wb') as file:
            self.process = subprocess.Popen(
                ['mariadbd', '--defaults-file=' + self.options, '--user=' + getpass.getuser(), *options],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        while not self.answers():
            if self.process.poll() is not None:
                with open(log, errors='replace') as file:
                    raise Failed('the server does not start: ' + file.read()[-2000:])
            time.sleep(0.05)

    def _client(self, text, database):
        command = ['mariadb', '--defaults-file=' + self.options, '--user=root', '--batch', '--skip-column-names', database]
        return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def answers(self):
        return self._client('SELECT 1', 'mysql').returncode == 0

    def sql(self, text, database='mysql'):
        done = self._client(text, database)
        if done.returncode:
            raise Failed('%s: %s' % (text.split('(')[0], done.stderr))
        return done.stdout.strip()

    def rows(self):
        checked = self.sql('CHECK TABLE shop.orders EXTENDED')
        if not checked.endswith('\tstatus\tOK'):
            raise Failed('shop.orders: ' + checked)
        return self.sql(SUM)


class Shop(Server):
    """A server whose backups are made."""

    def __enter__(self):
        self.rows_of = {}
        try:
            self.install()
            self.start()
            # The client's manual, which every incremental would carry whole.
            self.sql('TRUNCATE help_topic; TRUNCATE help_keyword; TRUNCATE help_relation; TRUNCATE help_category; '
                     'CREATE DATABASE shop')
        except BaseException:
            self.__exit__()
            raise
        return self

    def runner(self, backup, id, parent):
        """The real runner of Trove, after what happened in the shop since the last one."""
        from backup.drivers import mariabackup
        for step in STEPS[backup.name]:
            self.sql(step, 'shop')
        self.rows_of[id] = self.rows()
        # What is only in the redo log would be in this backup, and in the next once more.
        while self.sql("SELECT variable_value FROM information_schema.global_status "
                       "WHERE variable_name = 'innodb_buffer_pool_pages_dirty'") != '0':
            time.sleep(0.05)
        mariabackup.DEFAULTS_FILE = self.options
        base = mariabackup.MariaBackupIncremental if parent else mariabackup.MariaBackup
        return trovecode.counted(base, '%s/%s.log' % (self.folder, id))


def _run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed('%s: %s' % (command[0], done.stdout[-2000:]))
