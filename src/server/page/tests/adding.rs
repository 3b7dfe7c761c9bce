//! Adding secrets: what is saved, and what is shown again when it isn't.

use super::ground::{CANARY, Ground, ORGANIZATION, PROJECT};
use super::text;

const NEW: &str = "/projects/p/secrets/new";

#[tokio::test]
async fn a_value_of_several_lines_arrives_byte_for_byte() {
    let ground = Ground::trusted();
    let typed = "\r\n -----BEGIN KEY-----\r\nä+%41&=\t\r\n\r\n-----END KEY----- ";
    let fields = [("kind", "envvar"), ("name", " SSH_KEY "), ("value", typed)];
    let answer = ground.post(NEW, &fields).await;
    assert_eq!(answer.location(), "/projects/p/secrets");
    let stored = ground.stored();
    let [(record, value)] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(text(value), "\n -----BEGIN KEY-----\nä+%41&=\t\n\n-----END KEY----- ");
    assert_eq!((record.name.key.as_str(), record.sensitive), ("SSH_KEY", true));

    let next = ground.get_with("/projects/p/secrets", &answer.cookie()).await;
    next.has("The secret was added.").has("class=\"new\"");
    assert!(next.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    ground
        .get("/projects/p/secrets")
        .await
        .has_not("The secret was added.")
        .has_not("class=\"new\"");
}

#[tokio::test]
async fn a_form_that_is_refused_keeps_what_was_typed() {
    let ground = Ground::trusted();
    let fields = [
        ("kind", "envvar"),
        ("name", "api key"),
        ("value", "\r\n<canary>\r\n\""),
        ("open", "yes"),
        ("assigned", "bob"),
    ];
    let answer = ground.post(NEW, &fields).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.headers["cache-control"], "no-store");
    // A parser drops the first line break behind the tag, and no other.
    answer.has(">\n\n&#60;canary&#62;\n&#34;</textarea>").has("value=\"api key\"");
    answer.has("value=\"yes\" type=\"checkbox\" aria-describedby=\"open-help\" checked");
    answer
        .has("value=\"bob\"")
        .has("aria-invalid=\"true\" aria-describedby=\"name-wrong-1 name-help\"");
    answer.has("href=\"#name\"").has("<title>Error: ").has("This was not saved");
    assert!(ground.stored().is_empty());
}

#[tokio::test]
async fn every_field_that_is_wrong_is_told() {
    let ground = Ground::trusted();
    let fields = [
        ("kind", "pgservice"),
        ("editor", "simple"),
        ("service", "ninja"),
        ("port", "x"),
        ("password", "canary "),
        ("extra_key", "connect_timeout"),
        ("extra_value", "3"),
        ("extra_key", "nonsense"),
        ("extra_value", "y"),
    ];
    let answer = ground.post(NEW, &fields).await;
    assert_eq!(answer.status, 422);
    for field in ["port", "password", "extra-1"] {
        answer.has(&format!("href=\"#{field}\"")).has(&format!("id=\"{field}-wrong-1\""));
    }
    answer.has_not("extra-0-wrong").has("value=\"nonsense\"").has("value=\"canary \"");
    assert!(ground.stored().is_empty());
}

#[tokio::test]
async fn rows_come_and_go_without_losing_anything() {
    let ground = Ground::trusted();
    let mut fields = vec![
        ("kind", "pgservice"),
        ("editor", "simple"),
        ("service", "ninja"),
        ("password", CANARY),
        ("extra_key", "options"),
        ("extra_value", "-c x=y"),
        ("extra_key", "sslsni"),
        ("extra_value", "1"),
        ("do", "row"),
    ];
    let more = ground.post(NEW, &fields).await;
    assert_eq!(more.status, 200);
    more.has("id=\"extra-2\"").has("value=\"options\"").has("value=\"sslsni\"").has(CANARY);
    fields.pop();
    fields.push(("do", "drop-0"));
    let less = ground.post(NEW, &fields).await;
    less.has_not("value=\"options\" list").has("value=\"sslsni\"").has_not("id=\"extra-1\"");
    fields.pop();
    fields.push(("do", "drop-7"));
    ground.post(NEW, &fields).await.has("id=\"extra-1\"").has_not("id=\"extra-2\"");
    fields.pop();
    ground.post(NEW, &fields).await.has("Nothing is saved yet");
    assert!(ground.stored().is_empty());
}

#[tokio::test]
async fn the_editors_hand_over_what_was_typed() {
    let ground = Ground::trusted();
    let fields = [
        ("kind", "pgservice"),
        ("editor", "simple"),
        ("service", "ninja"),
        ("host", "db.example.org"),
        ("password", CANARY),
        ("extra_key", "options"),
        ("extra_value", "-c x=y"),
        ("assigned", "bob"),
        ("do", "advanced"),
    ];
    let advanced = ground.post(NEW, &fields).await;
    let (_, area) = advanced.body.split_once("<textarea id=\"text\"").unwrap();
    let text = area.split_once(">\n").unwrap().1.split("</textarea>").next().unwrap();
    let expected = format!("[ninja]\nhost=db.example.org\npassword={CANARY}\noptions=-c x=y\n");
    assert_eq!(text, expected);
    advanced.has("value=\"bob\"");

    let sent = format!("# a comment\r\n{}", text.replace('\n', "\r\n"));
    let back =
        |text| [("kind", "pgservice"), ("editor", "advanced"), ("text", text), ("do", "simple")];
    let simple = ground.post(NEW, &back(sent.as_str())).await;
    assert_eq!(simple.status, 200);
    simple.has("value=\"ninja\"").has("value=\"db.example.org\"").has("value=\"-c x=y\"");
    simple.has(&format!("type=\"password\" value=\"{CANARY}\"")).has("comments left out");

    // What the fields cannot hold stays where it is, with the reason.
    for (text, reason) in
        [("[a]\nhost=x\n[b]\nhost=y\n", "holds exactly one service"), ("[a]\nhost x\n", "Line 2: ")]
    {
        let kept = ground.post(NEW, &back(text)).await;
        kept.has(&format!(">\n{text}</textarea>")).has(reason).has_not("id=\"service\"");
    }
    ground.post(NEW, &back(" ")).await.has("id=\"service\"");
}

#[tokio::test]
async fn several_services_are_shown_before_they_are_saved() {
    let ground = Ground::trusted();
    ground.add_service("/projects/p", "there", "").await;
    let text = "[there]\r\nhost=new\r\nuser=u\r\n[fresh]\r\nhost=h\r\nuser=u\r\n";
    let mut fields = vec![("kind", "pgservice"), ("editor", "advanced"), ("text", text)];
    let preview = ground.post(NEW, &fields).await;
    assert_eq!(preview.status, 200);
    preview.has("Add 2 services").has("is there already").has("id=\"replace\"");
    preview.has("[there]\nhost=new\nuser=u\n[fresh]\nhost=h\nuser=u\n</textarea>");
    assert_eq!(ground.names().len(), 1);

    fields.push(("previewed", "yes"));
    let refused = ground.post(NEW, &fields).await;
    assert_eq!(refused.status, 409);
    refused.has("href=\"#replace\"").has("[fresh]");
    assert_eq!(ground.names().len(), 1, "all or none");

    fields.push(("replace", "yes"));
    ground.post(NEW, &fields).await.location();
    assert_eq!(ground.names(), ["pgservice:fresh project p", "pgservice:there project p"]);
    let stored = ground.stored();
    assert_eq!(super::text(&stored[1].1), "[there]\nhost=new\nuser=u\n");
}

/// What administration never sees without having been previewed is not replaced either.
#[tokio::test]
async fn one_that_is_there_is_not_replaced_in_passing() {
    let ground = Ground::trusted();
    ground.add_variable("/projects/p", "API_KEY", "").await;
    let fields =
        [("kind", "envvar"), ("name", "API_KEY"), ("value", "other-one"), ("replace", "yes")];
    let answer = ground.post(NEW, &fields).await;
    assert_eq!(answer.status, 409);
    answer.has("id=\"name-wrong-1\"").has(">\nother-one</textarea>");
    assert_eq!(text(&ground.stored()[0].1), CANARY);
}

#[tokio::test]
async fn doubts_are_shown_once() {
    let ground = Ground::trusted();
    let mut fields = vec![("kind", "envvar"), ("name", "PIN"), ("value", "abc")];
    let doubt = ground.post(NEW, &fields).await;
    assert_eq!(doubt.status, 200);
    doubt.has("please look again").has("Save the secret as it is").has(">\nabc</textarea>");
    assert!(ground.stored().is_empty());
    let (_, seen) = doubt.body.split_once("name=\"seen\" value=\"").unwrap();
    let seen = seen.split('"').next().unwrap().replace("&#39;", "'").replace("&#38;", "&");
    // Another doubt is not covered by the first.
    let other = [("kind", "envvar"), ("name", "PIN"), ("value", "password\n"), ("seen", &seen)];
    ground.post(NEW, &other).await.has("please look again");
    fields.push(("seen", &seen));
    ground.post(NEW, &fields).await.location();
    assert_eq!(text(&ground.stored()[0].1), "abc");
}

#[tokio::test]
async fn assigning_is_for_members() {
    let ground = Ground::registered().await;
    let form = ground.get(&format!("{PROJECT}/secrets/new?kind=envvar")).await;
    form.has("<select id=\"assigned\"").has("<option value=\"bob\">").has("(admin)");
    let fields =
        |user| [("kind", "envvar"), ("name", "API_KEY"), ("value", CANARY), ("assigned", user)];
    let stranger = ground.post(&format!("{PROJECT}/secrets/new"), &fields("eve")).await;
    assert_eq!(stranger.status, 422);
    stranger.has("id=\"assigned-wrong-1\"").has("<option value=\"eve\" selected>");
    let no_id = ground.post(&format!("{PROJECT}/secrets/new"), &fields("e v e")).await;
    no_id.has("id=\"assigned-wrong-1\"");
    ground.add_variable(PROJECT, "API_KEY", "bob").await;
    assert_eq!(ground.names(), ["envvar:API_KEY project ninja/field-survey, user bob"]);

    // The level of members' defaults is switched off here.
    let form = ground.get(&format!("{ORGANIZATION}/secrets/new?kind=envvar")).await;
    form.has_not("id=\"assigned\"");
    let refused = ground.post(&format!("{ORGANIZATION}/secrets/new"), &fields("bob")).await;
    assert_eq!(refused.status, 422);
    refused.has("switched off").has(CANARY).has("<option value=\"bob\" selected>");
    assert_eq!(ground.names().len(), 1);
    let trusted = Ground::trusted();
    let form = trusted.get("/organizations/o/secrets/new?kind=envvar").await;
    form.has("Default for one member").has("<input id=\"assigned\"");
}

#[tokio::test]
async fn what_is_not_text_is_not_saved() {
    let ground = Ground::trusted();
    let body = b"kind=envvar&name=API_KEY&value=%C3%28canary".to_vec();
    let answer = ground.post_raw(NEW, body).await;
    assert_eq!(answer.status, 400);
    answer.has_not("canary");
    assert_eq!(ground.post(NEW, &[("kind", "file")]).await.status, 422);
    assert!(ground.stored().is_empty());
}
