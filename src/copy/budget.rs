//! The memory of a whole process: bytes of parts between the first read and the stored row.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits count KiB, so that 32 bits of them reach 4 TiB.
const PERMIT_BYTES: u64 = 1024;

/// A number of bytes that parts may hold at a time. First come, first served: a large part is not starved.
#[derive(Debug, Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    total: u64,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))), total: bytes }
    }

    /// Whether a part of `bytes` can ever have its place.
    #[must_use]
    pub const fn fits(&self, bytes: u64) -> bool {
        bytes.div_ceil(PERMIT_BYTES) <= self.total.div_ceil(PERMIT_BYTES)
    }

    /// Room for `bytes` if there is some right now.
    #[must_use]
    pub fn try_take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(permits(bytes)).ok()
    }

    /// Waits for room for one buffer of a reader that uses its buffers one after another, or for all there is.
    pub async fn take_one_buffer(&self, bytes: u64) -> OwnedSemaphorePermit {
        self.take(bytes.min(self.total)).await
    }

    /// Waits for room for `bytes` and holds it until the permit is dropped.
    ///
    /// # Panics
    /// If the bytes do not [fit](Self::fits): that was to be checked before.
    pub async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        assert!(self.fits(bytes), "a part of {bytes} bytes never fits into {}", self.total);
        Arc::clone(&self.permits).acquire_many_owned(permits(bytes)).await.expect("the budget is never closed")
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).expect("a part is smaller than 4 TiB")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_large_part_waits_and_is_not_overtaken() {
        let budget = Budget::new(10 * PERMIT_BYTES);
        let held = budget.take(6 * PERMIT_BYTES).await;
        let mut large = Box::pin(budget.take(8 * PERMIT_BYTES));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Box::pin(budget.take(1));
        assert!(small.as_mut().now_or_never().is_none());
        drop(held);
        assert!(large.as_mut().now_or_never().is_some());
        assert!(small.as_mut().now_or_never().is_some());
        assert!(!budget.fits(10 * PERMIT_BYTES + 1));
    }
}
