//! A section of a pg_service.conf as somebody pastes it: what is accepted is read the same from
//! what is written of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qgis_secrets::pgservice::Service;

fuzz_target!(|text: &[u8]| {
    match Service::parse(text) {
        Ok(service) => {
            let written = service.render();
            let again = Service::parse(written.expose()).unwrap();
            assert_eq!(again.name(), service.name());
            assert_eq!(again.render().expose(), written.expose());
        }
        Err(rejected) => assert!(!rejected.to_string().contains(['\0', '\x1b', '\n'])),
    }
});
