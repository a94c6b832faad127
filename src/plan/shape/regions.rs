//! The keys of a region and of its catalog.

use super::stores::STORE;
use super::{Key, Kind, Shape, Typed, key, shape};

pub(in crate::plan) static REGION: Shape = shape(
    "a region",
    "A store and a catalog under one name.",
    &[
        key("store", Kind::Typed(&STORE), "Where the bytes lie.").required(),
        key("catalog", Kind::Typed(&CATALOG), "Where the records of the backups lie."),
        key(
            "tenants",
            Kind::Tenants,
            "Which tenants of this region stand for those of the sources, where the regions do not share a Keystone: pairs of `source: target`, or the path of a CSV file with these two columns, relative to the plan file. Each by its project's id, or as `domain/name`.",
        )
        .default("a tenant keeps its id"),
        key(
            "datastore_versions",
            Kind::Versions,
            "Which datastore versions of this region stand for those of the sources, where names differ: pairs of `datastore/version`.",
        )
        .default("the one of the same name and number"),
        key(
            "backup_key_present",
            Kind::Boolean,
            "Whether this region's guests have the key (`backup_aes_cbc_key`) of the sources' encrypted backups; else those count as copied, and whether they restore is not known.",
        )
        .default("false"),
        key("copy_from", Kind::Boolean, "Whether backups may be copied from this region.").default("true"),
        key("copy_to", Kind::Boolean, "Whether backups may be copied to this region.").default("true"),
    ],
);

static CATALOG: Typed = Typed {
    what: "a catalog",
    shapes: &[
        ("store", shape("a catalog of type `store`", "Records in the region's own store.", OF_STORE)),
        ("trove-database", shape("a catalog of type `trove-database`", "The database of OpenStack Trove.", DATABASE)),
        ("trove-api", shape("a catalog of type `trove-api`", "The API of OpenStack Trove.", API)),
    ],
};

const OF_STORE: &[Key] =
    &[key("type", Kind::Choice(&["store"], &[]), "`store`: records in the region's own store, under `.backhaul/`.")
        .required()
        .default("store")];

const DATABASE: &[Key] = &[
    key("type", Kind::Choice(&["trove-database"], &[]), "`trove-database`: Trove's own database.").required(),
    key(
        "url",
        Kind::Reference,
        "`mysql://user:${PASSWORD}@host/trove`, also `mariadb://` and `postgres://`. May hold `${NAME}`; a password must.",
    )
    .required(),
    key(
        "quota",
        Kind::Choice(&["respect", "ignore"], &[]),
        "Whether copies above a project's quota of backups are left unregistered (`respect`) or not (`ignore`).",
    )
    .default("respect"),
    key(
        "default_quota",
        Kind::Integer { min: 0, max: 1_000_000 },
        "Quota of projects for which none is set: `max_backups_per_tenant` of the region's trove.conf.",
    )
    .default("50"),
];

const API: &[Key] = &[
    key("type", Kind::Choice(&["trove-api"], &[]), "`trove-api`: Trove's API.").required(),
    key("cloud", Kind::Reference, "An entry of `clouds.yaml`. May hold `${NAME}`.").default("that of the store"),
    key("region", Kind::Reference, "A region of the cloud's service catalog. May hold `${NAME}`.")
        .default("that of the store"),
    key(
        "endpoint",
        Kind::Reference,
        "Where it answers, up to `/v1.0`. May hold `${NAME}`. `http://` is for this machine only.",
    )
    .default("that of the service catalog"),
];
