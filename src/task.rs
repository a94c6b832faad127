//! Work that is done to its end, whoever waits for it.

/// Does `work` in a task of its own: who waits for it may give up at any moment, and what it gives is dropped then. None if
/// the process ends first.
///
/// # Panics
/// If `work` does.
pub(crate) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
