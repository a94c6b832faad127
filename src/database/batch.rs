//! What goes into one transaction of the writer.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};
use tokio::sync::oneshot;

use super::change::{Change, Changes};
use super::error::DatabaseError;

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
pub(super) struct Operation {
    pub(super) writes: Vec<Write>,
    pub(super) reply: oneshot::Sender<Result<Vec<bool>, DatabaseError>>,
}

/// Runs all writes; for each of each operation, whether it changed a row.
pub(super) async fn execute(transaction: &DatabaseTransaction, batch: &[Operation]) -> Result<Vec<Vec<bool>>, DbErr> {
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
