//! One attempt of one copy: claim, stream, checkpoint, and the row that says how it ended.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::row_checkpoint::RowCheckpoint;
use super::{Ended, Engine, StepEnd, Task};
use crate::copy::{self, CopyError, Job, Receipt, Resume};
use crate::database::{Claim, Copied, CopyStart, DatabaseError, Row};
use crate::event::Event;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::plan::Verify;
use crate::regions::Access;
use crate::schedule::{Outcome, Ready};
use crate::state::State;
use crate::store::{Layout, Pin, Segment, Source, Store, StoreError, Target, Upload};
use crate::survey::SourceObject;

pub(super) async fn run(
    engine: Arc<Engine>,
    task: Task,
    ready: Ready,
    attempt: u16,
    moved: UnboundedSender<u32>,
    leave: CancellationToken,
) -> Ended {
    let Task { row, source, target, object, .. } = task;
    let mut step = Step { engine, ready, attempt, row, source, target, object, moved, leave, taken: None };
    let (outcome, claim) = step.attempt().await?;
    Ok(vec![StepEnd { ready, outcome, row: step.row, claim }])
}

struct Step {
    engine: Arc<Engine>,
    ready: Ready,
    attempt: u16,
    row: Row,
    /// Number of the source region.
    source: usize,
    /// Number of the target region.
    target: usize,
    /// None where there is no source object, which is a fault of ours.
    object: Option<SourceObject>,
    /// Told once the bytes are where they should be.
    moved: UnboundedSender<u32>,
    /// Others are to go on with it, from its next checkpoint.
    leave: CancellationToken,
    /// The claim under which what is left of an earlier attempt is looked at; none where there is nothing.
    taken: Option<Claim>,
}

type StepOutcome = Result<(Outcome, Option<Claim>), DatabaseError>;

impl Step {
    async fn attempt(&mut self) -> StepOutcome {
        if !self.take_over().await? {
            return Ok((Outcome::Held, None));
        }
        let Some(object) = self.object.clone() else { return self.failed_unclaimed(unknown_source()).await };
        let (source, target) = match self.stores().await {
            Ok(stores) => stores,
            Err(failure) => return self.failed_unclaimed(failure).await,
        };
        let (layout, segments) = match self.laid_out(&object, &source).await {
            Ok(laid_out) => laid_out,
            Err(failure) => return self.failed_unclaimed(failure).await,
        };
        let (resume, restart) = self.checkpointed(&object.pin, &layout).await?;
        let Some(job) = self.job(object, layout, segments, resume) else {
            return self.failed_unclaimed(unknown_source()).await;
        };
        // What an upload that cannot be resumed left is taken away before its token is forgotten.
        if job.resume.is_none()
            && let Some(upload) = self.upload_in_row()
            && let Err(error) = target.abandon(&upload).await
        {
            return self.failed_unclaimed(error.of_target()).await;
        }
        crate::fault::point("before-claim");
        let Some(claim) = self.claim(&job).await? else {
            return Ok((Outcome::Held, None));
        };
        crate::fault::point("after-claim");
        self.tell_start(&job, restart);
        let checkpoint =
            RowCheckpoint::new(&self.engine, self.ready.position, claim, &target, self.row.upload_id.clone());
        // Without rows of its parts another would have to begin at the first byte.
        let stop = if has_rows_of_parts(&job.layout) { &self.leave } else { self.engine.stop.draining() };
        let copied = tokio::select! {
            copied = copy::copy(&source, &target, &job, &self.engine.limits.budget, &checkpoint, stop) => copied,
            () = self.engine.stop.cut_off().cancelled() => Err(CopyError::Stopped),
        };
        let bytes_read = checkpoint.unrecorded();
        self.row.upload_id = checkpoint.upload_id();
        if copied.is_err() && bytes_read > 0 {
            self.engine.database.count_read(claim, bytes_read).await?;
        }
        match copied {
            Ok(receipt) => {
                // Nobody listens when the run has ended.
                let _ = self.moved.send(self.ready.position);
                self.copied(claim, &job, receipt, bytes_read).await
            }
            Err(CopyError::Stopped) => {
                self.engine.database.drained(claim).await?;
                let is_over = self.engine.stop.draining().is_cancelled();
                Ok((if is_over { Outcome::Stopped } else { Outcome::Held }, None))
            }
            Err(CopyError::Lost(error)) => error.map_or(Ok((Outcome::Held, None)), Err),
            Err(CopyError::Failed(failure)) => self.failed(claim, failure).await,
            Err(CopyError::StartAgain(failure)) => self.start_again(claim, &target, &job, failure).await,
        }
    }

    /// Where others may work on it, too: takes what was begun before as its own, and reads how far it is only then, since
    /// whoever had it may have gone on until a moment ago. False if another has it.
    async fn take_over(&mut self) -> Result<bool, DatabaseError> {
        if !self.engine.is_shared() || self.row.upload_token.is_none() {
            return Ok(true);
        }
        let database = &self.engine.database;
        let Some(claim) = database.take_over_copy(&self.row, self.engine.claimant).await? else { return Ok(false) };
        let Some(row) = database.rows(&[self.row.id]).await?.pop() else { return Ok(false) };
        let is_mine = row.claim == claim.token();
        self.row = row;
        self.taken = Some(claim);
        Ok(is_mine)
    }

    /// How the object is to lie in the target, and the segments that it has in its source.
    async fn laid_out(
        &self,
        object: &SourceObject,
        source: &Store,
    ) -> Result<(Layout, Option<Arc<[Segment]>>), Failure> {
        let segments = source.segments(&object.key, &object.pin).await.map_err(StoreError::of_source)?;
        let takes = self.engine.regions.takes(self.target, self.engine.part_size, object.pin.size);
        let layout = takes.layout(&object.key, object.pin.size, segments.as_deref(), source.streams())?;
        Ok((layout, segments))
    }

    /// What an earlier attempt has finished; or why it cannot be used, if there is something that cannot.
    async fn checkpointed(
        &self,
        pin: &Pin,
        layout: &Layout,
    ) -> Result<(Option<Resume>, Option<String>), DatabaseError> {
        // Nothing was ever begun, or it has a single part, which has no row.
        if self.row.upload_token.is_none() || !has_rows_of_parts(layout) {
            return Ok((None, None));
        }
        let Some(stored) = self.engine.database.stored_parts(self.row.id).await? else { return Ok((None, None)) };
        if self.row.source_etag.as_deref() != Some(&pin.etag) || self.row.bytes != Some(pin.size) {
            return Ok((None, Some("the source changed since its first parts were copied".to_owned())));
        }
        Ok(match Resume::of(layout, &stored.parts, &stored.sha256_state) {
            Ok(resume) => (Some(resume), None),
            Err(reason) => (None, Some(reason.to_owned())),
        })
    }

    fn job(
        &self,
        object: SourceObject,
        layout: Layout,
        segments: Option<Arc<[Segment]>>,
        resume: Option<Resume>,
    ) -> Option<Job> {
        let token = match (&resume, &self.row.upload_token) {
            (Some(_), Some(token)) => token.clone(),
            _ => Uuid::new_v4().simple().to_string(),
        };
        Some(Job {
            source_key: object.key,
            layout,
            part_size: self.engine.regions.part_size(self.target, self.engine.part_size, object.pin.size),
            segments,
            pin: object.pin,
            target_key: Key::parse(self.row.location.as_deref()?).ok()?,
            token,
            expected: object.expected,
            metadata: self.row.metadata.clone(),
            lineage: object.lineage,
            read_back: self.engine.verify == Verify::ReadBack,
            is_source: self.row.is_the_source_itself(),
            upload_id: resume.as_ref().and(self.row.upload_id.clone()),
            resume,
        })
    }

    async fn stores(&self) -> Result<(Store, Store), Failure> {
        let source = self.engine.regions.source(self.source).await?;
        let target = self.engine.regions.target(self.target, Access::Write).await?;
        Ok((source, target))
    }

    /// What the row says may lie staged in the target.
    fn upload_in_row(&self) -> Option<Upload> {
        Some(Upload {
            key: Key::parse(self.row.location.as_deref()?).ok()?,
            token: self.row.upload_token.clone().filter(|_| !self.row.is_the_source_itself())?,
            upload_id: self.row.upload_id.clone(),
            parts: self.row.parts(),
        })
    }

    /// The intent: object and token are in the database before anything is made in the store.
    async fn claim(&mut self, job: &Job) -> Result<Option<Claim>, DatabaseError> {
        let start = CopyStart {
            attempt: u32::from(self.attempt),
            upload_token: job.token.clone(),
            part_size: job.layout.part_size(),
            source_etag: job.pin.etag.clone(),
            bytes: job.pin.size,
            location: job.target_key.to_string(),
            fresh: job.resume.is_none(),
        };
        let claim = self.engine.database.claim_copy(&self.row, self.engine.claimant, &start).await?;
        if let Some(claim) = claim {
            self.row.state = State::Building;
            self.row.claim = claim.token();
            self.row.upload_token = Some(start.upload_token);
            self.row.part_size = Some(start.part_size);
            self.row.source_etag = Some(start.source_etag);
            self.row.bytes = Some(start.bytes);
            self.row.upload_id = self.row.upload_id.take().filter(|_| !start.fresh);
        }
        Ok(claim)
    }

    fn tell_start(&self, job: &Job, restart: Option<String>) {
        let item = self.ready.position;
        if let Some(reason) = restart {
            self.engine.tell(Event::Restarted { item, reason });
        }
        let resumed = job.resume.as_ref().map_or(0, |resume| resume.hash.bytes());
        self.engine.tell(Event::CopyStarted { item, attempt: self.attempt, resumed });
    }

    async fn copied(&mut self, claim: Claim, job: &Job, receipt: Receipt, bytes_read: u64) -> StepOutcome {
        let Receipt { bytes, sha256, etag, verified, adopted, metadata } = receipt;
        let verified = if self.row.is_the_source_itself() { copy::SHARED } else { verified };
        crate::fault::point("before-copied");
        let copied = Copied {
            bytes,
            bytes_read,
            sha256,
            verified: verified.to_owned(),
            etag: Some(etag.clone()),
            metadata: metadata.clone(),
            in_parts: has_rows_of_parts(&job.layout),
        };
        if !self.engine.database.copied(claim, copied).await? {
            return Ok((Outcome::Held, None));
        }
        crate::fault::point("after-copied");
        self.row.state = State::Saving;
        self.row.sha256 = Some(sha256);
        self.row.etag = Some(etag);
        self.row.verified = Some(verified.to_owned());
        self.row.upload_token = None;
        if !metadata.is_empty() {
            self.row.metadata = metadata;
        }
        self.engine.tell(Event::Copied { item: self.ready.position, bytes, sha256, adopted });
        Ok((Outcome::Done, None))
    }

    /// Another attempt follows, or the step gives up. What is staged stays for a cause that may pass.
    async fn failed(&mut self, claim: Claim, failure: Failure) -> StepOutcome {
        let database = &self.engine.database;
        if let Some(delay_ms) = self.next_attempt_in(failure.cause) {
            self.still_has(claim, &failure).await?;
            self.engine.tell_retry(self.ready, self.attempt, delay_ms, &failure);
            return Ok((Outcome::RetryAt(delay_ms), Some(claim)));
        }
        let transient = failure.cause.is_transient();
        if transient && self.engine.stop.draining().is_cancelled() {
            database.drained(claim).await?;
            return Ok((Outcome::Stopped, None));
        }
        if !transient && !self.still_has(claim, &failure).await? {
            return Ok((Outcome::Held, None));
        }
        let abandoned = !transient && self.abandon().await;
        if !database.failed(claim, State::Building, &failure, !abandoned).await? {
            return Ok((Outcome::Held, None));
        }
        self.row.state = State::Failed;
        self.engine.tell_failure(self.ready, failure);
        Ok((Outcome::Failed, None))
    }

    /// Notes why this attempt failed; false if the row is another's now. Who does not have it any more removes nothing: what
    /// is staged may be what the other goes on from.
    async fn still_has(&self, claim: Claim, failure: &Failure) -> Result<bool, DatabaseError> {
        self.engine.database.attempt_failed(claim, State::Building, u32::from(self.attempt), failure).await
    }

    /// Removes what is staged; if that fails the row keeps naming it, for the next run or `gc`.
    async fn abandon(&self) -> bool {
        match (self.engine.regions.target(self.target, Access::Write).await, self.upload_in_row()) {
            (Ok(target), Some(upload)) => target.abandon(&upload).await.is_ok(),
            (Err(_), Some(_)) => false,
            (_, None) => true,
        }
    }

    /// The upload is of no use any more: its parts go, and the next attempt starts from the first byte.
    async fn start_again(&mut self, claim: Claim, target: &Store, job: &Job, failure: Failure) -> StepOutcome {
        let upload = Upload {
            key: job.target_key.clone(),
            token: job.token.clone(),
            upload_id: self.row.upload_id.clone(),
            parts: self.row.parts(),
        };
        if !self.still_has(claim, &failure).await? {
            return Ok((Outcome::Held, None));
        }
        if target.abandon(&upload).await.is_err() {
            return self.failed(claim, failure).await;
        }
        crate::fault::point("restart-after-abandon");
        let start = CopyStart {
            attempt: u32::from(self.attempt),
            upload_token: Uuid::new_v4().simple().to_string(),
            part_size: job.layout.part_size(),
            source_etag: job.pin.etag.clone(),
            bytes: job.pin.size,
            location: job.target_key.to_string(),
            fresh: true,
        };
        if !self.engine.database.restart_copy(claim, &start).await? {
            return Ok((Outcome::Held, None));
        }
        self.row.upload_token = Some(start.upload_token);
        self.row.upload_id = None;
        self.engine.tell(Event::Restarted { item: self.ready.position, reason: failure.message.clone() });
        // A lost upload is worth another attempt whatever its cause would say.
        self.failed(claim, Failure { cause: Cause::TargetError, ..failure }).await
    }

    /// The pause before the next attempt, in milliseconds.
    fn next_attempt_in(&self, cause: Cause) -> Option<u64> {
        self.engine.next_attempt_in(self.attempt, cause, &[self.source, self.target])
    }

    /// A failure before the row was claimed: nothing of it was changed.
    async fn failed_unclaimed(&mut self, failure: Failure) -> StepOutcome {
        if let Some(claim) = self.taken {
            return self.failed(claim, failure).await;
        }
        if let Some(delay_ms) = self.next_attempt_in(failure.cause) {
            self.engine.tell_retry(self.ready, self.attempt, delay_ms, &failure);
            return Ok((Outcome::RetryAt(delay_ms), None));
        }
        if failure.cause.is_transient() && self.engine.stop.draining().is_cancelled() {
            return Ok((Outcome::Stopped, None));
        }
        if !self.engine.database.cannot_start(&self.row, &failure).await? {
            return Ok((Outcome::Held, None));
        }
        self.row.state = State::Failed;
        self.engine.tell_failure(self.ready, failure);
        Ok((Outcome::Failed, None))
    }
}

fn unknown_source() -> Failure {
    Failure::new(Cause::Internal, "a copy was started without its source being known")
}

/// Whether each part of a copy is written down: not that of an object that is copied whole.
fn has_rows_of_parts(layout: &Layout) -> bool {
    matches!(layout, Layout::Segments(_)) || layout.parts() > 1
}
