//! Two regions of `OpenStack` that the test itself serves: what needs no real one, and what a real one says too seldom.

mod support;

#[path = "small_cloud/again.rs"]
mod again;
#[path = "small_cloud/bad_rows.rs"]
mod bad_rows;
#[path = "small_cloud/bed.rs"]
mod bed;
#[path = "small_cloud/chains.rs"]
mod chains;
#[path = "small_cloud/cloud.rs"]
mod cloud;
#[path = "small_cloud/expiry.rs"]
mod expiry;
#[path = "small_cloud/leftovers.rs"]
mod leftovers;
#[path = "small_cloud/metadata.rs"]
mod metadata;
#[path = "small_cloud/narrowed.rs"]
mod narrowed;
#[path = "small_cloud/paths.rs"]
mod paths;
#[path = "small_cloud/quotas.rs"]
mod quotas;
#[path = "small_cloud/too_large.rs"]
mod too_large;
#[path = "small_cloud/two_catalogs.rs"]
mod two_catalogs;
