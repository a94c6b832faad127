//! This process in the list of those that write to a database on a server: its lease, and the number of its last
//! transaction.

use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, UpdateStatement};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult};
use uuid::Uuid;

use super::clock::{ServerClock, boot_ms};
use super::connect::Connector;
use super::entity::backups::{Column as Backup, Entity as Backups};
use super::entity::commits::{Column as Commit, Entity as Commits};
use super::entity::runners::{Column, Entity as Runners};
use super::heartbeat::{Heartbeat, Lease};
use super::lock::Holder;
use super::server;
use crate::lease::{self, Terms};
use crate::share::Share;

/// How long a row stays after its lease is over, for people who look.
const KEPT_MS: i64 = 24 * 3_600_000;

/// This process in the list, until it leaves.
#[derive(Debug)]
pub(super) struct Runner {
    id: Uuid,
    first_share: Share,
    clock: Arc<ServerClock>,
    heartbeat: Heartbeat,
}

impl Runner {
    /// Writes this process into the list, with a lease that is renewed from now on. Who `is_alone` there has all of the
    /// plan's limits at once: nobody else uses any of them, and whoever comes later finds it written down.
    pub(super) async fn enter(
        connection: &DatabaseConnection,
        connector: &Connector,
        holder: &Holder,
        terms: Terms,
        is_alone: bool,
    ) -> Result<Self, DbErr> {
        let backend = connection.get_database_backend();
        let now = || server::now(backend);
        let forgotten = Expr::col(Column::LeaseUntilMs).lt(now().sub(KEPT_MS));
        let gone = Query::select().column(Column::Id).from(Runners).and_where(forgotten.clone()).to_owned();
        let of_gone = Expr::col(Commit::RunnerId).in_subquery(gone);
        connection.execute(Query::delete().from_table(Commits).and_where(of_gone)).await?;
        connection.execute(Query::delete().from_table(Runners).and_where(forgotten)).await?;

        let id = Uuid::now_v7();
        let sequence = Query::insert()
            .into_table(Commits)
            .columns([Commit::RunnerId, Commit::Sequence])
            .values_panic([id.to_string().into(), 0_i64.into()])
            .to_owned();
        connection.execute(&sequence).await?;
        let first_share = if is_alone { Share::WHOLE } else { Share::NONE };
        let [from, until] = share_columns(is_alone.then_some(first_share));
        let asked_ms = boot_ms();
        let insert = Query::insert()
            .into_table(Runners)
            .columns([
                Column::Id,
                Column::Command,
                Column::Plan,
                Column::Host,
                Column::Pid,
                Column::StartedMs,
                Column::LeaseUntilMs,
                Column::PlanSha256,
                Column::ShareFrom,
                Column::ShareUntil,
            ])
            .values_panic([
                id.to_string().into(),
                holder.command.clone().into(),
                holder.plan.clone().into(),
                holder.host.clone().into(),
                i64::from(holder.pid).into(),
                now(),
                now().add(lease_ms(terms)),
                holder.plan_sha256.clone().into(),
                from.into(),
                until.into(),
            ])
            .to_owned();
        connection.execute(&insert).await?;
        let clock = Arc::new(ServerClock::default());
        look_at_clock(connection, &clock).await?;
        let lease = lease::Lease::granted(terms, asked_ms);
        let heartbeat = Heartbeat::start(connector.clone(), id, holder.clone(), terms, lease, Arc::clone(&clock))
            .map_err(|error| DbErr::Custom(format!("cannot start a thread: {error}")))?;
        Ok(Self { id, first_share, clock, heartbeat })
    }

    /// What it may use of the plan's limits before it has looked for others.
    pub(super) const fn first_share(&self) -> Share {
        self.first_share
    }

    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn clock(&self) -> Arc<ServerClock> {
        Arc::clone(&self.clock)
    }

    pub(super) fn lease(&self) -> Arc<Lease> {
        self.heartbeat.lease()
    }

    /// Takes this process out of the list: its claims are free at once.
    pub(super) async fn leave(self) {
        self.heartbeat.end().await;
    }
}

/// Renews a lease; false if it is over, as others may see it.
pub(super) async fn renew(connection: &DatabaseConnection, id: Uuid, terms: Terms) -> Result<bool, DbErr> {
    let until = server::now(connection.get_database_backend()).add(lease_ms(terms));
    let update = Query::update()
        .table(Runners)
        .value(Column::LeaseUntilMs, until)
        .and_where(Expr::col(Column::Id).eq(id.to_string()))
        .and_where(Expr::col(Column::LeaseUntilMs).gt(server::now(connection.get_database_backend())))
        .to_owned();
    Ok(connection.execute(&update).await?.rows_affected() == 1)
}

/// Takes a lease anew after it was over, and no share; false where others who came meanwhile cannot be worked beside, or
/// where it has left the list. Only while the lock is held.
pub(super) async fn enter_again(
    connection: &DatabaseConnection,
    id: Uuid,
    holder: &Holder,
    terms: Terms,
) -> Result<bool, DbErr> {
    let me = id.to_string();
    let others = live(connection).await?;
    let beside = |other: &Holder| holder.may_join(other) && holder.may_differ_from(other);
    if others.iter().any(|other| other.id != me && !beside(&other.holder)) {
        return Ok(false);
    }
    let until = server::now(connection.get_database_backend()).add(lease_ms(terms));
    let [share_from, share_until] = share_columns(None);
    let update = Query::update()
        .table(Runners)
        .value(Column::LeaseUntilMs, until)
        .value(Column::ShareFrom, share_from)
        .value(Column::ShareUntil, share_until)
        .and_where(Expr::col(Column::Id).eq(me))
        .to_owned();
    Ok(connection.execute(&update).await?.rows_affected() == 1)
}

/// Sets a clock by the server's.
pub(super) async fn look_at_clock(connection: &DatabaseConnection, clock: &ServerClock) -> Result<(), DbErr> {
    let before = boot_ms();
    let server_ms = server::ask_now(connection).await?;
    clock.was(server_ms, before, boot_ms());
    Ok(())
}

/// Takes a process out of the list.
pub(super) async fn remove(connection: &DatabaseConnection, id: Uuid) -> Result<(), DbErr> {
    let mine = |column: Expr| column.eq(id.to_string());
    let of_commits = mine(Expr::col(Commit::RunnerId));
    connection.execute(Query::delete().from_table(Commits).and_where(of_commits)).await?;
    connection.execute(Query::delete().from_table(Runners).and_where(mine(Expr::col(Column::Id)))).await?;
    Ok(())
}

/// A runner whose lease is not over.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) holder: Holder,
    /// As it has written down; none while it takes no part.
    pub(super) share: Option<Share>,
}

/// Those in the list whose leases are not over, oldest first.
pub(super) async fn live(connection: &impl ConnectionTrait) -> Result<Vec<Live>, DbErr> {
    let question = Query::select()
        .columns([Column::Pid, Column::StartedMs])
        .columns([Column::Host, Column::Command, Column::Plan, Column::PlanSha256, Column::Id])
        .columns([Column::ShareFrom, Column::ShareUntil])
        .from(Runners)
        .and_where(Expr::col(Column::LeaseUntilMs).gt(server::now(connection.get_database_backend())))
        .order_by(Column::StartedMs, Order::Asc)
        .order_by(Column::Id, Order::Asc)
        .to_owned();
    let read = |row: &QueryResult| Ok(Live { id: row.try_get_by_index(6)?, holder: holder(row)?, share: share(row)? });
    connection.query_all(&question).await?.iter().map(read).collect()
}

fn share(row: &QueryResult) -> Result<Option<Share>, DbErr> {
    let (from, until): (Option<i64>, Option<i64>) = (row.try_get_by_index(7)?, row.try_get_by_index(8)?);
    let point = |point: i64| u32::try_from(point).unwrap_or_default();
    Ok(from.zip(until).map(|(from, until)| Share::new(point(from), point(until))))
}

/// A share as its columns have it.
fn share_columns(share: Option<Share>) -> [Option<i64>; 2] {
    [share.map(|share| share.from().into()), share.map(|share| share.until().into())]
}

/// Writes down the share that a runner is about to take, or that it takes no part.
pub(super) fn announce(id: Uuid, share: Option<Share>) -> UpdateStatement {
    let [from, until] = share_columns(share);
    Query::update()
        .table(Runners)
        .value(Column::ShareFrom, from)
        .value(Column::ShareUntil, until)
        .and_where(Expr::col(Column::Id).eq(id.to_string()))
        .to_owned()
}

fn holder(row: &QueryResult) -> Result<Holder, DbErr> {
    let (pid, started_ms): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let started = jiff::Timestamp::from_millisecond(started_ms).unwrap_or_default();
    Ok(Holder {
        pid: u32::try_from(pid).unwrap_or_default(),
        host: row.try_get_by_index(2)?,
        command: row.try_get_by_index(3)?,
        plan: row.try_get_by_index(4)?,
        plan_sha256: row.try_get_by_index(5)?,
        started: started.round(jiff::Unit::Second).unwrap_or_default().to_string(),
        accepts_changes: false,
    })
}

/// Whether the row of `backups` that a statement looks at is claimed by a runner whose lease is not over, by the
/// database's clock. Files have no list of runners: there it never is.
pub(super) fn owner_is_live(backend: DbBackend) -> Expr {
    let live = Query::select()
        .expr(Expr::value(1))
        .from(Runners)
        .and_where(Expr::col((Runners, Column::Id)).equals((Backups, Backup::ClaimedBy)))
        .and_where(Expr::col((Runners, Column::LeaseUntilMs)).gt(server::now(backend)))
        .to_owned();
    Expr::exists(live)
}

/// Whether it is free for `claimant`: [`lease::is_free`] in the database's words.
pub(super) fn is_free(backend: DbBackend, claimant: Expr) -> Expr {
    let owner = || Expr::col((Backups, Backup::ClaimedBy));
    owner().is_null().or(owner().eq(claimant)).or(owner_is_live(backend).not())
}

/// Counts one more transaction of a runner, as the last statement of that transaction; false if the database does not
/// know the one before it.
pub(super) async fn count_commit(transaction: &impl ConnectionTrait, id: Uuid, before: i64) -> Result<bool, DbErr> {
    let update = Query::update()
        .table(Commits)
        .value(Commit::Sequence, before + 1)
        .and_where(Expr::col(Commit::RunnerId).eq(id.to_string()))
        .and_where(Expr::col(Commit::Sequence).eq(before))
        .to_owned();
    Ok(transaction.execute(&update).await?.rows_affected() == 1)
}

/// The number of the last transaction that a runner has committed; waits for one that is still on its way.
pub(super) async fn last_commit(transaction: &impl ConnectionTrait, id: Uuid) -> Result<Option<i64>, DbErr> {
    let question = Query::select()
        .column(Commit::Sequence)
        .from(Commits)
        .and_where(Expr::col(Commit::RunnerId).eq(id.to_string()))
        .lock_exclusive()
        .to_owned();
    transaction.query_one(&question).await?.map(|row| row.try_get_by_index(0)).transpose()
}

fn lease_ms(terms: Terms) -> i64 {
    i64::try_from(terms.lease_ms()).unwrap_or(i64::MAX)
}
