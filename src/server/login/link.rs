//! The one-time link: how the first person comes in where there is no provider.
//!
//! Invariants: a link works once and for 15 minutes; it is used by a form, not by opening it, for
//! programs that look at links open them too; it leads in only under a host that is the service's
//! own.

use super::ticket::Ticket;
use super::{Fault, Login};
use crate::secret::Value;
use crate::settings::service::{OneTimeLink, Service};
use crate::store::sessions;

/// How long a link works, in seconds.
pub const LINK_LIFETIME: i64 = 15 * 60;

/// Who comes in by a link. No id of a user, and no provider's subject, has a colon there.
pub const LINK_SUBJECT: &str = "link:operator";

/// What they are called.
pub(super) const NAME: &str = "Operator (one-time link)";

/// Whether the settings offer links.
pub(super) fn is_offered(service: &Service) -> bool {
    service.oidc.is_none()
        && match service.one_time_link {
            OneTimeLink::Never => false,
            OneTimeLink::Anywhere => true,
            // A socket has no address for a browser.
            OneTimeLink::Loopback => {
                service.listen.is_local() && service.listen.is_tcp() && is_here(service)
            }
        }
}

/// A public address is for others than this machine.
fn is_here(service: &Service) -> bool {
    service.public_url.as_ref().is_none_or(|origin| !origin.is_https())
}

impl Login {
    /// Makes a link, if the settings offer one: its address below `origin`, which is where browsers
    /// reach the service, as `http://127.0.0.1:8470`.
    ///
    /// Whoever has the address can log in: it goes to the terminal, and into no log.
    pub async fn one_time_link(&self, origin: &str) -> Result<Option<Value>, Fault> {
        if !self.0.link {
            return Ok(None);
        }
        let (ticket, now) = (Ticket::new()?, self.0.clock.seconds());
        let digest = ticket.digest();
        let offered = self.0.pool.write(move |database| {
            sessions::offer_link(database, &digest, now, now + LINK_LIFETIME)
        });
        offered.await?;
        let mut address = crate::secret::ValueBuf::new();
        address.push(origin.trim_end_matches('/').as_bytes());
        address.push(b"/login?link=");
        address.push(ticket.to_text().as_bytes());
        Ok(Some(address.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Overrides, Settings};

    fn service(text: &str) -> Service {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("[service]\n{text}");
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let overrides = Overrides { file: Some(file.path().into()), ..Overrides::default() };
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".into());
        Settings::load(&overrides, home).unwrap().service
    }

    #[test]
    fn where_a_link_is_offered() {
        for (text, offered) in [
            ("", true),
            ("listen = '[::1]:0'", true),
            ("public_url = 'http://localhost:8470'", true),
            // Behind a proxy on the same machine it is no private affair.
            ("public_url = 'https://s.example'", false),
            ("listen = 'unix:/run/s.sock'", false),
            ("listen = '0.0.0.0:1'\ntrusted_proxies = ['10.0.0.1']", false),
            ("one_time_link = 'never'", false),
            ("public_url = 'https://s.example'\none_time_link = 'anywhere'", true),
            (
                "public_url = 'https://s.example'\none_time_link = 'anywhere'\n\
                 oidc = {issuer = 'https://i', client_id = 'us'}",
                false,
            ),
        ] {
            assert_eq!(is_offered(&service(text)), offered, "{text}");
        }
    }
}
