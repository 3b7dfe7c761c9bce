//! A browser, as far as it takes to wait for pages.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ground::Service;
use super::load::Connection;

/// Somebody who has logged in by the one-time link.
pub(super) struct Visitor {
    connection: Connection,
    address: String,
    cookie: String,
}

impl Visitor {
    pub(super) fn log_in(service: &mut Service) -> Self {
        let address = service.address.clone();
        let link = service.said(&format!("http://{address}/login?link="));
        let connection = Connection::new(&address);
        let mut visitor = Self { connection, address, cookie: String::new() };
        let form = visitor.get(&format!("/login?link={link}"));
        let (_, mark) = form.split_once("name=\"browser\" value=\"").unwrap();
        let (mark, _) = mark.split_once('"').unwrap();
        let form = format!("link={link}&browser={mark}");
        let request = format!(
            "POST /login/link HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nCookie: {1}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {2}\r\n\r\n{form}",
            visitor.address,
            visitor.cookie,
            form.len(),
        );
        visitor.ask(&request, 303);
        visitor
    }

    /// From the request to the first byte of the page.
    pub(super) fn first_byte(&mut self, path: &str) -> Duration {
        let request = self.request(path);
        let answer = self.connection.ask(request.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.first_byte
    }

    /// The bytes of all files that a page names.
    pub(super) fn assets(&mut self, path: &str) -> usize {
        let page = self.get(path);
        let named = page.split('"').filter(|text| text.starts_with("/assets/"));
        let named: BTreeSet<&str> = named.collect();
        assert!(named.len() > 2, "{named:?}");
        named.into_iter().map(|name| self.get(name).len()).sum()
    }

    fn get(&mut self, path: &str) -> String {
        let request = self.request(path);
        self.ask(&request, 200)
    }

    fn request(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n", self.address, self.cookie)
    }

    /// Keeps the cookie that comes.
    fn ask(&mut self, request: &str, status: u16) -> String {
        let answer = self.connection.ask(request.as_bytes());
        assert_eq!(answer.status, status, "{}", answer.body);
        if let Some((_, cookie)) = answer.head.split_once("\r\nset-cookie: ") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer.body.to_owned()
    }
}
