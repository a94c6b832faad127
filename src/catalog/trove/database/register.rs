//! One backup into Trove's database: its row, and Trove's count of the tenant's backups, in one transaction.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sea_orm::sea_query::{
    Expr, ExprTrait, InsertStatement, OnConflict, Query, SelectStatement, SubQueryStatement, UpdateStatement,
};
use sea_orm::{ConnectionTrait, IsolationLevel, QueryResult, TransactionOptions};
use uuid::Uuid;

use super::connect::within;
use super::error::{self, Trouble};
use super::read::{get, live_backups, of_tenant, usage};
use super::{QuotaRule, TroveDatabase};
use crate::catalog::trove::location::Location;
use crate::catalog::trove::new_backup::NewBackup;
use crate::catalog::trove::quota;
use crate::failure::{Cause, Failure};
use crate::sql::{Kind, begin};

/// Tries of a transaction that another one was in the way of, or whose end was not heard.
const TRIES: u32 = 8;

/// Pause after the first try, before jitter; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Why a try did not register the backup.
enum Ended {
    /// Another try looks first whether this one did it after all.
    Trouble(Trouble),
    Failed(Failure),
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl TroveDatabase {
    /// Registers a copy. Safe to repeat: where its row is there already, nothing is changed.
    ///
    /// # Errors
    /// [`Cause::RecordConflict`] where another row, or a deleted one, has its id; [`Cause::Quota`] where the tenant may
    /// have no more; then nothing was changed. Others as the database says.
    pub async fn register(&self, backup: &NewBackup) -> Result<(), Failure> {
        backup.check(self.schema.narrow)?;
        let mut tries = 1;
        loop {
            let trouble = match self.try_register(backup).await {
                Ok(()) => return Ok(()),
                Err(Ended::Failed(failure)) => return Err(failure),
                Err(Ended::Trouble(trouble)) => trouble,
            };
            let again =
                matches!(trouble.kind, error::Kind::Contention | error::Kind::Duplicate | error::Kind::Unreachable);
            // Who cannot be reached at all is left to the step's next attempt, which does not hold a place.
            let most = if trouble.kind == error::Kind::Unreachable { 2 } else { TRIES };
            if !again || tries >= most {
                return Err(trouble.of_writing(&self.name));
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1)).mul_f64(0.5 + fastrand::f64());
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// One transaction. It starts by looking whether the row is there, so that an earlier one that was committed without
    /// our hearing of it is not done again; and the row's primary key keeps two from being committed at once.
    ///
    /// Read committed: counting a tenant's backups must not lock the rows that others are just adding.
    async fn try_register(&self, backup: &NewBackup) -> Result<(), Ended> {
        let level = Some(IsolationLevel::ReadCommitted);
        let options = TransactionOptions { isolation_level: level, ..TransactionOptions::default() };
        let transaction = within(begin(&self.connection, options)).await?;
        let id = backup.id.to_string();
        if let Some(there) = within(transaction.query_one(&row_under(&id))).await? {
            within(transaction.rollback()).await?;
            return self.same(&there, backup);
        }
        within(transaction.execute(&self.insert(backup))).await?;
        // Each of these two is atomic by itself, and locks the tenant's count until the end.
        if within(transaction.execute(&self.raise_usage(backup))).await?.rows_affected() == 0 {
            within(transaction.execute(&self.start_usage(backup))).await?;
        }
        if self.quota == QuotaRule::Respect
            && let Some(limit) = self.limit(&transaction, &backup.tenant_id).await?
        {
            // The count is locked: nobody else can take the same place.
            let in_use = usage(&transaction, &backup.tenant_id).await?.unwrap_or_default();
            if u64::try_from(in_use).unwrap_or_default() > limit {
                within(transaction.rollback()).await?;
                return Err(Ended::Failed(quota::reached(&backup.tenant_id, Some(limit))));
            }
        }
        crate::fault::point("trove-before-commit");
        within(transaction.commit()).await?;
        crate::fault::point("trove-after-commit");
        Ok(())
    }

    /// Whether the row under the id says what `backup` says.
    fn same(&self, there: &QueryResult, backup: &NewBackup) -> Result<(), Ended> {
        let refused = |what: String| {
            let message = format!("{} has the backup `{}` already, {what}", self.name, backup.id);
            Err(Ended::Failed(Failure::new(Cause::RecordConflict, message)))
        };
        if get::<Option<bool>>(there, "deleted")? != Some(false) {
            return refused("and its owner deleted it".to_owned());
        }
        let state: String = get(there, "state")?;
        let facts = [
            ("tenant_id", Some(backup.tenant_id.as_str())),
            ("location", Some(backup.location.as_str())),
            ("checksum", Some(backup.checksum.as_str())),
            ("parent_id", backup.parent_id.as_deref()),
            ("datastore_version_id", Some(backup.datastore_version_id.as_str())),
        ];
        for (column, ours) in facts {
            let theirs: Option<String> = get(there, column)?;
            let same_object = column == "location"
                && theirs.as_deref().zip(ours).is_some_and(|(theirs, ours)| is_same_object(theirs, ours));
            if theirs.as_deref() != ours && !same_object {
                let shown =
                    |text: Option<&str>| text.map_or_else(|| "none".to_owned(), |t| t.escape_debug().to_string());
                let (theirs, ours) = (shown(theirs.as_deref()), shown(ours));
                return refused(format!("with another {column}: `{theirs}` there, `{ours}` here"));
            }
        }
        if state == "COMPLETED" { Ok(()) } else { refused(format!("in the state {}", state.escape_debug())) }
    }

    fn insert(&self, backup: &NewBackup) -> InsertStatement {
        let now = Timestamp::now().to_string();
        let created = backup.created.as_deref().unwrap_or(&now);
        let updated = backup.updated.as_deref().unwrap_or(created);
        let mut values: Vec<(&str, Expr)> = vec![
            ("id", Expr::val(backup.id.to_string())),
            ("name", Expr::val(backup.name.as_str())),
            ("description", Expr::val(backup.description.clone())),
            ("location", Expr::val(backup.location.as_str())),
            ("backup_type", Expr::val(backup.backup_type.clone())),
            ("size", Expr::val(backup.size)),
            ("tenant_id", Expr::val(backup.tenant_id.as_str())),
            ("state", Expr::val("COMPLETED")),
            ("checksum", Expr::val(backup.checksum.as_str())),
            ("backup_timestamp", self.time(backup.backup_timestamp.as_deref())),
            ("deleted", Expr::val(false)),
            ("created", self.time(Some(created))),
            ("updated", self.time(Some(updated))),
            ("parent_id", Expr::val(backup.parent_id.clone())),
            ("datastore_version_id", Expr::val(backup.datastore_version_id.as_str())),
        ];
        if self.schema.storage_driver {
            values.push(("storage_driver", Expr::val("swift")));
        }
        let (columns, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Query::insert().into_table("backups").columns(columns).values_panic(values).to_owned()
    }

    /// Raises what Trove counts by one.
    fn raise_usage(&self, backup: &NewBackup) -> UpdateStatement {
        let now = Timestamp::now().to_string();
        Query::update()
            .table("quota_usages")
            .value("in_use", one_more())
            .value("updated", self.time(Some(&now)))
            .cond_where(of_tenant(&backup.tenant_id))
            .to_owned()
    }

    /// The same where Trove has not counted the tenant yet: the count starts with what is there, the new row with it;
    /// where somebody else has started it by now, it is raised. Counting reads the whole table, so it is not done each
    /// time.
    fn start_usage(&self, backup: &NewBackup) -> InsertStatement {
        let now = Timestamp::now().to_string();
        let live: Expr = SubQueryStatement::from(live_backups(&backup.tenant_id)).into();
        let raise = OnConflict::columns(["tenant_id", "resource"])
            .value("in_use", one_more())
            .value("updated", self.time(Some(&now)))
            .to_owned();
        Query::insert()
            .into_table("quota_usages")
            .columns(["id", "created", "updated", "tenant_id", "in_use", "reserved", "resource"])
            .values_panic([
                Expr::val(Uuid::new_v4().to_string()),
                self.time(Some(&now)),
                self.time(Some(&now)),
                Expr::val(backup.tenant_id.as_str()),
                live,
                Expr::val(0),
                Expr::val("backups"),
            ])
            .on_conflict(raise)
            .to_owned()
    }

    /// A time as Trove's columns have it: UTC, without zone and fraction.
    fn time(&self, rfc3339: Option<&str>) -> Expr {
        let time = rfc3339.and_then(|text| text.parse::<Timestamp>().ok());
        let text = time.map(|time| time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string());
        let kind = match self.kind {
            Kind::MySql => "DATETIME",
            Kind::Postgres => "timestamp",
        };
        Expr::val(text).cast_as(kind)
    }
}

fn one_more() -> Expr {
    Expr::col(("quota_usages", "in_use")).if_null(0).add(1)
}

fn row_under(id: &str) -> SelectStatement {
    let columns = ["tenant_id", "location", "checksum", "parent_id", "datastore_version_id", "state", "deleted"];
    Query::select().columns(columns).from("backups").and_where(Expr::col("id").eq(id)).to_owned()
}

/// Where a Swift is reached may change; account, container and object are what a location means.
fn is_same_object(one: &str, other: &str) -> bool {
    let parse = |text| Location::parse(text).map(|location| location.to_string());
    one == other || parse(one).is_ok_and(|one| parse(other) == Ok(one))
}
