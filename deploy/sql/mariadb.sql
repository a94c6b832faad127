-- The database of the checkpoints, for MariaDB and MySQL: mariadb < mariadb.sql, as root.
-- Two users. `backhaul_owner` makes the tables: the first run, and the first one after an upgrade, is his. `backhaul` does
-- all the rest and can neither make nor change nor drop a table. Neither can log in before
-- ALTER USER … IDENTIFIED BY '…' ACCOUNT UNLOCK;
-- `%` is every host: name yours. What Trove's own database asks for is in docs/openstack.md.
CREATE DATABASE backhaul CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER 'backhaul_owner'@'%' ACCOUNT LOCK;
CREATE USER 'backhaul'@'%' ACCOUNT LOCK;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON backhaul.* TO 'backhaul_owner'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON backhaul.* TO 'backhaul'@'%';
