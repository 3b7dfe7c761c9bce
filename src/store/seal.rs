//! Sealing with HPKE (RFC 9180), base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305.
//!
//! Invariant: what opens is exactly what was sealed for this row. The associated data binds the
//! envelope's suite, the level, the owner's ids, the kind, the key, the secret's id, whether it is
//! sensitive, and the id of the key that it is sealed to; each field stands behind its length, so
//! that no two rows have the same associated data.

use std::fmt;

use aws_lc_rs::agreement;
use aws_lc_rs::error::Unspecified;
use base64ct::{Base64UrlUnpadded, Encoding};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::{Name, Owner, SecretId, Value};

/// The envelope's first bytes: its version, then RFC 9180's ids of KEM (0x0020 X25519), KDF
/// (0x0001 HKDF-SHA256) and AEAD (0x0003 ChaCha20-Poly1305). Another suite gets other bytes.
const HEADER: [u8; 7] = [1, 0x00, 0x20, 0x00, 0x01, 0x00, 0x03];

/// Bytes of an X25519 key, private, public or encapsulated.
const KEY_LEN: usize = 32;

/// RFC 9180's `info`: separates these seals from any other use of the key.
const INFO: &[u8] = b"qgis-secrets secret value, version 1";

const PUBLIC_PREFIX: &str = "qgis-secrets-public-x25519-";
const PRIVATE_PREFIX: &str = "qgis-secrets-private-x25519-";

/// Names a key pair: the first 16 hexadecimal digits of the SHA-256 of the public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for KeyId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What values are sealed to. Not a secret.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: KeyId,
    key: HpkePublicKey,
}

/// What opens them. Overwritten when it is dropped (by the library's own type).
pub struct PrivateKey {
    public: PublicKey,
    key: HpkePrivateKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, …)", self.public.id)
    }
}

/// A text that is not a key. Never holds the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0} key of qgis-secrets")]
pub struct NotAKey(&'static str);

impl PublicKey {
    /// The key pair's id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Reads `qgis-secrets-public-x25519-…`.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = decode(text, PUBLIC_PREFIX).ok_or(NotAKey("public"))?;
        Ok(Self::new(HpkePublicKey(bytes.to_vec())))
    }

    fn new(key: HpkePublicKey) -> Self {
        let digest = Sha256::digest(&key.0);
        let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { id: KeyId(id), key }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Base64UrlUnpadded::encode_string(&self.key.0);
        write!(f, "{PUBLIC_PREFIX}{text}")
    }
}

impl PrivateKey {
    /// A new key pair, from the library's generator, which the kernel seeds.
    ///
    /// # Panics
    /// Where the kernel has no random numbers.
    pub fn generate() -> Self {
        let (public, key) = SUITE.generate_key_pair().expect("the kernel has random numbers");
        Self { public: PublicKey::new(public), key }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Reads `qgis-secrets-private-x25519-…`.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = decode(text, PRIVATE_PREFIX).ok_or(NotAKey("private"))?;
        let public = public_half(bytes.as_slice()).map_err(|_| NotAKey("private"))?;
        Ok(Self { public: PublicKey::new(public), key: bytes.to_vec().into() })
    }

    /// The key as text, for its file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let base64 = Zeroizing::new(Base64UrlUnpadded::encode_string(self.key.secret_bytes()));
        let mut text = Zeroizing::new(String::with_capacity(PRIVATE_PREFIX.len() + base64.len()));
        text.push_str(PRIVATE_PREFIX);
        text.push_str(&base64);
        text
    }
}

/// The public key of a private one (RFC 7748, section 6.1).
fn public_half(private: &[u8]) -> Result<HpkePublicKey, Unspecified> {
    let private = agreement::PrivateKey::from_private_key(&agreement::X25519, private)?;
    Ok(HpkePublicKey(private.compute_public_key()?.as_ref().to_vec()))
}

fn decode(text: &str, prefix: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    let decoded = Base64UrlUnpadded::decode(text.strip_prefix(prefix)?, bytes.as_mut_slice());
    (decoded.ok()?.len() == KEY_LEN).then_some(bytes)
}

/// The row that a value is sealed for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The secret's id.
    pub id: &'a SecretId,
    /// Its kind and key.
    pub name: &'a Name,
    /// Whose it is.
    pub owner: &'a Owner,
    /// Whether it is masked.
    pub sensitive: bool,
}

impl Context<'_> {
    fn associated_data(&self, key_id: &KeyId) -> Vec<u8> {
        let mut data = HEADER.to_vec();
        let level = self.owner.level().as_str();
        let user = self.owner.user().map_or("", |user| user.as_str());
        let sensitive = if self.sensitive { "sensitive" } else { "not sensitive" };
        let kind = self.name.kind.as_str();
        for field in [
            level,
            self.owner.id().as_str(),
            user,
            kind,
            &self.name.key,
            self.id.as_str(),
            sensitive,
            key_id.as_str(),
        ] {
            data.extend_from_slice(&(field.len() as u64).to_be_bytes());
            data.extend_from_slice(field.as_bytes());
        }
        data
    }
}

/// Why an envelope does not open. The job does not start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another version or suite, or not an envelope.
    #[error("its envelope is damaged, or was made by a later version of this program")]
    Envelope,
    /// Changed since it was sealed: the value, the row around it, or the key.
    #[error("it was changed since it was sealed, or moved here from another row")]
    Seal,
    /// Sealed to a key that isn't in the key file.
    #[error("it is sealed to the key {0}, which the key file doesn't hold")]
    Key(KeyId),
    /// The random source or the key failed.
    #[error("it could not be sealed")]
    Failed,
}

/// Seals a value to `public` for the row `context`.
pub fn seal(public: &PublicKey, context: Context<'_>, value: &Value) -> Result<Vec<u8>, OpenError> {
    let data = context.associated_data(&public.id);
    let (encapsulated, sealed) =
        SUITE.seal(INFO, &data, value.expose(), &public.key).map_err(|_| OpenError::Failed)?;
    Ok([HEADER.as_slice(), &encapsulated.0, &sealed].concat())
}

/// Opens an envelope that was sealed to `private` for the row `context`.
pub fn open(
    private: &PrivateKey,
    context: Context<'_>,
    envelope: &[u8],
) -> Result<Value, OpenError> {
    let body = envelope.strip_prefix(HEADER.as_slice()).ok_or(OpenError::Envelope)?;
    let (encapsulated, sealed) = body.split_at_checked(KEY_LEN).ok_or(OpenError::Envelope)?;
    let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
    let data = context.associated_data(&private.public.id);
    SUITE
        .open(&encapsulated, INFO, &data, sealed, &private.key)
        .map(Value::new)
        .map_err(|_| OpenError::Seal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(level: u8) -> Owner {
        let id = |text: &str| text.parse().unwrap();
        let user = (level % 2 == 1).then(|| id("u"));
        match level / 2 {
            0 => Owner::Organization { organization: id("o"), user },
            _ => Owner::Project { project: id("o"), user },
        }
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_shows() {
        let private = PrivateKey::generate();
        let (id, name, owner) = (SecretId::new(), Name::envvar("K"), owner(3));
        let context = Context { id: &id, name: &name, owner: &owner, sensitive: true };
        let envelope = seal(private.public(), context, &"hunter2".into()).unwrap();
        assert!(!envelope.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(open(&private, context, &envelope).unwrap().expose(), b"hunter2");
        let again = seal(private.public(), context, &"hunter2".into()).unwrap();
        assert_ne!(envelope, again, "two seals of one value must differ");
    }

    /// The envelope, the key's id and the associated data are a format that outlives the libraries:
    /// this one was sealed by another implementation of RFC 9180.
    #[test]
    fn what_another_implementation_sealed_opens() {
        let private = PrivateKey::parse(
            "qgis-secrets-private-x25519-YFvuySQYKS_Ra7pbTUeNaGtvhcjvNaP1KL1TDQD9QHA",
        )
        .unwrap();
        assert_eq!(private.public().id().as_str(), "30f4cae45e8525d3");
        let envelope = Base64UrlUnpadded::decode_vec(
            "AQAgAAEAA8Pids72UaxNStix5mFRqHbEaVSRn50lQ0mdGq7gndlOEKdo3q8Kt5K8UPjlIFDD9M7tULsEzrz0\
             mfxxcKz2kvScBcB0TAtjrg",
        )
        .unwrap();
        let id = SecretId::from("0199f5b2-0000-7000-8000-000000000001".to_owned());
        let name = Name::pgservice("db");
        let owner =
            Owner::Project { project: "p".parse().unwrap(), user: Some("ana".parse().unwrap()) };
        let context = Context { id: &id, name: &name, owner: &owner, sensitive: true };
        let value = open(&private, context, &envelope).unwrap();
        assert_eq!(value.expose(), b"host=db password=hunter2");
    }

    /// A point of low order as a public key would let anybody open what is sealed to it (RFC 7748,
    /// section 6.1).
    #[test]
    fn nothing_is_sealed_to_a_key_that_is_none() {
        let low_order =
            format!("{PUBLIC_PREFIX}{}", Base64UrlUnpadded::encode_string(&[0; KEY_LEN]));
        let public = PublicKey::parse(&low_order).unwrap();
        let (id, name, owner) = (SecretId::new(), Name::envvar("K"), owner(3));
        let context = Context { id: &id, name: &name, owner: &owner, sensitive: true };
        assert_eq!(seal(&public, context, &"x".into()).unwrap_err(), OpenError::Failed);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let private = PrivateKey::generate();
        let (id, name, owner) = (SecretId::new(), Name::pgservice("db"), owner(2));
        let context = Context { id: &id, name: &name, owner: &owner, sensitive: true };
        let mut envelope = seal(private.public(), context, &"x".into()).unwrap();
        for bit in 0..envelope.len() * 8 {
            envelope[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the top bit of a public key (RFC 7748, section 5), but HPKE binds
            // the encapsulated key's bytes into the key schedule.
            assert!(open(&private, context, &envelope).is_err(), "bit {bit}");
            envelope[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..envelope.len() {
            assert!(open(&private, context, &envelope[..len]).is_err(), "cut to {len}");
        }
        assert!(open(&private, context, &envelope).is_ok());
    }

    #[test]
    fn another_row_or_key_does_not_open_it() {
        let private = PrivateKey::generate();
        let (id, name, place) = (SecretId::new(), Name::envvar("K"), owner(2));
        let context = Context { id: &id, name: &name, owner: &place, sensitive: true };
        let envelope = seal(private.public(), context, &"x".into()).unwrap();
        let refused = |context: Context<'_>| {
            assert_eq!(open(&private, context, &envelope).unwrap_err(), OpenError::Seal);
        };
        refused(Context { id: &SecretId::new(), ..context });
        refused(Context { name: &Name::envvar("L"), ..context });
        refused(Context { name: &Name::pgservice("K"), ..context });
        refused(Context { sensitive: false, ..context });
        for level in [0, 1, 3] {
            refused(Context { owner: &owner(level), ..context });
        }
        let error = open(&PrivateKey::generate(), context, &envelope).unwrap_err();
        assert_eq!(error, OpenError::Seal);
    }

    #[test]
    fn keys_round_trip_as_text() {
        let private = PrivateKey::generate();
        let again = PrivateKey::parse(&private.to_text()).unwrap();
        assert_eq!(again.public().id(), private.public().id());
        let public = PublicKey::parse(&private.public().to_string()).unwrap();
        assert_eq!(public.id(), private.public().id());
        assert_eq!(public.id().as_str().len(), 16);
        for bad in ["", "qgis-secrets-public-x25519-", "qgis-secrets-public-x25519-AAAA", "x"] {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
            assert!(PrivateKey::parse(bad).is_err(), "{bad}");
        }
        assert!(PublicKey::parse(&private.to_text()).is_err());
        assert!(!format!("{private:?}").contains(&private.to_text()[PRIVATE_PREFIX.len()..]));
    }

    proptest! {
        /// Fields cannot run into each other: no two rows have the same associated data.
        #[test]
        fn associated_data_is_injective(
            a in ("[A-Z]{1,3}", "[a-z]{1,3}", "[0-9]{1,3}", 0_u8..4, any::<bool>()),
            b in ("[A-Z]{1,3}", "[a-z]{1,3}", "[0-9]{1,3}", 0_u8..4, any::<bool>()),
        ) {
            let data = |(key, organization, id, level, sensitive): &(String, String, String, u8, bool)| {
                let organization = organization.parse().unwrap();
                let user = (level % 2 == 1).then(|| "u".parse().unwrap());
                let owner = if *level < 2 {
                    Owner::Organization { organization, user }
                } else {
                    Owner::Project { project: organization, user }
                };
                let (id, name) = (SecretId::from(id.clone()), Name::envvar(key.as_str()));
                Context { id: &id, name: &name, owner: &owner, sensitive: *sensitive }
                    .associated_data(&KeyId("k".into()))
            };
            prop_assert_eq!(a == b, data(&a) == data(&b));
        }
    }
}
