//! Forms that are sent once, and answered in JSON whatever the status: the requests of OAuth 2.0.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use url::form_urlencoded::byte_serialize;

use super::{Endpoint, HttpError, builder, connection, named};
use crate::secret::{Value, ValueBuf};

/// A form (`application/x-www-form-urlencoded`).
#[derive(Debug)]
pub struct Form<'a> {
    /// An `http` or `https` URL.
    pub url: &'a str,
    /// Names and values; the values may be secrets.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// A user and a password for HTTP basic authentication, both encoded as RFC 6749, section
    /// 2.3.1, wants it.
    pub basic: Option<(&'a str, &'a Value)>,
    /// For the one attempt.
    pub deadline: Duration,
}

/// Sends a form, once, for what it holds may work only once. Gives the status, and up to `limit`
/// bytes of the answer.
pub async fn post_form(form: &Form<'_>, limit: usize) -> Result<(u16, Value), HttpError> {
    let endpoint = Endpoint { url: form.url, token: None, deadline: form.deadline };
    let request = filled(super::request(Method::POST, &endpoint)?, form)?;
    let url = &named(request.url());
    let client = builder().build().map_err(|error| HttpError::Setup(error.to_string()))?;
    let exchange = async {
        let fault = |error| connection(url, &error);
        let mut response = client.execute(request).await.map_err(fault)?;
        let mut body = ValueBuf::new();
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            if body.as_slice().len() + chunk.len() > limit {
                return Err(HttpError::TooLarge { url: url.clone(), limit });
            }
            body.push(&chunk);
        }
        Ok((response.status().as_u16(), body.finish()))
    };
    tokio::time::timeout(form.deadline, exchange).await.unwrap_or_else(|_| {
        let last = "no answer".to_owned();
        Err(HttpError::Deadline { url: url.clone(), deadline: form.deadline, last })
    })
}

fn filled(mut request: Request, form: &Form<'_>) -> Result<Request, HttpError> {
    let mut body = ValueBuf::new();
    for (name, value) in form.fields {
        let separator: &[u8] = if body.as_slice().is_empty() { b"" } else { b"&" };
        body.push(separator);
        encode(&mut body, name.as_bytes());
        body.push(b"=");
        encode(&mut body, value);
    }
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some((user, password)) = form.basic {
        headers.insert(AUTHORIZATION, basic(user, password)?);
    }
    *request.body_mut() = Some(body.as_slice().to_vec().into());
    Ok(request)
}

fn basic(user: &str, password: &Value) -> Result<HeaderValue, HttpError> {
    use base64ct::{Base64, Encoding};
    let mut pair = ValueBuf::new();
    encode(&mut pair, user.as_bytes());
    pair.push(b":");
    encode(&mut pair, password.expose());
    let mut encoded = zeroize::Zeroizing::new(vec![0; pair.as_slice().len().div_ceil(3) * 4]);
    Base64::encode(pair.as_slice(), &mut encoded).map_err(|_| HttpError::Token)?;
    let mut header = ValueBuf::new();
    header.push(b"Basic ");
    header.push(&encoded);
    let mut header = HeaderValue::from_bytes(header.as_slice()).map_err(|_| HttpError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

fn encode(to: &mut ValueBuf, bytes: &[u8]) {
    byte_serialize(bytes).for_each(|part| to.push(part.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_and_its_credentials_are_encoded() {
        let password = Value::from("p:ss wörd");
        let form = Form {
            url: "http://127.0.0.1:1/token",
            fields: &[("code", b"a&b=c"), ("redirect_uri", b"https://s/x y")],
            basic: Some(("us er", &password)),
            deadline: Duration::from_secs(1),
        };
        let endpoint = Endpoint { url: form.url, token: None, deadline: form.deadline };
        let request = filled(super::super::request(Method::POST, &endpoint).unwrap(), &form);
        let request = request.unwrap();
        let body = request.body().unwrap().as_bytes().unwrap();
        assert_eq!(body, b"code=a%26b%3Dc&redirect_uri=https%3A%2F%2Fs%2Fx+y");
        let header = &request.headers()[AUTHORIZATION];
        assert!(header.is_sensitive());
        // base64 of `us+er:p%3Ass+w%C3%B6rd`
        assert_eq!(header, "Basic dXMrZXI6cCUzQXNzK3clQzMlQjZyZA==");
    }
}
