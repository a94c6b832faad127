//! Group commit: one task owns the writing connection and puts what waits into one transaction.
//!
//! While one commit is on its way to the disk, the next batch gathers; nobody waits for a timer. An answer is given
//! only after the commit that makes it true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::change::{Change, Changes};
use super::connect::Connector;
use super::error::DatabaseError;
use super::lock::WriterLock;
use crate::fault;

/// Operations that may wait before a caller has to.
const QUEUE: usize = 1024;

/// Operations in one transaction.
const BATCH: usize = 100;

/// Tries of a transaction that another program's lock keeps from running.
const TRIES: u32 = 8;

/// One write of an operation.
#[derive(Debug)]
pub(super) enum Write {
    /// A statement, and what is to follow in the same transaction if it changed any row.
    Statement { first: Statement, then: Vec<Statement> },
    /// Made together with the changes of others, after all statements of its transaction.
    Change(Change),
}

impl From<Statement> for Write {
    fn from(first: Statement) -> Self {
        Self::Statement { first, then: Vec::new() }
    }
}

/// Writes that are committed together or not at all, and who wants to know which of them changed a row.
struct Operation {
    writes: Vec<Write>,
    reply: oneshot::Sender<Result<Vec<bool>, DatabaseError>>,
}

/// The queue to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Operation>,
    closing: CancellationToken,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    database: Arc<str>,
}

impl Writer {
    /// The task keeps `lock` until it has closed `connection`.
    pub(super) fn start(connector: Connector, connection: DatabaseConnection, lock: WriterLock) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (closing, commits, database) = (CancellationToken::new(), Arc::default(), connector.database());
        let task = Task {
            connector,
            connection: Some(connection),
            waiting,
            closing: closing.clone(),
            commits: Arc::clone(&commits),
            broken: None,
            _lock: lock,
        };
        Self { queue, closing, task: tokio::sync::Mutex::new(Some(tokio::spawn(task.run()))), commits, database }
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

    /// Transactions committed so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits all that was queued, moves the WAL into the database and closes the connection. May be called again.
    pub(super) async fn close(&self) {
        self.closing.cancel();
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
    commits: Arc<AtomicU64>,
    /// After a failed fsync: what every later write is told.
    broken: Option<DatabaseError>,
    _lock: WriterLock,
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
        if let Some(connection) = self.connection.take() {
            // Best effort: a WAL that stays is read by whoever opens the database next.
            let _left = connection.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
            let _closed = connection.close().await;
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

    /// One transaction, redone whole while another program is in the way.
    async fn transact(&mut self, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DatabaseError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(batch).await {
                Err(DatabaseError::Busy { .. }) if tries < TRIES => tokio::time::sleep(pause(tries)).await,
                Err(error @ DatabaseError::Io { .. }) => {
                    self.broken = Some(error.clone());
                    return Err(error);
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&mut self, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DatabaseError> {
        // A deferred transaction that reads first and then wants to write is refused at once, without waiting.
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let begun = self.connection().await?.begin_with_options(immediate).await;
        let transaction = begun.map_err(|error| self.connector.error(error))?;
        let (error, rolled_back) = match execute(&transaction, batch).await {
            Ok(answers) => {
                fault::point("commit-before");
                match transaction.commit().await {
                    Ok(()) => {
                        fault::point("commit-after");
                        self.commits.fetch_add(1, Ordering::Relaxed);
                        return Ok(answers);
                    }
                    Err(error) => (error, false),
                }
            }
            Err(error) => (error, transaction.rollback().await.is_ok()),
        };
        if !rolled_back {
            self.disconnect().await;
        }
        Err(self.connector.error(error))
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
        if let Some(connection) = self.connection.take() {
            let _closed = connection.close().await;
        }
    }
}

async fn execute(transaction: &DatabaseTransaction, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DbErr> {
    let mut answers: Vec<Vec<bool>> = batch.iter().map(|operation| vec![false; operation.writes.len()]).collect();
    let mut changes = Changes::new();
    for (at, operation) in batch.iter().enumerate() {
        for (number, write) in operation.writes.iter().enumerate() {
            match write {
                Write::Change(change) => changes.add((at, number), change),
                Write::Statement { first, then } => {
                    let matched = transaction.execute_raw(first.clone()).await?.rows_affected() > 0;
                    for statement in then.iter().filter(|_| matched) {
                        transaction.execute_raw(statement.clone()).await?;
                    }
                    answers[at][number] = matched;
                }
            }
        }
    }
    for (at, number) in changes.execute(transaction).await? {
        answers[at][number] = true;
    }
    Ok(answers)
}

/// 10 to 20 ms after the first try, doubling: two programs that collide do not collide again.
fn pause(tries: u32) -> Duration {
    let base = 10_u64 << tries.min(7).saturating_sub(1);
    let jitter = u64::from(uuid::Uuid::new_v4().as_fields().0) % base;
    Duration::from_millis(base + jitter)
}
