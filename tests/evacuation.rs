//! Whole evacuations by the real binary, from one region of a real `OpenStack` to the other: tenants with plain backups,
//! large ones, chains, and everything that can be wrong with one, by each way into Trove and each way into Swift. At the
//! end Trove's own code restores them in the target, with the source's Swift stopped.
//!
//! All tests share one `OpenStack`. Each looks at tenants of its own, or at an evacuation that several ask about.

mod support;

#[path = "evacuation/bed.rs"]
mod bed;
#[path = "evacuation/beside.rs"]
mod beside;
#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "evacuation/catalogs.rs"]
mod catalogs;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "evacuation/defects.rs"]
mod defects;
#[path = "evacuation/drafted.rs"]
mod drafted;
#[path = "evacuation/evacuated.rs"]
mod evacuated;
#[path = "evacuation/from_api.rs"]
mod from_api;
#[path = "support/openstack.rs"]
mod openstack;
#[path = "evacuation/postgresql.rs"]
mod postgresql;
#[path = "evacuation/registered.rs"]
mod registered;
#[path = "evacuation/restored.rs"]
mod restored;
#[path = "support/s3/mod.rs"]
mod s3;
#[path = "evacuation/shared.rs"]
mod shared;
#[path = "evacuation/tenants.rs"]
mod tenants;
#[path = "evacuation/tls.rs"]
mod tls;
#[path = "support/trove_database.rs"]
mod trove_database;
#[path = "evacuation/vaults.rs"]
mod vaults;
#[path = "evacuation/ways_in.rs"]
mod ways_in;
#[path = "evacuation/whole.rs"]
mod whole;
