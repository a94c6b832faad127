use super::*;
use crate::failure::Cause;
use crate::report::tests::summary;
use crate::summary::FailureExample;
use uuid::Uuid;

const AGAIN: &str = "backhaul run evacuate.yaml";

fn group(cause: Cause, count: u64, name: &str, message: &str, hint: Option<&str>) -> FailureGroup {
    let example =
        FailureExample { id: Uuid::nil(), name: name.into(), message: message.into(), hint: hint.map(str::to_owned) };
    FailureGroup { cause, count, tenants: 0, bytes: 0, chains_lost: 1, example }
}

#[expect(clippy::unnecessary_wraps, reason = "as `summary_text` takes it")]
fn minutes(count: u64) -> Option<Duration> {
    Some(Duration::from_mins(count))
}

#[test]
fn all_done() {
    let counts = Counts { total: 75, registered: 75, ..Counts::default() };
    let summary = summary(counts, (60, 60), (1_319_413_953_331, 1_319_413_953_331));
    assert_eq!(
        summary_text(&summary, Exit::Done, minutes(112), AGAIN),
        "done after 1 h 52 m: 60 of 60 chains restorable, 1.2 TiB\n\n      75  registered\n"
    );
    assert_eq!(
        summary_text(&summary, Exit::Done, None, AGAIN),
        "60 of 60 chains restorable, 1.2 TiB\n\n      75  registered\n"
    );
}

#[test]
fn some_failed_and_blocked() {
    let counts = Counts { total: 10, registered: 5, failed: 3, blocked: 2, ..Counts::default() };
    let mut summary = summary(counts, (2, 4), (5 << 30, 10 << 30));
    let mut lasting = group(Cause::SourceMissing, 2, "orders", "no object `a/b` in `one`", Some("take it out"));
    (lasting.tenants, lasting.bytes) = (1, 3 << 30);
    let full = group(Cause::NoSpace, 1, "users\n0 failed", "no space on `two`:\nfailed: 7\u{1b}[2J", None);
    summary.failures = vec![lasting, full];
    let failures = "\
2 failed: the source is not there (1 tenant, 3 GiB, 1 chain not restorable)
  for example `orders` (00000000-0000-0000-0000-000000000000): no object `a/b` in `one`
  hint: take it out
1 failed: no space left on the target (1 chain not restorable)
  `users\\n0 failed` (00000000-0000-0000-0000-000000000000): no space on `two`:
    failed: 7\\u{1b}[2J
";
    let next = "\
to try what failed again, once its cause is gone:
  backhaul run evacuate.yaml --retry-failed
";
    assert_eq!(
        summary_text(&summary, Exit::Failed, minutes(3), AGAIN),
        format!(
            "\
failed after 3 m: 2 of 4 chains restorable, 5 GiB of 10 GiB

       5  registered
       3  failed
       2  blocked by a failed backup of their chain

{failures}
{next}"
        )
    );
    assert_eq!(
        error_text(&summary, Exit::Failed, minutes(3), AGAIN),
        format!(
            "{failures}error: failed after 3 m: 2 of 4 chains restorable, 5 GiB of 10 GiB, 3 failed, 2 blocked\n{next}"
        )
    );
    let with_flag = format!("{AGAIN} --retry-failed");
    assert!(summary_text(&summary, Exit::Failed, None, &with_flag).ends_with(&format!("gone:\n  {with_flag}\n")));
    summary.failures.remove(0);
    assert!(summary_text(&summary, Exit::Failed, None, AGAIN).ends_with(&format!("gone:\n  {AGAIN}\n")));
}

#[test]
fn stopped_with_work_left() {
    let counts = Counts { total: 10, registered: 4, copied: 1, copying: 2, waiting: 3, ..Counts::default() };
    let mut summary = summary(counts, (1, 4), (4 << 30, 10 << 30));
    summary.left_out = Counts { total: 40, registered: 12, waiting: 28, ..Counts::default() };
    assert_eq!(
        summary_text(&summary, Exit::Stopped, minutes(240), AGAIN),
        "\
stopped after 4 h: 1 of 4 chains restorable, 4 GiB of 10 GiB

       4  registered
       1  copied, not registered yet
       2  copied in part
       3  waiting
      40  left out by `--only` or `--limit`, 12 of them registered

stopped: 6 left; run the same command again to continue:
  backhaul run evacuate.yaml
"
    );
}

#[test]
fn stopped_and_failed() {
    let counts = Counts { total: 3, registered: 1, failed: 1, waiting: 1, ..Counts::default() };
    let mut summary = summary(counts, (1, 3), (1, 3));
    summary.failures = vec![group(Cause::Integrity, 1, "orders", "digests differ", None)];
    let text = summary_text(&summary, Exit::Integrity, minutes(1), AGAIN);
    assert!(text.starts_with("failed, with an integrity check, after 1 m: 1 of 3 chains restorable, 1 B of 3 B\n"));
    assert!(text.ends_with(
        "to continue with 1 more and to try what failed again, once its cause is gone:\n  \
         backhaul run evacuate.yaml --retry-failed\n"
    ));
}

#[test]
fn nothing_to_do() {
    let summary = summary(Counts::default(), (0, 0), (0, 0));
    assert_eq!(summary_text(&summary, Exit::Done, minutes(0), AGAIN), "nothing to do: no backup is selected\n");
    let left_out = Counts { total: 2, registered: 2, ..Counts::default() };
    assert_eq!(
        summary_text(&Summary { left_out, ..summary }, Exit::Done, minutes(0), AGAIN),
        "nothing to do: no backup is selected\n       2  left out by `--only` or `--limit`, all of them registered\n"
    );
}
