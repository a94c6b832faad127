//! What is read from Trove's tables.

use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, JoinType, Order, Query, SelectStatement};
use sea_orm::{AccessMode, ConnectionTrait, DatabaseTransaction, IsolationLevel, QueryResult, TransactionOptions};

use super::TroveDatabase;
use super::connect::within;
use super::error::{self, Trouble};
use crate::catalog::trove::quota::Quota;
use crate::catalog::trove::row::BackupRow;
use crate::catalog::trove::versions::DatastoreVersion;
use crate::catalog::{CatalogError, Ledger, UnreadableLine};
use crate::failure::Failure;
use crate::sql::{Kind, begin};

/// Rows of one statement.
const PAGE: u64 = 2_000;

/// Tenants that are asked for by name; with more of them the whole table is read.
const TENANTS_MAX: usize = 500;

impl TroveDatabase {
    /// All backups, or those of some tenants, deleted ones too; as of one moment.
    ///
    /// # Errors
    /// [`CatalogError`] when the database cannot be reached or read.
    pub async fn ledger(&self, tenants: Option<&[String]>) -> Result<Ledger, CatalogError> {
        self.read_ledger(tenants).await.map_err(|trouble| CatalogError(self.unread(trouble)))
    }

    async fn read_ledger(&self, tenants: Option<&[String]>) -> Result<Ledger, Trouble> {
        let snapshot = self.snapshot().await?;
        let mut ledger = Ledger::default();
        let mut last = String::new();
        loop {
            let page = within(snapshot.query_all(&self.backups(&last, tenants))).await?;
            let full = page.len() as u64 == PAGE;
            for found in page {
                let row = self.row(&found)?;
                last.clone_from(&row.id);
                let wanted = tenants.is_none_or(|tenants| row.tenant_id.as_ref().is_some_and(|t| tenants.contains(t)));
                if wanted {
                    self.add(&mut ledger, row);
                }
            }
            if !full {
                break;
            }
        }
        within(snapshot.rollback()).await?;
        Ok(ledger)
    }

    fn add(&self, ledger: &mut Ledger, row: BackupRow) {
        let id = row.id.clone();
        let object: Arc<str> = Arc::clone(&self.name);
        match row.record() {
            Ok(record) => ledger.insert(&object, record),
            Err(reason) => {
                ledger.add_unreadable(UnreadableLine { object: format!("{object}, `{id}`"), line: 1, reason });
            }
        }
    }

    /// The datastore versions of the region.
    ///
    /// # Errors
    /// When the database cannot be reached or read.
    pub async fn versions(&self) -> Result<Vec<DatastoreVersion>, Failure> {
        self.read_versions().await.map_err(|trouble| self.unread(trouble))
    }

    async fn read_versions(&self) -> Result<Vec<DatastoreVersion>, Trouble> {
        let mut select = Query::select();
        select
            .column(("v", "id"))
            .expr_as(Expr::col(("d", "name")), "datastore")
            .expr_as(Expr::col(("v", "name")), "name")
            .column(("v", "active"))
            .from_as("datastore_versions", "v")
            .join_as(JoinType::InnerJoin, "datastores", "d", Expr::col(("d", "id")).equals(("v", "datastore_id")))
            .order_by(("v", "id"), Order::Asc);
        if self.schema.version_number {
            select.expr_as(Expr::col(("v", "version")), "number");
        }
        let found = within(self.connection.query_all(&select)).await?;
        let versions = found.iter().map(|row| {
            let number = if self.schema.version_number { get::<Option<String>>(row, "number")? } else { None };
            Ok(DatastoreVersion {
                id: get(row, "id")?,
                datastore: get::<Option<String>>(row, "datastore")?.unwrap_or_default(),
                name: get::<Option<String>>(row, "name")?.unwrap_or_default(),
                number,
                active: get(row, "active")?,
            })
        });
        versions.collect()
    }

    /// What a tenant may have and has. Nothing is written: Trove's own way to ask makes rows.
    ///
    /// # Errors
    /// When the database cannot be reached or read.
    pub async fn quota(&self, tenant: &str) -> Result<Quota, Failure> {
        self.read_quota(tenant).await.map_err(|trouble| self.unread(trouble))
    }

    async fn read_quota(&self, tenant: &str) -> Result<Quota, Trouble> {
        let snapshot = self.snapshot().await?;
        let limit = self.limit(&snapshot, tenant).await?;
        let counted = within(snapshot.query_one(&live_backups(tenant))).await?;
        let live = counted.map_or(Ok(0), |row| index::<i64>(&row, 0))?;
        let in_use = usage(&snapshot, tenant).await?.unwrap_or(live);
        within(snapshot.rollback()).await?;
        let natural = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Quota { limit, in_use: natural(in_use), live: natural(live) })
    }

    /// The tenant's own limit, else the plan's word for Trove's default; none means unlimited.
    pub(super) async fn limit<C: ConnectionTrait>(&self, on: &C, tenant: &str) -> Result<Option<u64>, Trouble> {
        let select = Query::select().column("hard_limit").from("quotas").cond_where(of_tenant(tenant)).to_owned();
        let own = match within(on.query_one(&select)).await? {
            Some(row) => index::<Option<i32>>(&row, 0)?,
            None => None,
        };
        Ok(own.map_or(Some(u64::from(self.default_quota)), |limit| u64::try_from(limit).ok()))
    }

    async fn snapshot(&self) -> Result<DatabaseTransaction, Trouble> {
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        within(begin(&self.connection, options)).await
    }

    fn unread(&self, trouble: Trouble) -> Failure {
        trouble.of_reading(&self.name)
    }

    /// One page of the table, by id.
    fn backups(&self, after: &str, tenants: Option<&[String]>) -> SelectStatement {
        let mut select = Query::select();
        for column in TEXTS {
            select.column(("b", column));
        }
        select.column(("b", "size")).column(("b", "deleted"));
        for column in TIMES {
            select.expr_as(self.as_text(column), column);
        }
        select.expr_as(Expr::col(("d", "name")), "datastore").expr_as(Expr::col(("v", "name")), "version_name");
        if self.schema.storage_driver {
            select.column(("b", "storage_driver"));
        }
        if self.schema.version_number {
            select.expr_as(Expr::col(("v", "version")), "version_number");
        }
        let version = Expr::col(("v", "id")).equals(("b", "datastore_version_id"));
        let datastore = Expr::col(("d", "id")).equals(("v", "datastore_id"));
        select
            .from_as("backups", "b")
            .join_as(JoinType::LeftJoin, "datastore_versions", "v", version)
            .join_as(JoinType::LeftJoin, "datastores", "d", datastore)
            .and_where(Expr::col(("b", "id")).gt(after))
            .order_by(("b", "id"), Order::Asc)
            .limit(PAGE);
        if let Some(tenants) = tenants.filter(|tenants| tenants.len() <= TENANTS_MAX) {
            select.and_where(Expr::col(("b", "tenant_id")).is_in(tenants));
        }
        select
    }

    /// A time as text of one form, whatever the session's own is.
    fn as_text(&self, column: &'static str) -> Expr {
        let (function, form) = match self.kind {
            Kind::MySql => ("DATE_FORMAT", "%Y-%m-%dT%H:%i:%s.%f"),
            Kind::Postgres => ("to_char", "YYYY-MM-DD\"T\"HH24:MI:SS.US"),
        };
        Func::cust(Alias::new(function)).arg(Expr::col(("b", column))).arg(form).into()
    }

    fn row(&self, found: &QueryResult) -> Result<BackupRow, Trouble> {
        let optional = |there: bool, column| if there { get(found, column) } else { Ok(None) };
        Ok(BackupRow {
            id: get(found, "id")?,
            name: get(found, "name")?,
            description: get(found, "description")?,
            location: get(found, "location")?,
            backup_type: get(found, "backup_type")?,
            size: self.float(found, "size")?,
            tenant_id: get(found, "tenant_id")?,
            state: get(found, "state")?,
            instance_id: get(found, "instance_id")?,
            checksum: get(found, "checksum")?,
            shows_checksum: true,
            backup_timestamp: get(found, "backup_timestamp")?,
            deleted: get(found, "deleted")?,
            created: get(found, "created")?,
            updated: get(found, "updated")?,
            parent_id: get(found, "parent_id")?,
            storage_driver: optional(self.schema.storage_driver, "storage_driver")?,
            datastore: get(found, "datastore")?,
            version: get(found, "version_name")?,
            number: optional(self.schema.version_number, "version_number")?,
        })
    }

    /// `FLOAT` of `MySQL` has four bytes: 0.1 is to stay 0.1.
    fn float(&self, found: &QueryResult, column: &str) -> Result<Option<f64>, Trouble> {
        match self.kind {
            Kind::MySql => Ok(get::<Option<f32>>(found, column)?.and_then(|size| size.to_string().parse().ok())),
            Kind::Postgres => get(found, column),
        }
    }
}

/// Columns of `backups` that are texts.
const TEXTS: [&str; 10] = [
    "id",
    "name",
    "description",
    "location",
    "backup_type",
    "tenant_id",
    "state",
    "instance_id",
    "checksum",
    "parent_id",
];

/// Columns of `backups` that are times.
const TIMES: [&str; 3] = ["backup_timestamp", "created", "updated"];

/// The live backups of a tenant, counted.
pub(super) fn live_backups(tenant: &str) -> SelectStatement {
    Query::select()
        .expr(Func::count(Expr::col("id")))
        .from("backups")
        .and_where(Expr::col("tenant_id").eq(tenant))
        .and_where(Expr::col("deleted").eq(false))
        .to_owned()
}

/// What Trove counts for a tenant; none before it has counted.
pub(super) async fn usage<C: ConnectionTrait>(on: &C, tenant: &str) -> Result<Option<i64>, Trouble> {
    let select =
        Query::select().columns(["in_use", "reserved"]).from("quota_usages").cond_where(of_tenant(tenant)).to_owned();
    let Some(row) = within(on.query_one(&select)).await? else { return Ok(None) };
    let count = |at| index::<Option<i32>>(&row, at).map(|count| i64::from(count.unwrap_or_default()));
    Ok(Some(count(0)? + count(1)?))
}

pub(super) fn of_tenant(tenant: &str) -> Expr {
    Expr::col("tenant_id").eq(tenant).and(Expr::col("resource").eq("backups"))
}

pub(super) fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T, Trouble> {
    row.try_get("", column).map_err(|error| Trouble::new(error::Kind::Refused, format!("column `{column}`: {error}")))
}

fn index<T: sea_orm::TryGetable>(row: &QueryResult, at: usize) -> Result<T, Trouble> {
    row.try_get_by_index(at).map_err(|error| Trouble::of(&error))
}
