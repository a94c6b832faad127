//! Which project is meant: looked up, never guessed, because a typo would succeed (Swift makes accounts as they are named).

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::error::reason;
use super::{ErrorKind, OpenStackError, Scope, Session};
use crate::http::{GaveUp, JsonAnswer};

/// A project as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProjectName {
    /// Its id.
    Id(String),
    /// Its name within a domain, which is given by id or by name.
    Named {
        /// Id or name.
        domain: String,
        /// The project's name.
        name: String,
    },
}

impl ProjectName {
    /// `domain/name`, or an id where there is no `/`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((domain, name)) => Self::Named { domain: domain.to_owned(), name: name.to_owned() },
            None => Self::Id(text.to_owned()),
        }
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Named { domain, name } => write!(f, "{domain}/{name}"),
        }
    }
}

/// A project as Keystone knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Id of its domain.
    pub domain_id: String,
    /// Whether anybody gets tokens for it.
    pub enabled: bool,
}

impl Project {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            id: text("id")?,
            name: text("name")?,
            domain_id: text("domain_id")?,
            enabled: value["enabled"].as_bool().unwrap_or(true),
        })
    }
}

impl Session {
    /// Looks a project up. Whoever may not look at all projects finds those that it has a role in.
    ///
    /// # Errors
    /// [`OpenStackError`]; kind `NotFound` when Keystone does not know it, or does not show it.
    pub async fn project(&self, named: &ProjectName) -> Result<Project, OpenStackError> {
        let found = match named {
            ProjectName::Id(id) => match self.get(&format!("projects/{}", encoded(id))).await? {
                Ok(answer) => Project::read(&answer.body["project"]),
                Err(gave_up) if is_status(&gave_up, &[404]) => None,
                Err(gave_up) if is_status(&gave_up, &[403]) => {
                    return self
                        .own_projects()
                        .await?
                        .into_iter()
                        .find(|project| project.id == *id)
                        .ok_or_else(|| self.hidden(named));
                }
                Err(gave_up) => return Err(self.unexpected(&gave_up)),
            },
            ProjectName::Named { domain, name } => match self.get(&format!("projects?name={}", encoded(name))).await? {
                Ok(answer) => self.of_domain(projects(&answer), domain).await?,
                Err(gave_up) if is_status(&gave_up, &[403]) => {
                    let mut own = self.own_projects().await?;
                    own.retain(|project| project.name == *name);
                    return self.of_domain(own, domain).await?.ok_or_else(|| self.hidden(named));
                }
                Err(gave_up) => return Err(self.unexpected(&gave_up)),
            },
        };
        found.ok_or_else(|| self.unknown(named))
    }

    /// The projects that the token's user has a role in.
    async fn own_projects(&self) -> Result<Vec<Project>, OpenStackError> {
        match self.get("auth/projects").await? {
            Ok(answer) => Ok(projects(&answer)),
            Err(gave_up) => Err(self.unexpected(&gave_up)),
        }
    }

    /// The one of `projects` whose domain has this id, else the one whose domain has this name.
    async fn of_domain(&self, projects: Vec<Project>, domain: &str) -> Result<Option<Project>, OpenStackError> {
        if let Some(at) = projects.iter().position(|project| project.domain_id == domain) {
            return Ok(projects.into_iter().nth(at));
        }
        let mut hidden = None;
        for project in projects {
            match self.domain_name(&project.domain_id).await? {
                Ok(Some(name)) if name.eq_ignore_ascii_case(domain) => return Ok(Some(project)),
                Ok(_) => {}
                Err(refusal) => hidden = Some((project, refusal)),
            }
        }
        // It may be the very one, or another's.
        hidden.map_or(Ok(None), |(project, refusal)| {
            let why = self.cloud().auth.secret().redact(&reason(&refusal));
            let who = self.cloud().auth.who();
            let message = format!("the domain `{domain}` cannot be looked up by its name as {who}: {why}");
            let hint = format!(
                "name the project by its domain's id, `{}/{}` if it is that one",
                project.domain_id, project.name
            );
            Err(OpenStackError::new(ErrorKind::Refused, message).hint(hint))
        })
    }

    /// The name of a domain, if anything tells: the token, or Keystone. The inner error says that it does not show it.
    async fn domain_name(&self, id: &str) -> Result<Result<Option<String>, GaveUp>, OpenStackError> {
        let token = self.token(&Scope::Own).await?;
        if let Some((_, name)) = token.domains.iter().find(|(known, _)| known == id) {
            return Ok(Ok(Some(name.clone())));
        }
        match self.get(&format!("domains/{}", encoded(id))).await? {
            Ok(answer) => Ok(Ok(answer.body["domain"]["name"].as_str().map(str::to_owned))),
            Err(gave_up) if is_status(&gave_up, &[404]) => Ok(Ok(None)),
            Err(gave_up) if is_status(&gave_up, &[403]) => Ok(Err(gave_up)),
            Err(gave_up) => Err(self.unexpected(&gave_up)),
        }
    }

    fn unknown(&self, named: &ProjectName) -> OpenStackError {
        let message = format!("{} knows no project `{named}`", self.inner.place());
        OpenStackError::new(ErrorKind::NotFound, message)
            .hint("`openstack project list --long` shows all; a project is named by its id, or as `domain/name`")
    }

    fn hidden(&self, named: &ProjectName) -> OpenStackError {
        let who = self.cloud().auth.who();
        let message =
            format!("{} shows {who} no project `{named}`: there is none, or it has no role in it", self.inner.place());
        let hint = "an administrator sees it with `openstack project show`; name it by its id, or as `domain/name`";
        OpenStackError::new(ErrorKind::NotFound, message).hint(hint)
    }

    fn unexpected(&self, gave_up: &GaveUp) -> OpenStackError {
        let kind = if is_status(gave_up, &[401, 403]) { ErrorKind::Refused } else { ErrorKind::Bad };
        let reason = self.cloud().auth.secret().redact(&reason(gave_up));
        OpenStackError::new(kind, format!("projects cannot be looked up as {}: {reason}", self.cloud().auth.who()))
    }
}

fn projects(answer: &JsonAnswer) -> Vec<Project> {
    answer.body["projects"].as_array().into_iter().flatten().filter_map(Project::read).collect()
}

fn is_status(gave_up: &GaveUp, statuses: &[u16]) -> bool {
    gave_up.answer.status.is_some_and(|status| statuses.contains(&status))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
