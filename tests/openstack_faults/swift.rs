//! A Swift that is overloaded, full, or speaks out of turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backhaul::failure::Cause;
use backhaul::state::State;

use crate::bed::{Bed, DATABASE, EACH};
use crate::openstack::{OpenStack, TWO};
use crate::way::{Fate, Way, answered};

/// Region-two's Swift by a way.
fn by(way: &Way) -> String {
    format!("{EACH}, endpoint: \"{}/v1\"", way.url())
}

fn way_to_swift(bed: &Bed<'_>) -> Way {
    Way::to(&bed.openstack.account(TWO, &bed.tenants[0]))
}

/// Requests that are answered by 503.
const REFUSED: usize = 9;

/// F24, F25: with and without a time to come back. No step fails, and nothing is sent to the wrong place.
#[test]
fn a_swift_that_is_overloaded_is_waited_for() {
    let Some(openstack) = OpenStack::shared("503 from Swift") else { return };
    let bed = Bed::new(&openstack, &["faults-503"]);
    let seeds = openstack.seed(&["faults-503/small"]);
    let way = way_to_swift(&bed);
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let mut puts = 0;
    way.decide(move |asked| {
        puts += usize::from(asked.puts_an_object());
        let left = REFUSED - counted.load(Ordering::SeqCst);
        // In the midst of the copies all requests fail for a while, whatever they are.
        if puts < 4 || left == 0 {
            return Fate::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let retry_after = if left == REFUSED - 1 { "Retry-After: 2\r\n" } else { "" };
        Fate::Answered(
            503,
            retry_after.to_owned(),
            "<html><p>The server is currently unavailable.</p></html>".to_owned(),
        )
    });
    bed.plan(&by(&way), DATABASE, "retry: { attempts: 20, max_delay: 1s }");
    let run = bed.backhaul(&["run", "--json", "plan.yaml"]).expect(0);
    assert!(!run.stdout.contains("\"type\":\"failed\""), "{run}");
    assert_eq!(refused.load(Ordering::SeqCst), REFUSED, "it was overloaded");
    bed.is_complete("faults-503", &seeds.of("faults-503"));
}

/// One that stays so is a failure of the run and not of the backups: the next run goes on.
#[test]
fn a_swift_that_stays_full_is_told_and_the_next_run_goes_on() {
    let Some(openstack) = OpenStack::shared("507 from Swift") else { return };
    let bed = Bed::new(&openstack, &["faults-507"]);
    let seeds = openstack.seed(&["faults-507/small"]);
    let way = way_to_swift(&bed);
    let before = bed.there("faults-507");
    way.decide(|asked| {
        let page = "<html><h1>Insufficient Storage</h1><p>There was not enough space to save the resource.</p></html>";
        if asked.puts_an_object() { answered(507, page) } else { Fate::Pass }
    });
    bed.plan(&by(&way), DATABASE, "retry: { attempts: 2, max_delay: 1s }");
    let said = bed.run(&[]).expect(3);
    let host = way.url().replace("http://", "");
    for words in [
        "5 failed: no space left on the target",
        &*format!("{host} answered 507: There was not enough space to save the resource"),
        "hint: a device of the cluster is full: its operator has to make room",
    ] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    for row in bed.rows() {
        assert_eq!((row.state, row.cause), (State::Failed, Some(Cause::NoSpace)), "{}", row.name);
    }
    assert_eq!(bed.there("faults-507"), before);
    way.open();
    bed.run(&[]).expect(0);
    bed.is_complete("faults-507", &seeds.of("faults-507"));
}

/// S2: a service that shows a token in what it says of an error.
#[test]
fn what_swift_says_is_shown_without_our_token() {
    let Some(openstack) = OpenStack::shared("a Swift that shows tokens") else { return };
    let bed = Bed::new(&openstack, &["faults-echo"]);
    openstack.seed(&["faults-echo/many:1"]);
    let way = way_to_swift(&bed);
    way.decide(|asked| {
        let token = asked.header("x-auth-token").expect("it has one");
        let page = format!("<html><p>No entry with {token} at all.</p></html>");
        if asked.puts_an_object() { answered(403, &page) } else { Fate::Pass }
    });
    bed.plan(&by(&way), DATABASE, "");
    let said = bed.run(&[]).expect(3);
    assert!(said.stdout.contains("answered 403: No entry with *** at all"), "{said}");
}
