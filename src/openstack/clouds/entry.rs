//! One entry → a cloud: old and new names of keys, what wins, and what is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::super::{Auth, Cloud, Domain, ErrorKind, Interface, OpenStackError, OwnScope, Secret, Service, User};
use super::files::merge;
use super::{Config, Environment};
use crate::suggest;

/// What of the environment makes a cloud: `OS_` and these.
const VARIABLES: [&str; 36] = [
    "AUTH_URL",
    "AUTH_TYPE",
    "AUTH_PLUGIN",
    "USERNAME",
    "USER_ID",
    "PASSWORD",
    "USER_DOMAIN_ID",
    "USER_DOMAIN_NAME",
    "PROJECT_ID",
    "PROJECT_NAME",
    "TENANT_ID",
    "TENANT_NAME",
    "PROJECT_DOMAIN_ID",
    "PROJECT_DOMAIN_NAME",
    "DOMAIN_ID",
    "DOMAIN_NAME",
    "DEFAULT_DOMAIN",
    "DEFAULT_DOMAIN_ID",
    "DEFAULT_DOMAIN_NAME",
    "SYSTEM_SCOPE",
    "TOKEN",
    "AUTH_TOKEN",
    "APPLICATION_CREDENTIAL_ID",
    "APPLICATION_CREDENTIAL_NAME",
    "APPLICATION_CREDENTIAL_SECRET",
    "INTERFACE",
    "ENDPOINT_TYPE",
    "CACERT",
    "CERT",
    "INSECURE",
    "VERIFY",
    "IDENTITY_API_VERSION",
    "OBJECT_STORE_ENDPOINT_OVERRIDE",
    "DATABASE_ENDPOINT_OVERRIDE",
    "IDENTITY_ENDPOINT_OVERRIDE",
    "REGION_NAME",
];

/// The kinds of `auth_type` that are known, as messages name them.
const AUTH_TYPES: [&str; 6] = ["password", "v3password", "v3applicationcredential", "token", "v3token", "v1password"];

/// What `OS_*` say of a cloud; none if they only choose one.
pub(super) fn of_environment(variable: Environment<'_>) -> Option<Config> {
    let found = VARIABLES.iter().filter_map(|name| Some((*name, variable(&format!("OS_{name}"))?)));
    let found: BTreeMap<String, Config> =
        found.map(|(name, value)| (name.to_lowercase(), Config::Text(value))).collect();
    let is_only_choice = found.keys().all(|name| name == "region_name");
    (!is_only_choice).then_some(Config::Map(found))
}

/// An entry that was found.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) origin: String,
    pub(super) config: Config,
    /// The region that is asked for, if one is.
    pub(super) region: Option<String>,
}

/// An entry being read.
struct Reading<'a> {
    name: &'a str,
    origin: &'a str,
    top: BTreeMap<String, Config>,
    auth: BTreeMap<String, Config>,
}

impl Entry {
    /// The cloud that it describes.
    pub(super) fn resolve(mut self, variable: Environment<'_>, folder: &Path) -> Result<Cloud, OpenStackError> {
        let region_name = self.region();
        let Config::Map(mut top) = self.config else {
            let message = format!("cloud `{}` in {} is no mapping", self.name, self.origin);
            return Err(OpenStackError::new(ErrorKind::Bad, message).hint("write its keys below its name"));
        };
        let auth = match top.remove("auth") {
            Some(Config::Map(auth)) => auth,
            _ => BTreeMap::new(),
        };
        let reading = Reading { name: &self.name, origin: &self.origin, top, auth };
        reading.refuse_what_is_not_supported()?;
        let auth = reading.auth()?;
        let auth_url = reading.auth_url(matches!(auth, Auth::V1 { .. }), region_name.as_deref())?;
        let cacert = reading.of_top("cacert")?.map(|path| {
            let home = variable("HOME").map(PathBuf::from);
            match (path.strip_prefix("~/"), home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => folder.join(path),
            }
        });
        Ok(Cloud {
            interface: reading.interface()?,
            verify: !reading.boolean("insecure")?.unwrap_or(false) && reading.boolean("verify")?.unwrap_or(true),
            allows_http: false,
            endpoint_overrides: reading.overrides()?,
            name: self.name.clone(),
            origin: self.origin.clone(),
            auth_url,
            auth,
            region_name,
            cacert,
        })
    }

    /// The region, and what the entry says of it alone put over the rest.
    fn region(&mut self) -> Option<String> {
        let Config::Map(top) = &mut self.config else { return self.region.take() };
        let names = top.remove("region_name");
        let mut regions: Vec<(String, Config)> = Vec::new();
        match (top.remove("regions"), names) {
            (Some(Config::List(items)), _) => {
                for item in items {
                    match item {
                        Config::Text(name) => regions.push((name, Config::Nothing)),
                        Config::Map(mut item) => {
                            if let (Some(Config::Text(name)), values) = (item.remove("name"), item.remove("values")) {
                                regions.push((name, values.unwrap_or(Config::Nothing)));
                            }
                        }
                        _ => {}
                    }
                }
            }
            (_, Some(Config::Text(names))) => {
                let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
                regions.extend(names.map(|name| (name.to_owned(), Config::Nothing)));
            }
            (_, Some(Config::List(names))) => regions.extend(names.into_iter().filter_map(|name| match name {
                Config::Text(name) => Some((name, Config::Nothing)),
                _ => None,
            })),
            _ => {}
        }
        let wanted = self.region.take();
        let found = match &wanted {
            None => regions.into_iter().next(),
            Some(wanted) => regions.into_iter().find(|(name, _)| name == wanted),
        };
        let Some((name, values)) = found else { return wanted };
        if let values @ Config::Map(_) = values {
            merge(&mut self.config, values);
        }
        Some(name)
    }
}

impl Reading<'_> {
    fn bad(&self, message: &str) -> OpenStackError {
        OpenStackError::new(ErrorKind::Bad, format!("cloud `{}` in {}: {message}", self.name, self.origin))
    }

    fn as_text(&self, key: &str, config: Option<&Config>) -> Result<Option<String>, OpenStackError> {
        match config {
            None | Some(Config::Nothing) => Ok(None),
            Some(Config::Text(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(Config::Boolean(value)) => Ok(Some(value.to_string())),
            Some(Config::Float) => Err(self
                .bad(&format!("YAML reads `{key}` as a number with an exponent or a fraction"))
                .hint("put the value in quotes")),
            Some(Config::List(_) | Config::Map(_)) => {
                Err(self.bad(&format!("`{key}` must be a text")).hint("write a single value"))
            }
        }
    }

    fn of_top(&self, key: &str) -> Result<Option<String>, OpenStackError> {
        self.as_text(key, self.top.get(key))
    }

    /// The value of the first of these keys that has one, in `auth` or beside it.
    fn text(&self, keys: &[&str]) -> Result<Option<String>, OpenStackError> {
        for key in keys {
            for section in [&self.auth, &self.top] {
                if let Some(text) = self.as_text(key, section.get(*key))? {
                    return Ok(Some(text));
                }
            }
        }
        Ok(None)
    }

    /// As [`Self::text`], with the other precedence that the SDK has for projects, domains and tokens: what stands beside
    /// `auth` wins, because there the environment's word comes.
    fn outer(&self, keys: &[&str]) -> Result<Option<String>, OpenStackError> {
        for key in keys {
            for section in [&self.top, &self.auth] {
                if let Some(text) = self.as_text(key, section.get(*key))? {
                    return Ok(Some(text));
                }
            }
        }
        Ok(None)
    }

    fn needed(&self, keys: &[&str]) -> Result<String, OpenStackError> {
        self.text(keys)?.ok_or_else(|| {
            let key = keys[0];
            let hint = if self.origin == "the environment" {
                format!("set it: export OS_{}=…", key.to_uppercase())
            } else {
                format!("write it below `auth:` of cloud `{}`; a secret may stand in a secure.yaml", self.name)
            };
            self.bad(&format!("there is no `{key}`")).hint(hint)
        })
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, OpenStackError> {
        let Some(text) = self.of_top(key)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.bad(&format!("`{key}` must be `true` or `false`")).hint("write one of the two")),
        }
    }

    fn refuse_what_is_not_supported(&self) -> Result<(), OpenStackError> {
        if self.of_top("identity_api_version")?.is_some_and(|version| version.starts_with('2')) {
            let hint = "remove `identity_api_version: 2`; Keystone has had v3 since 2013";
            return Err(self.bad("Keystone's API v2 is not spoken here").hint(hint));
        }
        if self.top.contains_key("cert") {
            return Err(self
                .bad("client certificates (`cert`) are not supported")
                .hint("use a password or an application credential"));
        }
        Ok(())
    }

    fn auth(&self) -> Result<Auth, OpenStackError> {
        let token = self.outer(&["token", "auth_token"])?;
        let given = match self.of_top("auth_type")? {
            Some(given) => Some(given),
            None => self.of_top("auth_plugin")?,
        };
        let has = |keys: &[&str]| self.text(keys).map(|text| text.is_some());
        let kind = match given.as_deref() {
            Some(kind) => kind,
            None if has(&["password"])? => "password",
            None if has(&["application_credential_secret"])? => "v3applicationcredential",
            None if token.is_some() => "token",
            None => "password",
        };
        match kind {
            "password" | "v3password" => Ok(Auth::Password {
                user: self.user()?,
                password: Secret::new(self.needed(&["password"])?),
                scope: self.scope()?,
            }),
            "v3applicationcredential" => Ok(Auth::ApplicationCredential {
                id: match self.text(&["application_credential_id"])? {
                    Some(id) => Ok(id),
                    None if has(&["application_credential_name"])? => {
                        Err((self.needed(&["application_credential_name"])?, self.user()?))
                    }
                    None => Ok(self.needed(&["application_credential_id"])?),
                },
                secret: Secret::new(self.needed(&["application_credential_secret"])?),
            }),
            "token" | "v3token" => match token {
                Some(token) => Ok(Auth::Token { token: Secret::new(token), scope: self.scope()? }),
                None => self
                    .needed(&["token"])
                    .map(|token| Auth::Token { token: Secret::new(token), scope: OwnScope::Unscoped }),
            },
            "v1password" => Ok(Auth::V1 {
                user: self.needed(&["username", "user_name", "user"])?,
                key: Secret::new(self.needed(&["password", "key"])?),
            }),
            other => {
                let hint = suggest::hint(other, "known types", AUTH_TYPES);
                Err(self.bad(&format!("`auth_type` `{other}` is not supported")).hint(hint))
            }
        }
    }

    fn user(&self) -> Result<User, OpenStackError> {
        if let Some(id) = self.text(&["user_id"])? {
            return Ok(User::Id(id));
        }
        let name = self.needed(&["username", "user_name"])?;
        Ok(User::Name(name, self.domain("user_domain")?))
    }

    /// The domain of a user or a project; that of the whole entry; at last the one that every Keystone starts with.
    fn domain(&self, of: &str) -> Result<Domain, OpenStackError> {
        for prefix in [of, "domain", "default_domain"] {
            if let Some(id) = self.outer(&[&format!("{prefix}_id")])? {
                return Ok(Domain::Id(id));
            }
            if let Some(name) = self.outer(&[&format!("{prefix}_name")])? {
                return Ok(Domain::Name(name));
            }
        }
        Ok(Domain::Id(self.text(&["default_domain"])?.unwrap_or_else(|| "default".to_owned())))
    }

    fn scope(&self) -> Result<OwnScope, OpenStackError> {
        if let Some(id) = self.outer(&["project_id", "tenant_id"])? {
            return Ok(OwnScope::ProjectId(id));
        }
        if let Some(name) = self.outer(&["project_name", "tenant_name"])? {
            return Ok(OwnScope::ProjectName(name, self.domain("project_domain")?));
        }
        if self.text(&["system_scope"])?.is_some_and(|scope| scope == "all") {
            return Ok(OwnScope::System);
        }
        if let Some(id) = self.outer(&["domain_id"])? {
            return Ok(OwnScope::Domain(Domain::Id(id)));
        }
        Ok(self.outer(&["domain_name"])?.map_or(OwnScope::Unscoped, |name| OwnScope::Domain(Domain::Name(name))))
    }

    fn auth_url(&self, is_v1: bool, region: Option<&str>) -> Result<Url, OpenStackError> {
        if self.text(&["auth_url"])?.is_none()
            && let Some(profile) = self.text(&["profile", "cloud"])?
        {
            let message =
                format!("there is no `auth_url`, and the profile `{profile}` of openstacksdk is not known here");
            return Err(self.bad(&message).hint("write `auth_url` below `auth:`"));
        }
        let text = self.needed(&["auth_url"])?.replace("{region_name}", region.unwrap_or_default());
        let url: Option<Url> = text.parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        let is_plain = |url: &Url| {
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
        };
        let Some(mut url) = url.filter(is_plain) else {
            let hint = "write it as `https://keystone.example.com:5000/v3`, without a user and without `?`";
            return Err(self.bad("`auth_url` is no URL of a service").hint(hint));
        };
        let path = url.path().trim_end_matches('/').to_owned();
        let path = match path.strip_suffix("/v2.0") {
            _ if is_v1 || path.ends_with("/v3") => path,
            Some(before) => format!("{before}/v3"),
            None => format!("{path}/v3"),
        };
        url.set_path(&path);
        Ok(url)
    }

    fn interface(&self) -> Result<Interface, OpenStackError> {
        let text = match self.of_top("interface")? {
            Some(text) => Some(text),
            None => self.of_top("endpoint_type")?,
        };
        match text.as_deref().map(|text| text.trim_end_matches("URL")) {
            None | Some("public") => Ok(Interface::Public),
            Some("internal") => Ok(Interface::Internal),
            Some("admin") => Ok(Interface::Admin),
            Some(other) => {
                Err(self.bad(&format!("`interface` cannot be `{other}`")).hint("write `public`, `internal` or `admin`"))
            }
        }
    }

    fn overrides(&self) -> Result<BTreeMap<Service, String>, OpenStackError> {
        let mut overrides = BTreeMap::new();
        for service in [Service::ObjectStore, Service::Database, Service::Identity] {
            let stem = service.as_str().replace('-', "_");
            for key in [format!("{stem}_endpoint_override"), format!("{stem}_endpoint")] {
                if let Some(url) = self.of_top(&key)? {
                    overrides.insert(service, url);
                    break;
                }
            }
        }
        Ok(overrides)
    }
}
