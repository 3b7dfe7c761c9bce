//! Looking for secrets in a long list.

use qgis_secrets::secret::Kind;
use qgis_secrets::server::administration::{Filter, PageRequest};

use super::ground::{Ground, id, kind, organization, project};
use super::{MakeStore, on_both};

on_both!(a_list_is_searched_in_the_store_and_comes_in_parts);

async fn a_list_is_searched_in_the_store_and_comes_in_parts(store: MakeStore) {
    let ground = Ground::new(store).await;
    let p = project("p");
    for n in 0..7 {
        ground.put(p.owner(None), &format!("KEY_{n}")).await;
        ground.put(p.owner(Some(id("ann"))), &format!("OTHER_{n}")).await;
    }
    ground.put(organization("o").owner(None), "KEY_O").await;
    let search = async |kind, user: &str, words: &str| {
        let filter = Filter { kind, user: user.to_owned(), words: words.to_owned() };
        let (mut found, mut after, mut parts) = (Vec::new(), None, 0);
        loop {
            let page = PageRequest { after, limit: 3 };
            let part = ground.service.search(&ground.root, &p, filter.clone(), page).await.unwrap();
            found.extend(part.items.into_iter().map(|listed| listed.record.name.key));
            (after, parts) = (part.next, parts + 1);
            if after.is_none() {
                break (found, parts);
            }
        }
    };
    let keys = |word: &str| -> Vec<String> { (0..7).map(|n| format!("{word}_{n}")).collect() };
    assert_eq!(search(None, "", "key").await, (keys("KEY"), 3));
    assert_eq!(search(Some(Kind::Envvar), "ann", "").await, (keys("OTHER"), 3));
    assert_eq!(search(None, "", "_3").await.0, ["KEY_3", "OTHER_3"]);
    assert_eq!(search(None, "", "K%Y").await.0, [""; 0]);
    assert_eq!(search(Some(Kind::Pgservice), "", "").await.0, [""; 0]);
    assert_eq!(search(None, "", "").await, ([keys("KEY"), keys("OTHER")].concat(), 5));
    for wrong in ["\0", "a\nb"] {
        let filter = Filter { user: wrong.to_owned(), ..Filter::default() };
        let found = ground.service.search(&ground.root, &p, filter, PageRequest::first()).await;
        assert_eq!(kind(found), "invalid");
    }
    let all = ground.service.taken(&ground.root, &p.owner(None), Kind::Envvar).await.unwrap();
    assert_eq!(all, keys("KEY").into_iter().collect());
}
