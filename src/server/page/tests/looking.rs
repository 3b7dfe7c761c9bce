//! Pages that only show.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::ground::{
    Answer, CANARY, Ground, HOSTILE, ORGANIZATION, PROJECT, id, person, with_problem,
};
use crate::access::{Grant, Via};
use crate::membership::NonMember;
use crate::secret::{Name, Owner, Value};
use crate::server::administration::{Addition, Project};
use crate::server::problem::Problem;

/// The address of every page that somebody with this secret can look at.
fn pages(secret: &str) -> Vec<String> {
    let mut pages: Vec<String> = ["/", "/access", "/sessions"].map(Into::into).into();
    pages.push(format!("/?q={HOSTILE_QUERY}"));
    for at in [PROJECT, ORGANIZATION] {
        for page in ["secrets", "secrets/new", "members", "access", "secrets/new?kind=envvar"] {
            pages.push(format!("{at}/{page}"));
        }
        pages.push(format!("{at}/secrets?kind=envvar&user={HOSTILE_QUERY}"));
        pages.push(format!("{at}/secrets/new?kind=pgservice"));
        pages.push(format!("{at}/secrets/new?kind=pgservice&editor=advanced"));
    }
    pages.push(format!("{PROJECT}/effective?user=bob&kind=envvar&name={HOSTILE_QUERY}"));
    pages.push(format!("{PROJECT}/effective?user=bob&kind=pgservice&name=ninja"));
    pages.push(format!("{PROJECT}/secrets/{secret}/remove"));
    pages.push(format!("{PROJECT}/secrets/{secret}/replace"));
    pages
}

/// [`HOSTILE`], in an address.
const HOSTILE_QUERY: &str =
    "%3Cscript%3Ealert(1)%3C/script%3E%22%27%20onload%3Dx%20%7B%7B%207*7%20%7D%7D%20%26amp%3B";

/// A project and an organization with everything that can be shown.
async fn furnished() -> (Ground, String) {
    let mut ground = Ground::registered().await;
    ground.become_visitor(person("ada", HOSTILE, vec![Grant::Operator]));
    ground.add_variable(PROJECT, "API_KEY", "cy").await;
    ground.add_variable(ORGANIZATION, "API_KEY", "").await;
    ground.add_service(ORGANIZATION, "ninja", "").await;
    ground.add_service(PROJECT, "ninja", "").await;
    let secret = ground.add_service(PROJECT, HOSTILE, "bob").await;
    let token = [("name", HOSTILE), ("access", "read"), ("days", "9")];
    assert_eq!(ground.post(&format!("{PROJECT}/access/tokens"), &token).await.status, 200);
    ground.post("/access/grants", &[("subject", "dora")]).await.location();
    (ground, secret)
}

#[tokio::test]
async fn no_page_that_is_only_looked_at_holds_a_value() {
    let (ground, secret) = furnished().await;
    for page in pages(&secret) {
        let answer = ground.get(&page).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        answer.has_not(CANARY);
        assert_eq!(answer.headers["cache-control"], "no-store", "{page}");
    }
}

#[tokio::test]
async fn whatever_is_shown_is_escaped() {
    let (ground, secret) = furnished().await;
    for page in pages(&secret) {
        let answer = ground.get(&page).await;
        answer.has_not("<script>alert").has_not("\"' onload").has_not("'&quot;").has_not(" &amp; ");
        // The visitor's name is on every page.
        answer.has(
            "&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39; onload=x {{ 7*7 }} &#38;amp;",
        );
    }
    let list = ground.get(&format!("{PROJECT}/secrets")).await;
    list.has("<code>&#60;script&#62;alert(1)");
}

/// The content security policy forbids both.
#[tokio::test]
async fn nothing_is_inline_and_every_form_shows_its_session() {
    let (ground, secret) = furnished().await;
    let mut forms = 0;
    for page in pages(&secret) {
        let body = ground.get(&page).await.body;
        let scripts: Vec<_> = body.match_indices("<script").map(|(at, _)| &body[at..]).collect();
        assert!(matches!(scripts[..], [one] if one.starts_with("<script src=\"/assets/page.")));
        assert!(!body.contains(" style=") && !body.contains("<style"), "{page}");
        assert!(!body.contains("javascript:"), "{page}");
        for form in body.split("<form").skip(1).filter(|form| form.contains("method=\"post\"")) {
            let form = form.split("</form>").next().unwrap();
            assert!(
                form.contains("name=\"csrf\" value=\"csrf-of-this-session\""),
                "{page}: {form}"
            );
            forms += 1;
        }
    }
    assert!(forms > 30, "only {forms} forms found: the search is broken");
}

#[tokio::test]
async fn who_may_not_see_learns_nothing() {
    let (mut ground, secret) = furnished().await;
    let own = Grant::ProjectAdmin(id("other"));
    ground.become_visitor(person("eve", "Eve", vec![own]));
    let unknown = ground.get("/projects/unknown/secrets").await;
    assert_eq!(unknown.status, 404);
    for page in pages(&secret).iter().filter(|page| page.contains("/projects/ninja")) {
        let answer = ground.get(page).await;
        assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{page}");
    }
    for path in ["remove", "replace"] {
        let path = format!("{PROJECT}/secrets/{secret}/{path}");
        let answer = ground.post(&path, &[("kind", "envvar")]).await;
        assert_eq!((answer.status, &answer.body), (404, &unknown.body));
    }
    let added = [("kind", "envvar"), ("name", "MINE"), ("value", CANARY)];
    let answer = ground.post(&format!("{PROJECT}/secrets/new"), &added).await;
    assert_eq!((answer.status, &answer.body), (404, &unknown.body));
    assert_eq!(ground.stored().len(), 5);
    assert_eq!(ground.get("/access").await.status, 403);
    assert_eq!(ground.get("/sessions").await.status, 403);
    assert_eq!(ground.post("/sessions/end", &[("session", "0")]).await.status, 403);
}

#[tokio::test]
async fn nobody_sees_nothing() {
    let ground = Ground::trusted();
    for path in ["/", "/access", "/projects/p/secrets", "/projects/p/secrets/new"] {
        for method in [Method::GET, Method::POST] {
            let answer = ground.nobody(method, path).await;
            assert!([401, 405].contains(&answer.status), "{path}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn what_is_no_id_is_nothing() {
    let ground = Ground::trusted();
    for path in ["/projects/-a/secrets", "/projects/%FF/secrets", "/organizations/a%20b/access"] {
        assert_eq!(ground.get(path).await.status, 404, "{path}");
    }
    let answer = ground.get("/projects/p/effective?user=%2E%2E").await;
    assert_eq!(answer.status, 422);
    answer.has("aria-invalid=\"true\"").has("<title>Error: ").has("href=\"#user\"");
    assert_eq!(ground.get("/projects/p/secrets?kind=%FF").await.status, 400);
    assert_eq!(ground.get("/organizations/o/effective").await.status, 404);
    assert_eq!(ground.get("/projects/p/members").await.status, 404);
}

#[tokio::test]
async fn the_overview_shows_what_one_administers() {
    let mut ground = Ground::registered().await;
    ground.become_visitor(person("eve", "Eve", vec![]));
    let nothing = ground.get("/").await;
    nothing.has("Nothing to administer yet").has("<code>eve</code>").has_not("action=\"/open\"");

    ground.become_visitor(person("ada", "Ada", vec![Grant::Operator]));
    for n in 0..9 {
        let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
        let project = Project::default();
        let project_id = id(&format!("p{n}"));
        ground.administration.put_project(&actor, &project_id, &project).await.unwrap();
    }
    let all = ground.get("/").await;
    all.has("href=\"/projects/ninja%2Ffield-survey/secrets\"").has("in org-81").has("name=\"q\"");
    all.has("href=\"/organizations/org-81/secrets\"");
    let some = ground.get("/?q=P7").await;
    some.has("href=\"/projects/p7/secrets\"").has_not("/projects/p6/").has_not("/organizations/");
    ground.get("/?q=nowhere").await.has("No organization or project");
}

#[tokio::test]
async fn the_overview_says_how_much_is_where() {
    let (mut ground, _) = furnished().await;
    let row = |answer: &Answer, name: &str| {
        let (_, row) = answer.body.split_once(&format!("{name}/secrets\"")).unwrap();
        row.split("</li>").next().unwrap().to_owned()
    };
    let all = ground.get("/").await;
    let (project, organization) = (row(&all, PROJECT), row(&all, ORGANIZATION));
    for said in ["3 secrets", "2 members", "no admins"] {
        assert!(project.contains(said), "{said}: {project}");
    }
    for said in ["2 secrets", "2 members", "1 admin"] {
        assert!(organization.contains(said), "{said}: {organization}");
    }
    all.has_not("you are an admin").has("href=\"/sessions\"");
    let grants = vec![Grant::OrganizationAdmin(id("org-81"))];
    ground.become_visitor(person("ada", "Ada", grants));
    let own = ground.get("/").await;
    own.has_not("/sessions").has("you are an admin");
    assert!(row(&own, PROJECT).contains("you administer its organization"));
}

#[tokio::test]
async fn the_overview_comes_in_parts() {
    let ground = Ground::registered().await;
    let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
    for n in 0..60 {
        let project_id = id(&format!("p{n:02}"));
        let project = Project::default();
        ground.administration.put_project(&actor, &project_id, &project).await.unwrap();
        if n < 20 {
            let organization_id = id(&format!("o{n:02}"));
            let organization = Default::default();
            let put =
                ground.administration.put_organization(&actor, &organization_id, &organization);
            put.await.unwrap();
        }
    }
    let first = ground.get("/").await;
    first.has("/projects/p48/").has_not("/projects/p49/").has("/organizations/o19/");
    first.has_not("/organizations/org-81/").has_not("First page");
    first.has("href=\"/?projects=p48\"").has("href=\"/?organizations=o19\"");
    // The one list stays where it is while the other goes on.
    let second = ground.get("/?projects=p48").await;
    second.has("/projects/p49/").has("/projects/p59/").has_not("/projects/p48/");
    second.has("href=\"/?organizations=o19&#38;projects=p48\"").has("First page");
    let both = ground.get("/?organizations=o19&projects=p48").await;
    both.has("/organizations/org-81/").has_not("/organizations/o19/").has("/projects/p49/");
    ground.get("/?q=p4&projects=p48").await.has("/projects/p49/").has_not("/projects/p50/");
}

#[tokio::test]
async fn a_long_list_of_members_comes_in_parts() {
    let ground = Ground::registered().await;
    let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
    let members: Vec<_> = (0..250).map(|n| id(&format!("u{n:03}"))).collect();
    let project = Project { members, ..Project::default() };
    ground.administration.put_project(&actor, &id("p"), &project).await.unwrap();
    let first = ground.get("/projects/p/members").await;
    first.has("u099").has_not("u100").has("href=\"/projects/p/members?after=u099\"");
    let last = ground.get("/projects/p/members?after=u199").await;
    last.has("u249").has_not("Next page").has("First page");
    ground.get("/projects/p/members?q=U2").await.has("u200").has_not("<code>u100");
    // Nobody chooses from so many.
    let form = ground.get("/projects/p/secrets/new?kind=envvar").await;
    form.has("<input id=\"assigned\"").has_not("u000");
    ground.get("/projects/p/effective").await.has("<input id=\"user\"").has_not("u000");
}

#[tokio::test]
async fn who_came_by_a_link_or_a_program_is_called_so() {
    let mut ground = Ground::trusted();
    let mut visitor = person("link:operator", "Operator (one-time link)", vec![Grant::Operator]);
    visitor.actor.via = Via::Link;
    ground.become_visitor(visitor);
    ground.add_variable("/projects/p", "A", "").await;
    ground.post("/access/grants", &[("subject", "zoe")]).await.location();
    let token = [("name", "ci"), ("access", "manage"), ("days", "9")];
    ground.post("/access/tokens", &token).await;
    for path in ["/", "/projects/p/secrets", "/access"] {
        let shown = ground.get(path).await;
        shown.has_not("link:operator").has("</span>Operator</span>").has("until you log out");
    }
    ground.get("/projects/p/secrets").await.has("by Operator (one-time link)");
    ground.get("/access").await.has("by an operator with the one-time link");
    let record = &ground.stored()[0].0;
    assert_eq!(record.created_by, "Operator (one-time link)");
}

#[tokio::test]
async fn a_place_opens_by_its_id() {
    let ground = Ground::trusted();
    ground.get("/").await.has("action=\"/open\"");
    let answer = ground.get("/open?what=project&id=+a/b+").await;
    assert_eq!(answer.location(), "/projects/a%2Fb/secrets");
    let answer = ground.get("/open?what=organization&id=o").await;
    assert_eq!(answer.location(), "/organizations/o/secrets");
    for bad in ["", "//evil.example", "https://evil.example"] {
        let answer = ground.get(&format!("/open?what=project&id={bad}")).await;
        if bad.starts_with("https") {
            // An id holds no colon.
            assert_eq!(answer.status, 422);
        } else {
            assert_eq!(answer.status, 422, "{bad}");
            answer.has("role=\"alert\"");
        }
    }
}

#[tokio::test]
async fn a_list_can_be_filtered_and_comes_in_parts() {
    let ground = Ground::trusted();
    ground.get("/projects/p/secrets").await.has("No secrets yet").has("?kind=pgservice");
    let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
    let addition = |name: Name, user: Option<&str>| Addition {
        name,
        owner: Owner::Project { project: id("p"), user: user.map(id) },
        sensitive: true,
        value: Value::from(CANARY),
    };
    let mut all: Vec<_> =
        (0..101).map(|n| addition(Name::envvar(format!("V{n:03}")), None)).collect();
    all.push(addition(Name::envvar("OF_BOB"), Some("bob")));
    ground.administration.add(&actor, all, false, None).await.unwrap();

    let first = ground.get("/projects/p/secrets").await;
    first.has("V000").has("V099").has_not("V100").has_not("OF_BOB").has_not("First page");
    let (_, next) = first.body.split_once("href=\"/projects/p/secrets?after=").unwrap();
    let next = next.split('"').next().unwrap();
    let second = ground.get(&format!("/projects/p/secrets?after={next}")).await;
    second.has("V100").has("OF_BOB").has_not("V099").has("First page").has_not("Next page");

    let of_bob = ground.get("/projects/p/secrets?user=bob").await;
    of_bob.has("OF_BOB").has_not("V000").has("value=\"bob\"");
    ground.get("/projects/p/secrets?kind=pgservice").await.has("No secret here matches");
    // What is found comes in parts as well, and nothing is cut off silently.
    let found = ground.get("/projects/p/secrets?kind=envvar&q=v").await;
    found.has("V099").has_not("V100").has("secrets?q=v&#38;kind=envvar&#38;after=");
    let (_, next) = found.body.split_once("href=\"/projects/p/secrets?q=v").unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let rest = ground.get(&format!("/projects/p/secrets?q=v{next}")).await;
    rest.has("V100").has_not("OF_BOB").has_not("Next page").has("First page");
    ground.get("/projects/p/secrets?q=of_").await.has("OF_BOB").has_not("V000");
}

#[tokio::test]
async fn effective_secrets_say_who_wins_and_why() {
    let (ground, _) = furnished().await;
    let of_bob = ground.get(&format!("{PROJECT}/effective?user=bob&kind=envvar&name=NONE")).await;
    of_bob.has("What a job for bob gets").has("Missing: <code>NONE</code>");
    let row = |key: &str| {
        let (_, row) = of_bob.body.split_once(&format!("<code>{key}</code>")).unwrap();
        let row = row.split("</tr>").next().unwrap();
        (row.split("</td>").next().unwrap().to_owned(), row.to_owned())
    };
    let (wins, ninja) = row("ninja");
    assert!(wins.contains("Project</span>"), "{wins}");
    assert!(ninja.contains("<del>Organization</del>"), "{ninja}");
    let (wins, key) = row("API_KEY");
    assert!(wins.contains("Organization</span>") && key.contains("nothing"), "{key}");

    let system = ground.get(&format!("{PROJECT}/effective")).await;
    system.has("What a system job gets").has_not("Assigned to");
    let there = ground.get(&format!("{PROJECT}/effective?kind=pgservice&name=ninja")).await;
    there.has("Not missing: <code>ninja</code>").has_not("Missing: <code>");
    // Members' defaults are switched off.
    of_bob.has_not("default for").has("<li><span class=\"mark\">Organization</span></li>");
}

#[tokio::test]
async fn a_job_that_would_not_start_and_what_lies_dormant_are_told() {
    let (ground, _) = furnished().await;
    let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
    let project =
        Project { organization: Some(id("org-81")), members: vec![id("bob")], admins: vec![] };
    let project_id = id("ninja/field-survey");
    ground.administration.put_project(&actor, &project_id, &project).await.unwrap();
    let list = ground.get(&format!("{PROJECT}/secrets")).await;
    list.has("dormant").has("No job gets it: cy is no member of this project.");
    let of_cy = ground.get(&format!("{PROJECT}/effective?user=cy")).await;
    of_cy.has("Dormant: at a level").has("cy (no member)").has_not("would not start");

    let deny = Ground::new(
        crate::membership::Membership::Registered { non_member: NonMember::Deny },
        false,
    );
    deny.administration.put_project(&actor, &id("p"), &Project::default()).await.unwrap();
    let refused = deny.get("/projects/p/effective?user=cy").await;
    refused.has("This job would not start").has("cy is no member of the project p");
}

#[tokio::test]
async fn problems_of_other_parts_are_pages_for_browsers_only() {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "wait for <3> seconds");
    for (accept, page) in [("text/html,*/*", true), ("application/json", false), ("*/*", false)] {
        let request = Request::get("/x").header(ACCEPT, accept).body(Body::empty()).unwrap();
        let response = with_problem(problem.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "3");
        let media = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        assert_eq!(media.starts_with("text/html"), page, "{accept}: {media}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(body.contains("Wait for &#60;3&#62; seconds."), page, "{body}");
    }
}
