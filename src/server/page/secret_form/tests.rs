//! The form without a server.

use proptest::prelude::*;

use super::*;

fn form(editor: Editor) -> SecretForm {
    SecretForm::new(Kind::Pgservice, editor)
}

#[test]
fn buttons() {
    for (word, press) in [
        ("add", Press::Add),
        ("", Press::Add),
        ("row", Press::Row),
        ("drop-3", Press::Drop(3)),
        ("drop-x", Press::Add),
        ("simple", Press::Switch(Editor::Simple)),
        ("advanced", Press::Switch(Editor::Advanced)),
    ] {
        assert_eq!(Press::of(word), press, "{word}");
    }
}

#[test]
fn a_form_has_as_many_rows_as_a_service_can_have_settings() {
    let mut form = form(Editor::Simple);
    for _ in 0..2 * MOST_EXTRA {
        form.press(Press::Row);
    }
    assert_eq!(form.extra.len(), MOST_EXTRA);
}

#[test]
fn a_mode_that_nobody_offers_stays_chosen() {
    let mut form = form(Editor::Simple);
    assert!(form.sslmodes()[0].chosen);
    form.sslmode = Typed::new("odd".into());
    assert_eq!(
        form.sslmodes().iter().filter(|c| c.chosen).map(|c| &*c.value).collect::<Vec<_>>(),
        ["odd"]
    );
}

proptest! {
    /// There and back again, every field has what was typed, right or not.
    #[test]
    fn switching_twice_changes_nothing(
        service in "[a-z]{1,9}", host in "[!-~]{0,9}", password in "[!-~ä]{0,9}",
        port in "[0-9]{0,4}", sslmode in "(require)?", value in "[a-z0-9]{1,9}",
    ) {
        let mut form = form(Editor::Simple);
        form.service = Typed::new(service.clone());
        form.host = Typed::new(host.clone());
        form.password = Typed::new(password.clone());
        form.port = Typed::new(port.clone());
        form.sslmode = Typed::new(sslmode.clone());
        form.extra = vec![(Typed::new("options".into()), Typed::new(value.clone()))];
        form.press(Press::Switch(Editor::Advanced));
        prop_assert_eq!(form.editor, Editor::Advanced);
        form.press(Press::Switch(Editor::Simple));
        prop_assert_eq!(form.editor, Editor::Simple);
        let extra: Vec<_> = form.extra.iter().map(|(k, v)| (k.text(), v.text())).collect();
        prop_assert_eq!(extra, [("options", value.as_str())]);
        prop_assert_eq!(form.service.text(), service);
        prop_assert_eq!(form.host.text(), host);
        prop_assert_eq!(form.password.text(), password);
        prop_assert_eq!(form.port.text(), port);
        prop_assert_eq!(form.sslmode.text(), sslmode);
    }
}
