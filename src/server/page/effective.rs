//! The Effective secrets tab: what a job of a project gets, and why.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Page;
use super::body::{Fields, Query};
use super::failure::{Failure, logged};
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::problems::Problems;
use super::visitor::Visitor;
use super::words::{self, Choice};
use crate::access::Scope;
use crate::precedence::Winner;
use crate::secret::{Id, Kind, Name};
use crate::server::administration::{Explanation, Member, Question, Refusal};

#[derive(Template)]
#[template(path = "effective.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) problems: Problems,
    pub(super) user: String,
    pub(super) organization: String,
    pub(super) kinds: Vec<Choice>,
    pub(super) name: String,
    pub(super) members: Vec<Choice>,
    pub(super) answer: Option<Answer>,
}

/// What a job gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) heading: String,
    pub(super) winners: Vec<Won>,
    pub(super) missing: Vec<Lost>,
    /// The name that was asked for, if the job gets it.
    pub(super) found: Option<Found>,
    pub(super) dormant: Vec<Sleeping>,
    pub(super) looked_at: Vec<String>,
    pub(super) refused: Option<String>,
}

/// A secret that the job gets.
#[derive(Debug)]
pub(super) struct Won {
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) level: String,
    pub(super) open: bool,
    pub(super) shadowed: Vec<String>,
    pub(super) asked: bool,
}

/// The one that was asked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) level: String,
}

/// A name that the job doesn't get.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) why: String,
}

/// A secret that lies dormant.
#[derive(Debug)]
pub(super) struct Sleeping {
    pub(super) key: String,
    pub(super) level: String,
    pub(super) why: String,
}

impl Answer {
    /// The explanation, for people.
    pub(super) fn new(question: &Question, explanation: Explanation) -> Self {
        let asked = question.require.first();
        let heading = match &question.user {
            Some(user) => format!("What a job for {user} gets"),
            None => "What a system job gets".to_owned(),
        };
        let won = |winner: &Winner| Won {
            key: winner.secret.name.key.clone(),
            kind: words::kind(winner.secret.name.kind),
            level: words::level(&winner.secret.owner),
            open: !winner.secret.sensitive,
            shadowed: winner.shadowed.iter().map(|loser| words::level(&loser.owner)).collect(),
            asked: asked == Some(&winner.secret.name),
        };
        let winners: Vec<Won> = explanation.winners.iter().map(won).collect();
        let found = winners.iter().find(|won| won.asked);
        Self {
            found: found.map(|won| Found { key: won.key.clone(), level: won.level.clone() }),
            heading,
            winners,
            missing: explanation
                .missing
                .into_iter()
                .map(|missing| Lost {
                    key: missing.name.key,
                    kind: words::kind(missing.name.kind),
                    why: super::failure::sentence(&missing.why),
                })
                .collect(),
            dormant: explanation
                .dormant
                .iter()
                .map(|record| Sleeping {
                    key: record.name.key.clone(),
                    level: words::level(&record.owner),
                    why: words::dormant(&record.owner),
                })
                .collect(),
            looked_at: explanation.looked_at.iter().map(words::level).collect(),
            refused: explanation.refused.map(|denied| denied.to_string()),
        }
    }
}

/// What a query asks.
fn question(project: &Id, query: &Fields, registered: bool) -> Result<Question, Problems> {
    let mut problems = Problems::default();
    let mut id = |field: &'static str| match query.get(field).trim() {
        "" => None,
        text => match text.parse::<Id>() {
            Ok(id) => Some(id),
            Err(invalid) => {
                problems.add(field, &invalid.to_string());
                None
            }
        },
    };
    let user = id("user");
    let organization = if registered { None } else { id("organization") };
    let key = query.get("name").trim();
    let kind = query.get("kind").parse().unwrap_or(Kind::Pgservice);
    let require = if key.is_empty() { vec![] } else { vec![Name { kind, key: key.to_owned() }] };
    match problems.is_empty() {
        true => Ok(Question { project: project.clone(), organization, user, require }),
        false => Err(problems),
    }
}

fn choices(members: &[Member], sent: &str) -> Vec<Choice> {
    if members.len() > words::CHOOSABLE {
        return vec![];
    }
    let mut choices: Vec<Choice> = members
        .iter()
        .map(|member| Choice::new(member.user.as_str(), member.user.as_str(), sent))
        .collect();
    // Somebody who is no member can be asked about, too.
    if !choices.is_empty() && !sent.is_empty() && !choices.iter().any(|choice| choice.chosen) {
        choices.push(Choice::new(sent, format!("{sent} (no member)"), sent));
    }
    choices
}

/// `GET /projects/{id}/effective?user=…&organization=…&kind=…&name=…`.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let Scope::Project(project) = scope else { return Err(Failure::not_found()) };
    let registered = page.registered();
    let members = page.administration.members(&visitor.actor, scope).await?;
    let mut status = StatusCode::OK;
    let answer = match question(project, &query, registered) {
        Err(problems) => {
            status = StatusCode::UNPROCESSABLE_ENTITY;
            Err(problems)
        }
        Ok(question) => match page.administration.explain(&visitor.actor, &question).await {
            Ok(explanation) => Ok(Answer::new(&question, explanation)),
            Err(refusal @ Refusal::Denied(_)) => return Err(refusal.into()),
            Err(refusal) => {
                status = logged(&refusal);
                Err(Problems::of_refusal(&refusal, |field| match field {
                    "user" => "user",
                    "organization" => "organization",
                    _ => "",
                }))
            }
        },
    };
    let (answer, problems) = match answer {
        Ok(answer) => (Some(answer), Problems::default()),
        Err(problems) => (None, problems),
    };
    let user = query.get("user").trim().to_owned();
    let place = Place::new(scope, registered, Tab::Effective);
    let title = format!("Effective secrets of {}", place.id);
    let view = View {
        chrome: Chrome::new(title, &visitor).wrong(!problems.is_empty()),
        place,
        problems,
        organization: query.get("organization").trim().to_owned(),
        kinds: Choice::kinds(query.get("kind")).into_iter().rev().collect(),
        name: query.get("name").trim().to_owned(),
        members: choices(&members, &user),
        user,
        answer,
    };
    Ok((status, layout::show(&view)?).into_response())
}
