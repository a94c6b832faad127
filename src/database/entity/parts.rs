//! One row for each part that is hashed and stored.

use sea_orm::entity::prelude::{
    ActiveModelBehavior, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait,
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "parts")]
pub(in crate::database) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub backup_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    pub size: i64,
    pub reference: Option<String>,
    pub sha256_state: Vec<u8>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub(in crate::database) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
