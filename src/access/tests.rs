//! The permissions as a table, and that no grant reaches beyond itself.

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn organization(name: &str) -> Place {
    Place { scope: Scope::Organization(id(name)), known: true, organization: None }
}

fn project(name: &str, organization: Option<&str>) -> Place {
    let organization = organization.map(id);
    Place { scope: Scope::Project(id(name)), known: true, organization }
}

fn gone(place: Place) -> Place {
    Place { known: false, organization: None, ..place }
}

fn person(grants: Vec<Grant>) -> Actor {
    Actor {
        subject: "u".into(),
        name: "U".into(),
        claimed: Vec::new(),
        grants,
        access: Access::Delegate,
        via: Via::Session,
    }
}

fn token(grants: Vec<Grant>, access: Access) -> Actor {
    Actor { access, via: Via::ApiToken { id: "t".into() }, ..person(grants) }
}

/// What an actor is at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    /// An operator.
    Op,
    /// Its admin.
    Ad,
    /// Nobody.
    No,
}

/// Written out, so that it can be read beside the documents.
fn expected(is: Is, everything: bool, action: Action, actor: &Actor) -> Result<(), Denied> {
    use Action::{Give, Issue, PurgeUser, Register, Revoke, RevokeToken, See};
    match (is, everything, action) {
        (Is::No, false, _) => return Err(Denied::Hidden),
        (Is::No, true, _) | (Is::Ad, _, Register | PurgeUser) => return Err(Denied::OperatorOnly),
        _ => {}
    }
    match (actor.access, action) {
        (_, See) => Ok(()),
        (Access::Read, _) => Err(Denied::ReadOnly),
        (Access::Manage, Give | Revoke | Issue | RevokeToken) => Err(Denied::Delegation),
        _ => Ok(()),
    }
}

#[test]
fn the_whole_table() {
    let places = [
        None,
        Some(organization("o")),
        Some(organization("other")),
        Some(project("in-o", Some("o"))),
        Some(project("own", None)),
        Some(gone(organization("o"))),
        Some(gone(project("in-o", None))),
        // An id says nothing about the kind.
        Some(project("o", None)),
        Some(organization("own")),
    ];
    use Is::{Ad, No, Op};
    let rows = [
        (vec![], [No; 9]),
        (vec![Grant::Operator], [Op; 9]),
        (vec![Grant::OrganizationAdmin(id("o"))], [No, Ad, No, Ad, No, No, No, No, No]),
        (vec![Grant::OrganizationAdmin(id("other"))], [No, No, Ad, No, No, No, No, No, No]),
        (vec![Grant::ProjectAdmin(id("in-o"))], [No, No, No, Ad, No, No, No, No, No]),
        (vec![Grant::ProjectAdmin(id("own"))], [No, No, No, No, Ad, No, No, No, No]),
        (
            vec![Grant::ProjectAdmin(id("own")), Grant::OrganizationAdmin(id("o"))],
            [No, Ad, No, Ad, Ad, No, No, No, No],
        ),
        (vec![Grant::ProjectAdmin(id("own")), Grant::Operator], [Op; 9]),
    ];
    let mut seen = 0;
    for (grants, row) in rows {
        for (place, is) in places.iter().zip(row) {
            for action in Action::ALL {
                for actor in [
                    person(grants.clone()),
                    token(grants.clone(), Access::Delegate),
                    token(grants.clone(), Access::Manage),
                    token(grants.clone(), Access::Read),
                ] {
                    let got = may(&actor, action, place.as_ref());
                    let expected = expected(is, place.is_none(), action, &actor);
                    assert_eq!(got, expected, "{actor:?} {action:?} {place:?}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 8 * 9 * 11 * 4);
}

#[test]
fn words_and_parts_go_both_ways() {
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
        for (id, fits) in [(None, role == Role::Operator), (Some(id("a")), role != Role::Operator)]
        {
            let grant = Grant::new(role, id.clone());
            assert_eq!(grant.is_some(), fits);
            let parts = grant.map(|grant| (grant.role(), grant.id().cloned(), grant.scope()));
            assert_eq!(parts.clone().map(|parts| (parts.0, parts.1)), fits.then_some((role, id)));
            if let Some((_, _, Some(scope))) = parts {
                assert_eq!(scope.admin().role(), role);
            }
        }
    }
    for access in Access::ALL {
        assert_eq!(access.as_str().parse(), Ok(access));
    }
    let named = Actor { name: "Ada".into(), ..person(vec![]) };
    assert_eq!(named.label(), "Ada (u)");
    assert_eq!(Actor { name: "u".into(), ..named }.label(), "u");
}

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let grant = (0..3_usize, "[ab]").prop_map(|(role, name)| {
        let role = Role::ALL[role];
        Grant::new(role, (role != Role::Operator).then(|| id(&name))).unwrap()
    });
    proptest::collection::vec(grant, 0..4)
}

fn places() -> impl Strategy<Value = Option<Place>> {
    (0..5_usize, "[abc]", "[abc]", any::<bool>()).prop_map(|(kind, name, owner, known)| {
        let place = match kind {
            0 => return None,
            1 | 2 => organization(&name),
            3 => project(&name, None),
            _ => project(&name, Some(&owner)),
        };
        Some(if known { place } else { gone(place) })
    })
}

proptest! {
    /// Whoever may give a grant has all that it gives, at every place.
    #[test]
    fn nobody_gives_more_than_they_have(
        grants in grants(), target in places(), elsewhere in places(), action in 0..11_usize,
    ) {
        let giver = person(grants);
        let may_give = may(&giver, Action::Give, target.as_ref()).is_ok();
        // What is registered is the same for both, and nothing is given for what isn't.
        let same = |other: &Place| target.as_ref().is_none_or(|target| target.scope != other.scope);
        let consistent = target == elsewhere || elsewhere.as_ref().is_none_or(same);
        if !may_give || !consistent || target.as_ref().is_some_and(|place| !place.known) {
            return Ok(());
        }
        let grant = target.as_ref().map_or(Grant::Operator, |place| place.scope.admin());
        let receiver = person(vec![grant]);
        let action = Action::ALL[action];
        if may(&receiver, action, elsewhere.as_ref()).is_ok() {
            prop_assert_eq!(may(&giver, action, elsewhere.as_ref()), Ok(()));
        }
    }

    /// More grants never take anything away, and less access never adds anything.
    #[test]
    fn grants_add_up(grants in grants(), more in grants(), place in places(), action in 0..11_usize) {
        let action = Action::ALL[action];
        let all = [grants.clone(), more].concat();
        let ok = |actor: &Actor| may(actor, action, place.as_ref()).is_ok();
        prop_assert!(!ok(&person(grants.clone())) || ok(&person(all)));
        let [read, manage, delegate] =
            Access::ALL.map(|access| ok(&token(grants.clone(), access)));
        prop_assert!((!read || manage) && (!manage || delegate));
        prop_assert_eq!(delegate, ok(&person(grants)));
    }
}
