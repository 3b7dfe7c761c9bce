//! Which secret wins: a pure function over metadata, the same for every caller.
//!
//! Invariants: for each (kind, key) the secret of the highest [`Level`]
//! wins, and exactly one; the order of the candidates never matters; a candidate that is not this
//! job's, or two of the same name at the same level, stop the resolution instead of being guessed
//! away.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::job::Identity;
use crate::secret::{Level, Name, Owner, SecretId};

/// A secret that may be given to a job: facts only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id in the backend.
    pub id: SecretId,
    /// Its kind and key.
    pub name: Name,
    /// Whose it is; the level follows from this.
    pub owner: Owner,
    /// Whether its value is masked in output.
    pub sensitive: bool,
}

impl Candidate {
    /// The level it stands at.
    pub fn level(&self) -> Level {
        self.owner.level()
    }
}

/// The secret that a job gets under one name, and what it beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// What the job gets.
    pub secret: Candidate,
    /// What it shadows, the strongest first.
    pub shadowed: Vec<Candidate>,
}

/// Every secret that one job gets, ordered by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    winners: Vec<Winner>,
}

impl Resolution {
    /// The winners, ordered by name.
    pub fn winners(&self) -> &[Winner] {
        &self.winners
    }

    /// The winner under one name.
    pub fn get(&self, name: &Name) -> Option<&Winner> {
        self.winners.iter().find(|winner| winner.secret.name == *name)
    }

    /// Which of `required` nobody defined, in their order, each once.
    pub fn missing(&self, required: &[Name]) -> Vec<Name> {
        let mut missing: Vec<Name> = Vec::new();
        for name in required {
            if self.get(name).is_none() && !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        missing
    }
}

/// Why there is no resolution. Both are defects of the backend, and the job does not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Two secrets of one name at one level.
    #[error("two secrets {name} stand at the level {level}; remove one of them")]
    Duplicate {
        /// The name that stands twice.
        name: Name,
        /// Where it does.
        level: Level,
    },
    /// A secret of another project, organization or user.
    #[error("the backend offered {name} at the level {level}, which is not this job's")]
    Foreign {
        /// The name offered.
        name: Name,
        /// The level offered.
        level: Level,
    },
}

/// Picks the winner for each (kind, key) among `candidates`.
pub fn resolve(
    identity: &Identity,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Result<Resolution, Conflict> {
    let owners = identity.owners();
    let mut by_name: BTreeMap<Name, BTreeMap<Level, Candidate>> = BTreeMap::new();
    for candidate in candidates {
        let (name, level) = (candidate.name.clone(), candidate.level());
        if !owners.contains(&candidate.owner) {
            return Err(Conflict::Foreign { name, level });
        }
        if by_name.entry(name.clone()).or_default().insert(level, candidate).is_some() {
            return Err(Conflict::Duplicate { name, level });
        }
    }
    let winners = by_name
        .into_values()
        .filter_map(|mut levels| {
            let (_, secret) = levels.pop_last()?;
            Some(Winner { secret, shadowed: levels.into_values().rev().collect() })
        })
        .collect();
    Ok(Resolution { winners })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::{Id, Kind};

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn identity(organization: Option<&str>, user: Option<&str>) -> Identity {
        Identity { project: id("p"), organization: organization.map(id), user: user.map(id) }
    }

    fn owner(level: Level) -> Owner {
        let (organization, project) = (id("o"), id("p"));
        match level {
            Level::Organization => Owner::Organization { organization, user: None },
            Level::OrganizationUser => Owner::Organization { organization, user: Some(id("u")) },
            Level::Project => Owner::Project { project, user: None },
            Level::ProjectUser => Owner::Project { project, user: Some(id("u")) },
        }
    }

    fn candidate(kind: Kind, key: &str, level: Level) -> Candidate {
        Candidate {
            id: SecretId::from(format!("{kind}-{key}-{level}")),
            name: Name { kind, key: key.to_owned() },
            owner: owner(level),
            sensitive: true,
        }
    }

    /// All sixteen subsets of the four levels, for each kind.
    #[test]
    fn the_whole_table() {
        for kind in Kind::ALL {
            for subset in 0_u8..16 {
                let present: Vec<Level> = Level::ALL
                    .into_iter()
                    .enumerate()
                    .filter_map(|(bit, level)| (subset & (1 << bit) != 0).then_some(level))
                    .collect();
                let candidates = present.iter().map(|level| candidate(kind, "K", *level));
                let resolution = resolve(&identity(Some("o"), Some("u")), candidates).unwrap();
                let got = resolution.get(&Name { kind, key: "K".into() });
                // Spelt out rather than computed from the order of the enum.
                let expected = match subset {
                    0 => None,
                    8..=15 => Some(Level::ProjectUser),
                    4..=7 => Some(Level::Project),
                    2..=3 => Some(Level::OrganizationUser),
                    _ => Some(Level::Organization),
                };
                assert_eq!(got.map(|w| w.secret.level()), expected, "{kind} {present:?}");
                let mut rest = present.clone();
                rest.pop();
                rest.reverse();
                let shadowed: Vec<Level> =
                    got.iter().flat_map(|w| &w.shadowed).map(Candidate::level).collect();
                assert_eq!(shadowed, rest, "{kind} {present:?}");
            }
        }
    }

    #[test]
    fn kinds_do_not_shadow_each_other() {
        let resolution = resolve(
            &identity(Some("o"), None),
            [
                candidate(Kind::Envvar, "K", Level::Organization),
                candidate(Kind::Pgservice, "K", Level::Project),
            ],
        )
        .unwrap();
        assert_eq!(resolution.winners().len(), 2);
        assert!(resolution.winners().iter().all(|w| w.shadowed.is_empty()));
    }

    #[test]
    fn what_is_not_this_jobs_stops_it() {
        let foreign = |identity: Identity, level| {
            resolve(&identity, [candidate(Kind::Envvar, "K", level)]).unwrap_err()
        };
        let expected = |level| Conflict::Foreign { name: Name::envvar("K"), level };
        // A personal project has no organization.
        let personal = identity(None, Some("u"));
        assert_eq!(foreign(personal.clone(), Level::Organization), expected(Level::Organization));
        assert_eq!(foreign(personal, Level::OrganizationUser), expected(Level::OrganizationUser));
        // A system job has no user.
        let system = identity(Some("o"), None);
        assert_eq!(foreign(system.clone(), Level::ProjectUser), expected(Level::ProjectUser));
        assert_eq!(foreign(system, Level::OrganizationUser), expected(Level::OrganizationUser));
        // Somebody else's.
        let other = identity(Some("other"), Some("other"));
        assert_eq!(foreign(other.clone(), Level::Organization), expected(Level::Organization));
        assert_eq!(foreign(other, Level::ProjectUser), expected(Level::ProjectUser));
    }

    #[test]
    fn a_duplicate_is_never_a_coin_toss() {
        let mut second = candidate(Kind::Pgservice, "db", Level::Project);
        second.id = SecretId::from("another".to_owned());
        let first = candidate(Kind::Pgservice, "db", Level::Project);
        assert_eq!(
            resolve(&identity(Some("o"), Some("u")), [first, second]).unwrap_err(),
            Conflict::Duplicate { name: Name::pgservice("db"), level: Level::Project }
        );
    }

    proptest! {
        #[test]
        fn the_order_of_candidates_never_matters_and_nothing_is_lost(
            picks in proptest::collection::btree_set((0_usize..2, 0_usize..5, 0_usize..4), 0..30),
            seed in any::<prop::sample::Index>(),
        ) {
            let all: Vec<Candidate> = picks
                .iter()
                .map(|(kind, key, level)| {
                    candidate(Kind::ALL[*kind], &format!("K{key}"), Level::ALL[*level])
                })
                .collect();
            let mut turned = all.clone();
            if !turned.is_empty() {
                let by = seed.index(turned.len());
                turned.rotate_left(by);
                turned.reverse();
            }
            let identity = identity(Some("o"), Some("u"));
            let resolution = resolve(&identity, all.clone()).unwrap();
            prop_assert_eq!(&resolution, &resolve(&identity, turned).unwrap());
            let mut seen = 0;
            for winner in resolution.winners() {
                seen += 1 + winner.shadowed.len();
                for loser in &winner.shadowed {
                    prop_assert_eq!(&loser.name, &winner.secret.name);
                    prop_assert!(loser.level() < winner.secret.level());
                }
            }
            prop_assert_eq!(seen, all.len());
            let names: Vec<Name> =
                resolution.winners().iter().map(|w| w.secret.name.clone()).collect();
            prop_assert!(names.is_sorted());
        }
    }
}
