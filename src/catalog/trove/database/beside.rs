//! What a Trove has beside backups and Backhaul does not move: strategies, and quotas that somebody has set.

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};

use super::TroveDatabase;
use super::connect::within;
use super::read::get;

impl TroveDatabase {
    /// A line for each kind of thing that is there, or cannot be looked at.
    pub async fn not_moved(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let strategies = Query::select()
            .expr_as(Func::count(Expr::col("id")), "strategies")
            .expr_as(Func::count_distinct(Expr::col("tenant_id")), "tenants")
            .from("backup_strategy")
            .to_owned();
        match within(self.connection.query_one(&strategies)).await {
            Ok(Some(row)) => {
                let count = get::<i64>(&row, "strategies").unwrap_or_default();
                let tenants = get::<i64>(&row, "tenants").unwrap_or_default();
                if count > 0 {
                    lines.push(format!("{count} backup strategies of {tenants} tenants are not moved: openstack database backup strategy list"));
                }
            }
            Ok(None) => {}
            Err(_) => lines.push(
                "backup strategies could not be looked at (SELECT on `backup_strategy`), and are not moved".to_owned(),
            ),
        }
        let quotas = Query::select()
            .columns(["tenant_id", "resource", "hard_limit"])
            .from("quotas")
            .and_where(Expr::col("hard_limit").is_not_null())
            .and_where(Expr::col("resource").ne("backups").or(Expr::col("hard_limit").ne(self.default_quota)))
            .to_owned();
        if let Ok(rows) = within(self.connection.query_all(&quotas)).await {
            for row in rows {
                let tenant: Option<String> = get(&row, "tenant_id").unwrap_or_default();
                let resource: String = get(&row, "resource").unwrap_or_default();
                let limit: Option<i32> = get(&row, "hard_limit").unwrap_or_default();
                lines.push(format!(
                    "the quota of tenant `{}` for {resource} is {} here and is not moved",
                    tenant.unwrap_or_default(),
                    limit.unwrap_or_default()
                ));
            }
        }
        lines
    }
}
