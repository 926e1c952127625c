//! A folder under a path: which file a request's target means, and which targets are refused.

use std::path::PathBuf;

/// What a target gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    File(PathBuf),
    Redirect(String),
    NotFound,
    BadRequest,
}

/// A folder of files, and the path under which they are served.
pub(crate) struct Site {
    folder: PathBuf,
    base: String,
}

impl Site {
    /// Takes `some/path`, `/some/path` or `/some/path/` for the same base.
    pub(crate) fn new(folder: PathBuf, base: &str) -> Self {
        let inner = base.trim_matches('/');
        let base = if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") };
        Self { folder, base }
    }

    /// The base path, with a slash at both ends.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Finds the file for the target of a request line.
    pub(crate) fn answer(&self, target: &str) -> Answer {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if !path.starts_with('/') {
            return Answer::BadRequest;
        }
        if format!("{path}/") == self.base {
            return Answer::Redirect(self.base.clone());
        }
        let Some(inside) = path.strip_prefix(&self.base) else {
            return Answer::NotFound;
        };
        match segments(inside) {
            Some(segments) => self.file(path, &segments),
            None => Answer::BadRequest,
        }
    }

    fn file(&self, path: &str, segments: &[String]) -> Answer {
        let mut file = self.folder.clone();
        file.extend(segments);
        if path.ends_with('/') {
            file.push("index.html");
        } else if file.is_dir() {
            return Answer::Redirect(format!("{path}/"));
        }
        if file.is_file() { Answer::File(file) } else { Answer::NotFound }
    }
}

/// The decoded segments of a path, unless one of them would lead out of the folder or is no name at all.
fn segments(path: &str) -> Option<Vec<String>> {
    let named = path.split('/').filter(|segment| !segment.is_empty());
    named.map(|segment| decode(segment).filter(|name| is_plain(name))).collect()
}

fn is_plain(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' { hex(rest.next()?)? * 16 + hex(rest.next()?)? } else { byte };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Answer, Site};

    /// A folder with `index.html`, `a b.js` and `docs/index.html`, and a file beside it that is nobody's business.
    fn site(name: &str, base: &str) -> (PathBuf, Site) {
        let outer = std::env::temp_dir().join(format!("inglenook-xtask-{name}-{}", std::process::id()));
        let folder = outer.join("dist");
        std::fs::create_dir_all(folder.join("docs")).unwrap();
        for file in ["index.html", "a b.js", "docs/index.html", "../secret"] {
            std::fs::write(folder.join(file), file).unwrap();
        }
        (folder.clone(), Site::new(folder, base))
    }

    #[test]
    fn finds_files_and_the_index_of_folders() {
        let (folder, site) = site("find", "/");
        assert_eq!(site.answer("/"), Answer::File(folder.join("index.html")));
        assert_eq!(site.answer("/?x=/y"), Answer::File(folder.join("index.html")));
        assert_eq!(site.answer("/a%20b.js"), Answer::File(folder.join("a b.js")));
        assert_eq!(site.answer("/docs/"), Answer::File(folder.join("docs/index.html")));
        assert_eq!(site.answer("/docs"), Answer::Redirect("/docs/".to_owned()));
        assert_eq!(site.answer("/none"), Answer::NotFound);
        assert_eq!(site.answer("/index.html/"), Answer::NotFound);
    }

    #[test]
    fn never_leaves_the_folder() {
        let (_, site) = site("leave", "/");
        for target in ["/../secret", "/docs/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/..\\secret"] {
            assert_eq!(site.answer(target), Answer::BadRequest, "{target}");
        }
        for target in ["", "secret", "/%", "/%zz", "/%+1", "/%ff", "/a%00"] {
            assert_eq!(site.answer(target), Answer::BadRequest, "{target}");
        }
        assert_eq!(site.answer("//etc/passwd"), Answer::NotFound);
    }

    #[test]
    fn serves_under_a_path_and_nothing_beside_it() {
        let (folder, site) = site("base", "some/path");
        assert_eq!(site.base(), "/some/path/");
        assert_eq!(site.answer("/some/path/"), Answer::File(folder.join("index.html")));
        assert_eq!(site.answer("/some/path"), Answer::Redirect("/some/path/".to_owned()));
        assert_eq!(site.answer("/some/path/docs"), Answer::Redirect("/some/path/docs/".to_owned()));
        assert_eq!(site.answer("/"), Answer::NotFound);
        assert_eq!(site.answer("/some/pathindex.html"), Answer::NotFound);
    }
}
