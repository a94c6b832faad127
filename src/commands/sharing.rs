//! What a run does while others of the same plan may be there: it waits for its share of the limits, and keeps it.

use std::time::Duration;

use super::open;
use crate::cli::Global;
use crate::engine::{Sharing, Stop};
use crate::error::CommandError;
use crate::exit::Exit;

/// Longest wait for others that nothing is said of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does something while this runner's share of the limits is kept.
pub(super) fn beside<T>(
    sharing: &mut Sharing,
    work: impl Future<Output = Result<T, CommandError>>,
) -> impl Future<Output = Result<T, CommandError>> {
    // In a box of its own: a future in a future in a future grows.
    let work = Box::pin(work);
    async { sharing.during(work).await.map_err(|error| open::database_error(&error))? }
}

/// Waits until the others of the plan, if there are any, have left this runner a share of the limits.
pub(super) async fn arrive(global: &Global, sharing: &mut Sharing, stop: &Stop) -> Result<(), CommandError> {
    let mut patience = Some(PATIENCE);
    loop {
        tokio::select! {
            arrived = sharing.arrive() => return arrived.map_err(|error| open::database_error(&error)),
            () = stop.draining().cancelled() => {
                let message = format!("{} while waiting for a share of the limits; nothing was touched", stop.reason());
                return Err(CommandError::new(Exit::Stopped, message));
            }
            () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {}
        }
        patience = None;
        let note =
            "note: the plan's other runners use all of `concurrency`; this one begins as soon as they leave it a slot";
        super::say(global, note);
    }
}
