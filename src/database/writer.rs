//! Group commit: one task owns the writing connection and puts what waits into one transaction.
//!
//! While one commit is on its way to the disk, the next batch gathers; nobody waits for a timer. An answer is given
//! only after the commit that makes it true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::batch::{Operation, Write, execute};
use super::connect::Connector;
use super::error::DatabaseError;
use super::file::Kept;
use super::runner::{self, Runner};
use super::server;
use super::trouble::{Trouble, trouble};
use crate::fault;
use crate::sql::begin;

/// Operations that may wait before a caller has to.
const QUEUE: usize = 1024;

/// Operations in one transaction.
const BATCH: usize = 100;

/// Tries of a transaction that another program's lock keeps from running.
const TRIES: u32 = 8;

/// For how long a transaction is tried again that a server does not take.
const PATIENCE: Duration = Duration::from_mins(15);

/// The same once the process is about to end.
const HURRIED_PATIENCE: Duration = Duration::from_secs(4);

/// Longest wait for a server to take one transaction, or to say that it has committed it.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// What lets this process write, until it is given back.
#[derive(Debug)]
pub(super) enum Hold {
    /// A file, and its lock.
    File(Kept),
    /// A place in a server's list.
    Runner(Runner),
}

/// The queue to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Operation>,
    closing: CancellationToken,
    hurrying: CancellationToken,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    database: Arc<str>,
}

impl Writer {
    /// The task keeps `hold` until it has closed `connection`.
    pub(super) fn start(connector: Connector, connection: DatabaseConnection, hold: Hold) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (closing, commits, database) = (CancellationToken::new(), Arc::default(), connector.database());
        let hurrying = CancellationToken::new();
        let task = Task {
            connector,
            connection: Some(connection),
            waiting,
            closing: closing.clone(),
            hurrying: hurrying.clone(),
            commits: Arc::clone(&commits),
            broken: None,
            sequence: 0,
            doubt: None,
            hold,
        };
        let task = tokio::sync::Mutex::new(Some(tokio::spawn(task.run())));
        Self { queue, closing, hurrying, task, commits, database }
    }

    /// The process is about to end: a server that does not answer is not waited for much longer.
    pub(super) fn hurry(&self) {
        self.hurrying.cancel();
    }

    /// Runs `writes` in one transaction; for each, whether it changed a row.
    ///
    /// If the caller is dropped meanwhile, the writes are done all the same, or not at all.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<Vec<bool>, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        let closed = || DatabaseError::NotWriting { database: self.database.to_string() };
        self.queue.send(Operation { writes, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// For how long a server is asked again.
    pub(super) fn patience(&self) -> Duration {
        if self.hurrying.is_cancelled() { HURRIED_PATIENCE } else { PATIENCE }
    }

    /// Comes back when a server that has not answered since now is not asked again.
    pub(super) async fn patience_ended(&self) {
        tokio::select! {
            () = tokio::time::sleep(PATIENCE) => {}
            () = self.hurrying.cancelled() => tokio::time::sleep(HURRIED_PATIENCE).await,
        }
    }

    /// Transactions committed so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits all that was queued, moves the WAL into the database and closes the connection. May be called again.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.hurry();
        if let Some(task) = self.task.lock().await.take() {
            // It ends by itself and does not panic; if it did, there is nothing left to close.
            let _ended = task.await;
        }
    }
}

struct Task {
    connector: Connector,
    /// None after a transaction that could not be ended; the next one connects anew.
    connection: Option<DatabaseConnection>,
    waiting: mpsc::Receiver<Operation>,
    closing: CancellationToken,
    hurrying: CancellationToken,
    commits: Arc<AtomicU64>,
    /// After a failed fsync, or when a server has forgotten what it confirmed, or the file is another one: what every later
    /// write is told.
    broken: Option<DatabaseError>,
    /// Of the last transaction that a server has confirmed.
    sequence: i64,
    /// The transaction after it, if nobody knows whether it was committed: what it answers if it was. Empty once those
    /// who waited were told that nobody knows.
    doubt: Option<Vec<Vec<bool>>>,
    hold: Hold,
}

/// Why an attempt came to nothing.
enum Missed {
    Sql(DbErr),
    /// The server does not know the transaction before.
    Behind,
}

impl From<DbErr> for Missed {
    fn from(error: DbErr) -> Self {
        Self::Sql(error)
    }
}

impl Task {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(operation) = self.next().await {
            batch.push(operation);
            // Steps that are about to write get to it, and share the commit.
            tokio::task::yield_now().await;
            while batch.len() < BATCH
                && let Ok(operation) = self.waiting.try_recv()
            {
                batch.push(operation);
            }
            self.serve(&mut batch).await;
        }
        let connection = self.connection.take();
        match (connection, self.hold) {
            (Some(connection), Hold::File(_)) => {
                // Best effort: a WAL that stays is read by whoever opens the database next.
                let _left = connection.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
                let _closed = connection.close().await;
            }
            (None, Hold::File(_)) => {}
            (_, Hold::Runner(runner)) => runner.leave().await,
        }
    }

    /// The next operation; none when all were served and no more can come.
    async fn next(&mut self) -> Option<Operation> {
        tokio::select! {
            biased;
            // Cancelled once, this is ready for ever: closing twice does no harm.
            () = self.closing.cancelled() => self.waiting.close(),
            operation = self.waiting.recv() => return operation,
        }
        self.waiting.recv().await
    }

    async fn serve(&mut self, batch: &mut Vec<Operation>) {
        match self.transact(batch).await {
            Ok(answers) => {
                for (operation, answer) in batch.drain(..).zip(answers) {
                    // Whoever does not wait any more does not want to know.
                    let _unheard = operation.reply.send(Ok(answer));
                }
            }
            // One of them is at fault: each in a transaction of its own, so that only that one fails.
            Err(error) if batch.len() > 1 && error.is_of_statement() => {
                for operation in batch.drain(..) {
                    let answer = self.transact(std::slice::from_ref(&operation)).await;
                    let _unheard = operation.reply.send(answer.map(|mut answers| answers.remove(0)));
                }
            }
            Err(error) => {
                for operation in batch.drain(..) {
                    let _unheard = operation.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction, redone whole while another program is in the way, or a server does not take it.
    async fn transact(&mut self, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DatabaseError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if let Some(answers) = &mut self.doubt {
            answers.clear();
        }
        let (mut tries, began) = (0, Instant::now());
        loop {
            tries += 1;
            match self.attempt(batch).await {
                Err(DatabaseError::Busy { .. }) if tries < TRIES => tokio::time::sleep(pause(tries)).await,
                Err(error) if self.connector.is_shared() && error.may_pass() && !self.is_late(began) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause(tries)) => {}
                        () = self.hurrying.cancelled(), if tries > TRIES => {}
                    }
                }
                Err(
                    error @ (DatabaseError::Io { .. }
                    | DatabaseError::Replaced { .. }
                    | DatabaseError::WentBack { .. }
                    | DatabaseError::LeaseEnded { .. }),
                ) => {
                    self.broken = Some(error.clone());
                    return Err(error);
                }
                outcome => return outcome,
            }
        }
    }

    fn is_late(&self, began: Instant) -> bool {
        let patience = if self.hurrying.is_cancelled() { HURRIED_PATIENCE } else { PATIENCE };
        began.elapsed() >= patience
    }

    async fn attempt(&mut self, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DatabaseError> {
        if self.doubt.is_some()
            && let Some(answers) = self.settle().await?
            && !answers.is_empty()
        {
            return Ok(answers);
        }
        if let Hold::File(file) = &self.hold
            && !file.is_there()
        {
            return Err(DatabaseError::Replaced { database: self.connector.database().to_string() });
        }
        // A deferred transaction that reads first and then wants to write is refused at once, without waiting.
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let options = if self.connector.is_shared() { TransactionOptions::default() } else { immediate };
        let begun = begin(self.connection().await?, options).await;
        let transaction = begun.map_err(|error| self.connector.error(error))?;
        let (missed, rolled_back) = match self.answered(self.execute(&transaction, batch)).await {
            Ok(answers) => {
                fault::point("commit-before");
                match self.answered(async { Ok(transaction.commit().await?) }).await {
                    Ok(()) => {
                        fault::point("commit-after");
                        self.committed();
                        return Ok(answers);
                    }
                    Err(missed) => {
                        if let (Hold::Runner(_), Missed::Sql(error)) = (&self.hold, &missed)
                            && trouble(error) == Trouble::Gone
                        {
                            self.doubt = Some(answers);
                        }
                        (missed, false)
                    }
                }
            }
            Err(missed) => (missed, self.answered(async { Ok(transaction.rollback().await?) }).await.is_ok()),
        };
        if !rolled_back {
            self.disconnect().await;
        }
        Err(match missed {
            Missed::Sql(error) => self.connector.error(error),
            Missed::Behind => self.went_back(),
        })
    }

    fn committed(&mut self) {
        self.sequence += 1;
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Who slept for days is not in the list any more.
    fn went_back(&self) -> DatabaseError {
        let database = self.connector.database().to_string();
        match &self.hold {
            Hold::Runner(runner) if !runner.lease().holds() => DatabaseError::LeaseEnded { database },
            _ => DatabaseError::WentBack { database },
        }
    }

    /// Of a server, within bounds: a connection that is half open would never say so.
    async fn answered<T>(&self, answer: impl Future<Output = Result<T, Missed>>) -> Result<T, Missed> {
        if !self.connector.is_shared() {
            return answer.await;
        }
        match tokio::time::timeout(ANSWER_PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(server::late(ANSWER_PATIENCE).into()),
        }
    }

    async fn execute(&self, transaction: &DatabaseTransaction, batch: &[Operation]) -> Result<Vec<Vec<bool>>, Missed> {
        let answers = execute(transaction, batch).await?;
        match &self.hold {
            Hold::Runner(runner) if !runner::count_commit(transaction, runner.id(), self.sequence).await? => {
                Err(Missed::Behind)
            }
            _ => Ok(answers),
        }
    }

    /// Looks whether the transaction in doubt was committed: its answers if it was, none if it has to be redone.
    async fn settle(&mut self) -> Result<Option<Vec<Vec<bool>>>, DatabaseError> {
        let Hold::Runner(runner) = &self.hold else { return Ok(None) };
        let id = runner.id();
        let connection = self.connection().await?.clone();
        let last = self.answered(async {
            let transaction = begin(&connection, TransactionOptions::default()).await?;
            let last = runner::last_commit(&transaction, id).await?;
            transaction.rollback().await?;
            Ok(last)
        });
        match last.await {
            Ok(Some(last)) if last == self.sequence + 1 => {
                self.committed();
                Ok(self.doubt.take())
            }
            Ok(Some(last)) if last == self.sequence => {
                self.doubt = None;
                Ok(None)
            }
            Ok(_) | Err(Missed::Behind) => Err(self.went_back()),
            Err(Missed::Sql(error)) => {
                self.disconnect().await;
                Err(self.connector.error(error))
            }
        }
    }

    async fn connection(&mut self) -> Result<&DatabaseConnection, DatabaseError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.writing().await.map_err(|error| self.connector.error(error))?,
        };
        Ok(self.connection.insert(connection))
    }

    /// On a full disk `SQLite` rolls back by itself; sqlx then still counts the transaction as open and would refuse
    /// every later one. A new connection knows nothing of that; the old one goes first, or it would lock the new out.
    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.connector.is_shared()
        {
            let _closed = connection.close().await;
        }
    }
}

/// 10 to 20 ms after the first try, doubling: two programs that collide do not collide again.
pub(super) fn pause(tries: u32) -> Duration {
    let base = 10_u64 << tries.min(7).saturating_sub(1);
    let jitter = u64::from(uuid::Uuid::new_v4().as_fields().0) % base;
    Duration::from_millis(base + jitter)
}
