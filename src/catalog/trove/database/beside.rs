//! What a Trove has beside backups and Backhaul does not move: strategies, and quotas that somebody has set.

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};

use super::TroveDatabase;
use super::connect::within;
use super::error::Trouble;
use super::read::get;
use crate::number::counted;

impl TroveDatabase {
    /// A line for each kind of thing that is there, or cannot be looked at.
    pub async fn not_moved(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.strategies().await {
            Ok((0, _)) => {}
            Ok((strategies, tenants)) => {
                let are = if strategies == 1 { "is" } else { "are" };
                lines.push(format!(
                    "{} of {} {are} not moved: openstack database backup strategy list",
                    counted(strategies, "backup strategy"),
                    counted(tenants, "tenant")
                ));
            }
            Err(_) => lines.push(
                "backup strategies could not be looked at (SELECT on `backup_strategy`), and are not moved".to_owned(),
            ),
        }
        match self.own_quotas().await {
            Ok(quotas) => lines.extend(quotas),
            Err(_) => lines.push("quotas could not be looked at (SELECT on `quotas`), and are not moved".to_owned()),
        }
        lines
    }

    /// Strategies, and the tenants that have any.
    async fn strategies(&self) -> Result<(u64, u64), Trouble> {
        let select = Query::select()
            .expr_as(Func::count(Expr::col("id")), "strategies")
            .expr_as(Func::count_distinct(Expr::col("tenant_id")), "tenants")
            .from("backup_strategy")
            .to_owned();
        let Some(row) = within(self.connection.query_one(&select)).await? else { return Ok((0, 0)) };
        let number = |name| get::<i64>(&row, name).map(|number| u64::try_from(number).unwrap_or_default());
        Ok((number("strategies")?, number("tenants")?))
    }

    /// A line for each quota that is not what a tenant has by default.
    async fn own_quotas(&self) -> Result<Vec<String>, Trouble> {
        let select = Query::select()
            .columns(["tenant_id", "resource", "hard_limit"])
            .from("quotas")
            .and_where(Expr::col("hard_limit").is_not_null())
            .and_where(Expr::col("resource").ne("backups").or(Expr::col("hard_limit").ne(self.default_quota)))
            .to_owned();
        let rows = within(self.connection.query_all(&select)).await?;
        let line = |row| {
            let tenant: Option<String> = get(row, "tenant_id")?;
            let resource: String = get(row, "resource")?;
            let limit: Option<i32> = get(row, "hard_limit")?;
            let limit = match limit.unwrap_or_default() {
                ..0 => "unlimited".to_owned(),
                limit => limit.to_string(),
            };
            let tenant = tenant.unwrap_or_default();
            Ok(format!("the quota of tenant `{tenant}` for {resource} is {limit} here and is not moved"))
        };
        rows.iter().map(line).collect()
    }
}
