//! Backhaul moves database backups between regions and makes them restorable there.

pub mod catalog;
pub mod copy;
pub mod database;
pub mod engine;
pub mod error;
pub mod event;
pub mod exit;
pub mod failure;
pub mod fault;
pub mod graph;
pub mod id;
pub mod number;
pub mod plan;
pub mod regions;
pub mod register;
pub mod schedule;
pub mod state;
pub mod store;
pub mod summary;
pub mod survey;
