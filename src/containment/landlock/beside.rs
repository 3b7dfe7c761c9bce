//! What is granted so that something else is denied.
//!
//! Invariant: nothing that is granted holds a denied directory, or lies in one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::LandlockError;

/// All that stands beside the way from `/` to a denied directory. The paths are absolute, and have
/// no `..` and no links; `list` gives the names in a directory.
pub(super) fn granted(
    denied: &BTreeSet<PathBuf>,
    mut list: impl FnMut(&Path) -> io::Result<Vec<OsString>>,
) -> Result<BTreeSet<PathBuf>, LandlockError> {
    if denied.contains(Path::new("/")) {
        return Err(LandlockError::Root);
    }
    // One inside another is denied with it, and what is between them too.
    let outermost =
        denied.iter().filter(|path| !path.ancestors().skip(1).any(|above| denied.contains(above)));
    let on_the_way: BTreeSet<&Path> = outermost.flat_map(|path| path.ancestors().skip(1)).collect();
    let mut granted = BTreeSet::new();
    for directory in &on_the_way {
        let names = list(directory)
            .map_err(|error| LandlockError::Listing(directory.to_path_buf(), error))?;
        let paths = names.into_iter().map(|name| directory.join(name));
        granted.extend(
            paths.filter(|path| !denied.contains(path) && !on_the_way.contains(path.as_path())),
        );
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in each directory of a small machine.
    fn machine(directory: &Path) -> io::Result<Vec<OsString>> {
        let names = match directory.to_str().unwrap() {
            "/" => "bin etc home tmp",
            "/etc" => "hosts qgis-secrets ssl",
            "/home" => "anna bert",
            "/home/anna" => ".config file data",
            "/home/anna/.config" => "QGIS qgis-secrets",
            "/home/bert" => "",
            "/home/anna/.config/qgis-secrets" => "key.d store",
            "/tmp" => return Err(io::ErrorKind::PermissionDenied.into()),
            other => panic!("{other} is listed for nothing"),
        };
        Ok(names.split_whitespace().map(Into::into).collect())
    }

    #[test]
    fn everything_beside_the_way_is_granted() {
        for (denied, expected) in [
            ("/etc", "/bin /home /tmp"),
            (
                "/home/anna/.config/qgis-secrets",
                "/bin /etc /home/anna/.config/QGIS /home/anna/data /home/anna/file /home/bert /tmp",
            ),
            // One inside another, and what is between them.
            ("/home /home/anna/.config/qgis-secrets", "/bin /etc /tmp"),
            ("/home/anna /home/anna/.config", "/bin /etc /home/bert /tmp"),
            // Ways that part.
            (
                "/home/anna/.config/qgis-secrets /home/bert /etc/qgis-secrets",
                "/bin /etc/hosts /etc/ssl /home/anna/.config/QGIS /home/anna/data /home/anna/file /tmp",
            ),
            (
                "/home/anna/.config/qgis-secrets /home/anna/.config/QGIS",
                "/bin /etc /home/anna/data /home/anna/file /home/bert /tmp",
            ),
            // One whose name another begins with.
            (
                "/home/anna/data /home/anna/d",
                "/bin /etc /home/anna/.config /home/anna/file /home/bert /tmp",
            ),
            ("", ""),
        ] {
            let paths = |list: &str| list.split(' ').map(PathBuf::from).collect::<BTreeSet<_>>();
            let denied = if denied.is_empty() { BTreeSet::new() } else { paths(denied) };
            let got = granted(&denied, machine).unwrap();
            let got: Vec<_> = got.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(got.join(" "), expected, "{denied:?}");
            for path in &denied {
                assert!(!got.iter().any(|granted| path.starts_with(granted)), "{path:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let message = |path: &str| granted(&[path.into()].into(), machine).unwrap_err().to_string();
        assert!(
            message("/tmp/x").starts_with("the directory /tmp leads to one"),
            "{}",
            message("/tmp/x")
        );
        assert!(message("/").starts_with("the root directory"));
    }
}
