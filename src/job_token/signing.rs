//! The private key of an orchestrator: made, kept in a file, used to issue tokens.
//!
//! Invariants: a private key is written only to a file that nobody else can read, from its first
//! byte, and one that others can read is refused; what is issued is read back by the rules of
//! [`Verifier`](super::Verifier) first, so that nothing is issued that would be refused.

use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::claims::{Claims, Policy};
use super::compact::Unverified;
use super::pem;
use super::public_key::{Algorithm, PublicKey, Unusable};
use super::refused::BadKey;
use crate::secret::{Value, ValueBuf};
use crate::store::keys::check_private;

/// The largest key file, in bytes.
const MAX_FILE: usize = 64 * 1024;

/// What issues tokens. Overwritten when it is dropped (by the library's own types).
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, …)", self.public)
    }
}

impl SigningKey {
    /// A new key; RSA ones have 3072 bits.
    pub fn generate(algorithm: Algorithm) -> Result<Self, BadKey> {
        let failed = |_| BadKey::Failed("making a key");
        let pair = match algorithm {
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Es256 => Pair::P256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            ),
            Algorithm::Rs256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?),
        };
        Self::of(pair).map_err(|_| BadKey::Failed("making a key"))
    }

    /// Reads a PKCS #8 private key in PEM (RFC 5958, RFC 7468); others must not be able to read it.
    pub fn read(path: &Path) -> Result<Self, BadKey> {
        let unreadable = |error| BadKey::Unreadable(path.into(), error);
        let content = |why: &str| BadKey::Content(path.into(), why.to_owned());
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(content("not a regular file"));
        }
        check_private(path, &metadata)?;
        let bytes = ValueBuf::read(file, MAX_FILE)
            .map_err(unreadable)?
            .ok_or_else(|| content("too large for a key file"))?;
        let text = str::from_utf8(bytes.as_slice()).map_err(|_| content("not PEM"))?;
        let blocks = pem::blocks(text).ok_or_else(|| content("a PEM block has no end"))?;
        let [block] = blocks.as_slice() else {
            return Err(content("must hold exactly one private key as PEM"));
        };
        let pair = match block.label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" => pair(block.text.as_bytes()),
            "EC PRIVATE KEY" => {
                return Err(content(
                    "holds a key in an older form; change it with: openssl pkcs8 -topk8 -nocrypt",
                ));
            }
            "ENCRYPTED PRIVATE KEY" => {
                return Err(content(
                    "holds a key behind a passphrase; take it away with: openssl pkcs8 -topk8 \
                     -nocrypt",
                ));
            }
            "PUBLIC KEY" => return Err(content("holds a public key; tokens need the private one")),
            _ => None,
        };
        let pair = pair.ok_or_else(|| content("not an Ed25519, P-256 or RSA private key"))?;
        Self::of(pair).map_err(|why| match why {
            Unusable::Private => content("not a key that can be used"),
            Unusable::Other(why) => content(why),
        })
    }

    fn of(pair: Pair) -> Result<Self, Unusable> {
        let key = match &pair {
            Pair::Ed25519(pair) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
            Pair::P256(pair) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                DecodingKey::from_rsa_raw_components(&public.n, &public.e)
            }
        };
        let jwk =
            Jwk::from_decoding_key(&key, None).ok().and_then(|jwk| serde_json::to_value(jwk).ok());
        let Some(Json::Object(jwk)) = jwk else {
            return Err(Unusable::Other("not a key that can be used"));
        };
        Ok(Self { public: PublicKey::from_jwk(&jwk)?, pair })
    }

    /// The public half; its id is the thumbprint.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a token. Claims that a service would refuse now are an error.
    pub fn issue(&self, claims: &Claims) -> Result<Value, BadKey> {
        let algorithm = self.public.algorithm();
        let header = json!({ "alg": algorithm.as_str(), "typ": "JWT", "kid": self.public.kid() });
        let mut token = ValueBuf::new();
        token.push(part(&header).as_bytes());
        token.push(b".");
        token.push(part(&claims.members()).as_bytes());
        let signature = self.sign(token.as_slice())?;
        token.push(b".");
        token.push(Base64UrlUnpadded::encode_string(&signature).as_bytes());
        let token = token.finish();
        let audience = claims.audience.first().cloned().unwrap_or_default();
        Unverified::read(&token)
            .and_then(|read| read.judge(&Policy::new(audience), jiff::Timestamp::now()))
            .map_err(BadKey::Refused)?;
        Ok(token)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BadKey> {
        let failed = |_| BadKey::Failed("signing");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::P256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }

    /// Writes the private key to `path`, 0600, and the public one to `path.pub`, both as PEM;
    /// returns the latter path. Files that are there are refused, and nothing is written.
    pub fn create(&self, path: &Path) -> Result<PathBuf, BadKey> {
        let failed = |_| BadKey::Failed("writing a key");
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        let beside = PathBuf::from(beside);
        for file in [path, &beside] {
            if file.symlink_metadata().is_ok() {
                return Err(BadKey::Exists(file.into()));
            }
        }
        let (private, public) = match &self.pair {
            Pair::Ed25519(pair) => {
                let private = pair.to_pkcs8v1().map_err(failed)?;
                let public = pair.public_key().as_der().map_err(failed)?;
                (pem::encode("PRIVATE KEY", private.as_ref()), public)
            }
            Pair::P256(pair) => {
                let private = pair.to_pkcs8v1().map_err(failed)?;
                let public = pair.public_key().as_der().map_err(failed)?;
                (pem::encode("PRIVATE KEY", private.as_ref()), public)
            }
            Pair::Rsa(pair) => {
                let private = pair.as_der().map_err(failed)?;
                let public = pair.public_key().as_der().map_err(failed)?;
                (pem::encode("PRIVATE KEY", private.as_ref()), public)
            }
        };
        let public = pem::encode("PUBLIC KEY", public.as_ref());
        write(path, private.as_bytes(), 0o600, false)?;
        write(&beside, public.as_bytes(), 0o644, false)?;
        Ok(beside)
    }
}

fn part(json: &Json) -> Zeroizing<String> {
    Zeroizing::new(Base64UrlUnpadded::encode_string(json.to_string().as_bytes()))
}

fn pair(pem: &[u8]) -> Option<Pair> {
    if let Ok(key) = EncodingKey::from_ed_pem(pem) {
        // Version 1 of PKCS #8 holds the private key alone, version 2 the public one as well.
        return Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes()).ok().map(Pair::Ed25519);
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes());
        return pair.ok().map(Pair::P256);
    }
    let key = EncodingKey::from_rsa_pem(pem).ok()?;
    RsaKeyPair::from_der(key.as_bytes()).ok().map(Pair::Rsa)
}

/// Writes a token to a file, 0600 from its first byte; the file is replaced in one step.
pub fn write_private(path: &Path, token: &Value) -> Result<(), BadKey> {
    write(path, token.expose(), 0o600, true)
}

fn write(path: &Path, content: &[u8], mode: u32, replace: bool) -> Result<(), BadKey> {
    let fault = |error: io::Error| BadKey::Unwritable(path.into(), error);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // 0600 from its creation.
    let mut file = tempfile::Builder::new()
        .prefix(".qgis-secrets-token-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(fault)?;
    file.write_all(content).map_err(fault)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(fault)?;
    file.as_file().sync_all().map_err(fault)?;
    if replace {
        file.persist(path).map_err(|error| fault(error.error))?;
    } else {
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => BadKey::Exists(path.into()),
            _ => fault(error.error),
        })?;
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fault)
}
