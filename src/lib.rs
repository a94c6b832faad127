//! Backhaul moves database backups between regions and makes them restorable there.
//!
//! The tree is the pipeline: a [`plan`] is read, [`survey`]ed against stores and catalogs, drawn as a [`graph`] and
//! run by the [`engine`], which [`copy`](mod@copy)s and [`register`]s and keeps every fact in the [`database`];
//! [`report`] shows what [`event`]s tell. [`address`], [`state`], [`graph`], [`schedule`], [`event`], [`lease`], [`share`], [`summary`] and [`comparison`] are pure:
//! no clock, no IO. `tests/tidy.rs` holds the direction of imports.

pub mod address;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod comparison;
pub mod copy;
pub mod database;
pub mod engine;
pub mod error;
pub mod event;
pub mod exit;
pub mod failure;
pub mod fault;
pub mod graph;
mod http;
pub mod id;
pub mod lease;
pub mod number;
pub mod openstack;
pub mod plan;
pub mod regions;
pub mod register;
pub mod report;
pub mod schedule;
pub mod share;
pub mod sql;
pub mod state;
pub mod store;
mod suggest;
pub mod summary;
pub mod survey;
mod task;
pub mod throttle;
