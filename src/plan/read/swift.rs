//! `store: { type: swift }`: which keys go together, and what the store is.

use super::stores::may_be_plain;
use super::{Fields, Problem, Reader};
use crate::address;
use crate::plan::reference::Reference;
use crate::plan::{CloudSpec, SEGMENT_SIZE, StoreSpec, SwiftAccount, SwiftLogin, SwiftSpec, TenantAccess};

impl<'s> Reader<'s> {
    pub(super) fn swift(&mut self, fields: &Fields<'_, 's>) -> Option<(StoreSpec, String)> {
        let insecure = self.boolean(fields, "insecure").unwrap_or(false);
        let is_v1 = self.choice(fields, "auth") == Some("v1");
        let login = if is_v1 { self.v1(fields, insecure) } else { Some(self.keystone(fields)) };
        let account = self.account(fields, is_v1);
        let container = self.part(fields, "container", address::check_swift_container);
        let storage_policy = self.reference(fields, "storage_policy");
        let segment_size = self.size(fields, "segment_size").unwrap_or(SEGMENT_SIZE);
        let endpoint = self.part(fields, "endpoint", |text| address::swift_url(text, insecure).map(drop));
        // What the service catalog says is not known here.
        let is_plain = endpoint.as_ref().is_none_or(may_be_plain);
        self.warn_of_insecure(fields, insecure, is_plain);
        let http = self.http_to(fields, insecure, endpoint);
        let spec = SwiftSpec { login: login?, account, container, storage_policy, segment_size, http };
        let place = place(&spec);
        Some((StoreSpec::Swift(spec), place))
    }

    fn keystone(&mut self, fields: &Fields<'_, 's>) -> SwiftLogin {
        for name in ["auth_url", "user", "key"] {
            let Some(place) = fields.key(name) else { continue };
            let problem = Problem::error(place, format!("`{name}` goes with `auth: v1`"));
            self.problems.push(
                problem.hint("add `auth: v1`, or remove it: for Keystone the credentials are those of `clouds.yaml`"),
            );
        }
        SwiftLogin::Keystone(self.cloud(fields))
    }

    /// Which cloud is meant.
    pub(super) fn cloud(&mut self, fields: &Fields<'_, 's>) -> CloudSpec {
        CloudSpec { cloud: self.reference(fields, "cloud"), region: self.reference(fields, "region") }
    }

    fn v1(&mut self, fields: &Fields<'_, 's>, insecure: bool) -> Option<SwiftLogin> {
        for name in ["cloud", "region"] {
            let Some(place) = fields.key(name) else { continue };
            let problem = Problem::error(place, format!("`{name}` does not go with `auth: v1`"));
            self.problems.push(problem.hint("remove it: TempAuth knows neither clouds nor regions"));
        }
        for name in ["auth_url", "user", "key"] {
            if fields.key(name).is_none() {
                let problem = Problem::error(fields.place, format!("`auth: v1` needs `{name}` beside it"));
                self.problems.push(problem.hint("add `auth_url`, `user` and `key`: \"${NAME}\""));
            }
        }
        let auth_url = self.part(fields, "auth_url", |text| address::service_url(text, insecure).map(drop));
        let user = self.reference(fields, "user");
        let key = self.secret(fields, "key");
        Some(SwiftLogin::V1 { auth_url: auth_url?, user: user?, key: key? })
    }

    fn account(&mut self, fields: &Fields<'_, 's>, is_v1: bool) -> SwiftAccount {
        let is_per_tenant = self.choice(fields, "account") == Some("per-tenant");
        let access = match self.choice(fields, "access") {
            Some("reseller") => TenantAccess::Reseller,
            _ => TenantAccess::EachProject,
        };
        let place = fields.key("access").or_else(|| fields.key("account")).unwrap_or(fields.place);
        let problem = if !is_per_tenant && fields.key("access").is_some() {
            Problem::error(place, "`access` goes with `account: per-tenant`")
                .hint("add `account: per-tenant`, or remove `access`: one's own account needs none")
        } else if is_per_tenant && is_v1 && access == TenantAccess::EachProject {
            Problem::error(place, "`auth: v1` has no token for each project")
                .hint("write `access: reseller`, and give the user the group `.reseller_admin`")
        } else {
            return if is_per_tenant { SwiftAccount::PerTenant(access) } else { SwiftAccount::Own };
        };
        self.problems.push(problem);
        SwiftAccount::Own
    }
}

/// What a Swift is, as far as its texts tell: those with references, and clouds, stand for themselves.
fn place(spec: &SwiftSpec) -> String {
    if let Some(identity) = &spec.http.identity {
        return identity.clone();
    }
    let text = |reference: &Option<Reference>, other: &str| {
        reference.as_ref().map_or_else(|| other.to_owned(), ToString::to_string)
    };
    match &spec.login {
        SwiftLogin::Keystone(CloudSpec { cloud, region }) => {
            let place = format!("swift:{}#{}", text(cloud, "${OS_CLOUD}"), text(region, ""));
            if spec.account == SwiftAccount::Own { format!("{place}/own") } else { place }
        }
        SwiftLogin::V1 { auth_url, user, .. } => format!("swift:{auth_url}#/{user}"),
    }
}
