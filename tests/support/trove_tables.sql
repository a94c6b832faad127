CREATE TABLE datastores (
  id VARCHAR(36) NOT NULL PRIMARY KEY, name VARCHAR(255) UNIQUE, default_version_id VARCHAR(36)
);
CREATE TABLE datastore_versions (
  id VARCHAR(36) NOT NULL PRIMARY KEY, datastore_id VARCHAR(36) REFERENCES datastores (id), name VARCHAR(255),
  image_id VARCHAR(36), packages VARCHAR(511), active BOOLEAN NOT NULL, manager VARCHAR(255), image_tags VARCHAR(255),
  version VARCHAR(255), UNIQUE (datastore_id, name, version)
);
CREATE TABLE backups (
  id VARCHAR(36) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, description VARCHAR(512), location VARCHAR(1024),
  backup_type VARCHAR(32), size FLOAT, tenant_id VARCHAR(36), state VARCHAR(32) NOT NULL, instance_id VARCHAR(36),
  checksum VARCHAR(32), backup_timestamp {DATETIME} NULL, deleted BOOLEAN, created {DATETIME} NULL,
  updated {DATETIME} NULL, deleted_at {DATETIME} NULL, parent_id VARCHAR(36), datastore_version_id VARCHAR(36),
  storage_driver TEXT, FOREIGN KEY (datastore_version_id) REFERENCES datastore_versions (id)
);
CREATE INDEX backups_instance_id ON backups (instance_id);
CREATE INDEX backups_deleted ON backups (deleted);
CREATE TABLE quotas (
  id VARCHAR(36) NOT NULL PRIMARY KEY, created {DATETIME} NULL, updated {DATETIME} NULL, tenant_id VARCHAR(36),
  resource VARCHAR(255) NOT NULL, hard_limit INT, UNIQUE (tenant_id, resource)
);
CREATE TABLE quota_usages (
  id VARCHAR(36) NOT NULL PRIMARY KEY, created {DATETIME} NULL, updated {DATETIME} NULL, tenant_id VARCHAR(36),
  in_use INT, reserved INT, resource VARCHAR(255) NOT NULL, UNIQUE (tenant_id, resource)
);
CREATE TABLE backup_strategy (
  id VARCHAR(36) NOT NULL PRIMARY KEY, tenant_id VARCHAR(36) NOT NULL, instance_id VARCHAR(36) NOT NULL,
  backend VARCHAR(255) NOT NULL, swift_container VARCHAR(255), created {DATETIME} NULL, UNIQUE (tenant_id, instance_id)
);
INSERT INTO datastores (id, name) VALUES ('d-mysql', 'mysql'), ('d-maria', 'mariadb');
INSERT INTO datastore_versions (id, datastore_id, name, active, version) VALUES
  ('v-mysql-8', 'd-mysql', '8.0', TRUE, '8.0.36'), ('v-mysql-5', 'd-mysql', '5.7.29', FALSE, '5.7.29'),
  ('v-maria-10', 'd-maria', '10.11', TRUE, '10.11');
