//! An OpenID Connect provider: discovery, authorization, tokens, keys and user info over HTTP, with
//! keys of all three kinds. It does what a provider must, unless a test makes it lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use axum::extract::{Form, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256, Sha512};

pub(super) const CLIENT: &str = "us er";
pub(super) const SECRET: &str = "p:ss+w0rd";

/// A signing key of the provider.
pub(super) enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A change of what the provider would say.
type Lie = Arc<dyn Fn(&mut Json, &mut Json) + Send + Sync>;

/// What the provider goes by; tests change it while it runs.
pub(super) struct Mind {
    pub(super) clock: Box<dyn Fn() -> i64 + Send>,
    pub(super) issuer: String,
    /// By `kid`; the last one signs.
    pub(super) keys: Vec<(String, Key)>,
    /// Those that aren't published.
    pub(super) hidden: BTreeSet<String>,
    pub(super) claims: Json,
    pub(super) user_info: Json,
    pub(super) discovery: Json,
    /// Changes header and claims before they are signed.
    pub(super) lie: Option<Lie>,
    /// Changes the finished ID token.
    pub(super) forge: Option<fn(&str, &Self) -> String>,
    pub(super) down: bool,
    /// Takes a code again and again.
    pub(super) forgetful: bool,
    /// What was asked, by path.
    pub(super) asked: BTreeMap<String, usize>,
    codes: BTreeMap<String, BTreeMap<String, String>>,
}

/// A running provider.
pub(super) struct Provider {
    pub(super) mind: Arc<Mutex<Mind>>,
    pub(super) issuer: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Key {
    pub(super) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(super) fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::P256(Box::new(pair))
    }

    pub(super) fn ed25519() -> Self {
        Self::Ed25519(Box::new(Ed25519KeyPair::generate().unwrap()))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn jwk(&self, kid: &str) -> Json {
        let text = Base64UrlUnpadded::encode_string;
        match self {
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let n = text(public.modulus().big_endian_without_leading_zero());
                let e = text(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e})
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
            }
            Self::Ed25519(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn left_half(&self, token: &str) -> String {
        match self {
            Self::Ed25519(_) => Base64UrlUnpadded::encode_string(&Sha512::digest(token)[..32]),
            _ => Base64UrlUnpadded::encode_string(&Sha256::digest(token)[..16]),
        }
    }
}

/// A part of a token.
pub(super) fn part(json: &Json) -> String {
    Base64UrlUnpadded::encode_string(json.to_string().as_bytes())
}

impl Mind {
    /// The public half of the key that signs.
    pub(super) fn jwk(&self) -> Json {
        let (kid, key) = self.keys.last().unwrap();
        key.jwk(kid)
    }

    fn id_token(&self, nonce: &str, access_token: &str) -> String {
        let (kid, key) = self.keys.last().unwrap();
        let now = (self.clock)();
        let mut header = json!({"alg": key.algorithm(), "kid": kid, "typ": "JWT"});
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "ada", "nonce": nonce, "iat": now,
            "exp": now + 300, "at_hash": key.left_half(access_token),
        });
        for (name, value) in self.claims.as_object().unwrap() {
            claims[name] = value.clone();
        }
        if let Some(lie) = &self.lie {
            lie(&mut header, &mut claims);
        }
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = Base64UrlUnpadded::encode_string(&key.sign(message.as_bytes()));
        let token = format!("{message}.{signature}");
        self.forge.map_or(token.clone(), |forge| forge(&token, self))
    }
}

type Shared = Arc<Mutex<Mind>>;

impl Provider {
    /// One with this key, on a free port of this machine.
    pub(super) async fn new(key: Key, clock: impl Fn() -> i64 + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realms/gis", listener.local_addr().unwrap());
        let discovery = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=gis"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "end_session_endpoint": format!("{issuer}/logout"),
        });
        let mind = Arc::new(Mutex::new(Mind {
            clock: Box::new(clock),
            issuer: issuer.clone(),
            keys: vec![("k1".to_owned(), key)],
            hidden: BTreeSet::new(),
            claims: json!({"name": "Ada Lovelace", "groups": ["gis-admins"]}),
            user_info: json!({"sub": "ada"}),
            discovery,
            lie: None,
            forge: None,
            down: false,
            forgetful: false,
            asked: BTreeMap::new(),
            codes: BTreeMap::new(),
        }));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discover))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .route("/userinfo", get(user_info));
        let app = Router::new().nest("/realms/gis", routes).with_state(Arc::clone(&mind));
        let serving = tokio::spawn(async move { axum_serve(listener, app).await });
        Self { mind, issuer, serving }
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Mind)) {
        change(&mut self.mind.lock().unwrap());
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.mind.lock().unwrap().asked.get(path).copied().unwrap_or(0)
    }
}

/// axum's own `serve` is not switched on in the program.
async fn axum_serve(listener: tokio::net::TcpListener, app: Router) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no concern of the provider's.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn asked<T>(
    mind: &Shared,
    path: &str,
    answer: impl FnOnce(&mut Mind) -> T,
) -> Result<T, StatusCode> {
    let mut mind = mind.lock().unwrap();
    *mind.asked.entry(path.to_owned()).or_default() += 1;
    match mind.down {
        true => Err(StatusCode::BAD_REQUEST),
        false => Ok(answer(&mut mind)),
    }
}

async fn discover(State(mind): State<Shared>) -> Result<Body<Json>, StatusCode> {
    asked(&mind, "discovery", |mind| Body(mind.discovery.clone()))
}

async fn keys(State(mind): State<Shared>) -> Result<Body<Json>, StatusCode> {
    asked(&mind, "keys", |mind| {
        let shown = mind.keys.iter().filter(|(kid, _)| !mind.hidden.contains(kid));
        Body(json!({"keys": shown.map(|(kid, key)| key.jwk(kid)).collect::<Vec<_>>()}))
    })
}

async fn authorize(
    State(mind): State<Shared>,
    Query(asked_for): Query<BTreeMap<String, String>>,
) -> Result<Redirect, StatusCode> {
    asked(&mind, "authorize", |mind| {
        assert_eq!(asked_for["response_type"], "code");
        assert_eq!(asked_for["client_id"], CLIENT);
        assert_eq!(asked_for["code_challenge_method"], "S256");
        assert_eq!(asked_for["tenant"], "gis");
        assert!(asked_for["scope"].split(' ').any(|scope| scope == "openid"));
        let code = format!("code {} ä", mind.codes.len());
        let mut back = url::Url::parse(&asked_for["redirect_uri"]).unwrap();
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &asked_for["state"])
            .append_pair("session_state", "x");
        mind.codes.insert(code, asked_for);
        Redirect::to(back.as_str())
    })
}

async fn token(
    State(mind): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response, StatusCode> {
    asked(&mind, "token", |mind| {
        let refuse = |error| {
            let body = json!({"error": error, "error_description": "no <b>way</b>"});
            (StatusCode::BAD_REQUEST, Body(body)).into_response()
        };
        if !is_client(&headers, &form) {
            return refuse("invalid_client");
        }
        let Some(begun) = mind.codes.get(&form["code"]).cloned() else {
            return refuse("invalid_grant");
        };
        if !mind.forgetful {
            mind.codes.remove(&form["code"]);
        }
        let challenge = Base64UrlUnpadded::encode_string(&Sha256::digest(&form["code_verifier"]));
        if form["grant_type"] != "authorization_code"
            || form["redirect_uri"] != begun["redirect_uri"]
            || challenge != begun["code_challenge"]
        {
            return refuse("invalid_grant");
        }
        let id_token = mind.id_token(&begun["nonce"], "access-1");
        let body = json!({
            "id_token": id_token, "access_token": "access-1", "token_type": "Bearer",
        });
        Body(body).into_response()
    })
}

/// By a header, or by the form; the header's parts are form-encoded (RFC 6749, section 2.3.1).
fn is_client(headers: &HeaderMap, form: &BTreeMap<String, String>) -> bool {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let secret = form.get("client_secret").map(String::as_str);
        return form["client_id"] == CLIENT && (secret.is_none() || secret == Some(SECRET));
    };
    let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(Base64::decode_vec(encoded).unwrap()).unwrap();
    pair == "us+er:p%3Ass%2Bw0rd" && !form.contains_key("client_secret")
}

async fn user_info(
    State(mind): State<Shared>,
    headers: HeaderMap,
) -> Result<Body<Json>, StatusCode> {
    asked(&mind, "userinfo", |mind| {
        assert_eq!(headers[AUTHORIZATION], "Bearer access-1");
        Body(mind.user_info.clone())
    })
}
