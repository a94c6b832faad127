-- The database of the checkpoints: psql --set ON_ERROR_STOP=1 -f postgresql.sql postgres, as a superuser.
-- Two roles. `backhaul_owner` makes the tables: the first run, and the first one after an upgrade, is his. `backhaul` does
-- all the rest and can neither make nor change nor drop a table. Neither can log in before `\password ROLE` was said.
-- What Trove's own database asks for is in docs/openstack.md.
CREATE ROLE backhaul_owner LOGIN;
CREATE ROLE backhaul LOGIN;
CREATE DATABASE backhaul OWNER backhaul_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE backhaul FROM PUBLIC;
GRANT CONNECT ON DATABASE backhaul TO backhaul;
\connect backhaul
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO backhaul_owner;
GRANT USAGE ON SCHEMA public TO backhaul;
ALTER DEFAULT PRIVILEGES FOR ROLE backhaul_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO backhaul;
