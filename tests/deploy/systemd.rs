//! The service and its timer.

use std::process::Command;

use backhaul::exit::Exit;
use rustix::path::Arg as _;

use super::read;
use super::support::{BACKHAUL, Output, skip};

/// As `systemd-analyze security` counts, of 100: what it calls OK.
const EXPOSURE_MAX: &str = "20";

/// The values of a key, over all sections.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn exit_codes_mean_what_they_do() {
    let unit = read("systemd/backhaul@.service");
    assert_eq!(values(&unit, "SuccessExitStatus"), [format!("{} {}", Exit::Stopped as u8, Exit::Held as u8)]);
    let kept = format!("{} {} {}", Exit::Usage as u8, Exit::Failed as u8, Exit::Integrity as u8);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), [kept]);
    assert_eq!(values(&unit, "EnvironmentFile"), ["/etc/backhaul/%i.env"]);
    assert_eq!(values(&unit, "ExecStart"), ["/usr/local/bin/backhaul run /etc/backhaul/%i.yaml"]);
}

#[test]
fn units_are_right_and_hardened() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = read("systemd/backhaul@.service").replace("/usr/local/bin/backhaul", BACKHAUL);
    for (name, text) in [("backhaul@.service", unit), ("backhaul@.timer", read("systemd/backhaul@.timer"))] {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    let service = folder.path().join("backhaul@orders.service");
    let timer = folder.path().join("backhaul@orders.timer");
    let service = service.as_str().expect("UTF-8");
    for arguments in [
        vec!["verify", "--man=no", "--recursive-errors=no", service, timer.as_str().expect("UTF-8")],
        vec!["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, service],
    ] {
        let said = match Command::new("systemd-analyze").args(&arguments).env("SYSTEMD_LOG_LEVEL", "warning").output() {
            Ok(output) => Output::of(output),
            Err(error) => return skip("the units of systemd", &format!("systemd-analyze: {error}")),
        };
        assert!(said.code == Some(0) && said.stderr.is_empty(), "systemd-analyze {arguments:?}: {said}");
    }
}
