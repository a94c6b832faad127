//! Beginning a transaction, whoever waits for it.

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionOptions, TransactionTrait};

use crate::task::to_its_end;

/// Begins a transaction; who waits for it may give up at any moment.
///
/// sqlx (0.9) forgets a BEGIN that it has sent if nobody waits for its answer: the connection goes back to its pool in a
/// transaction that nobody knows of, and whoever reads by it next may see the past. So this is waited for to its end.
///
/// # Errors
/// Those of the connection.
pub async fn begin(connection: &DatabaseConnection, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
    let connection = connection.clone();
    let begun = to_its_end(async move { connection.begin_with_options(options).await }).await;
    begun.unwrap_or_else(|| Err(DbErr::Custom("the process is about to end".to_owned())))
}
