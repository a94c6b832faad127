//! Beginning a transaction, whoever waits for it.

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionOptions, TransactionTrait};

/// Begins a transaction; who waits for it may give up at any moment.
///
/// sqlx (0.9) forgets a BEGIN that it has sent if nobody waits for its answer: the connection goes back to its pool in a
/// transaction that nobody knows of, and whoever reads by it next may see the past. So this is waited for to its end.
///
/// # Errors
/// Those of the connection.
pub async fn begin(connection: &DatabaseConnection, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
    let connection = connection.clone();
    match tokio::spawn(async move { connection.begin_with_options(options).await }).await {
        Ok(begun) => begun,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(DbErr::Custom("the process is about to end".to_owned())),
    }
}
