//! The media type of a file, by its extension.

use std::path::Path;

/// Browsers insist on the right type for modules and for compiling a wasm stream.
pub(crate) fn of(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::of;

    #[test]
    fn wasm_and_modules_get_the_types_that_browsers_insist_on() {
        assert_eq!(of(Path::new("a/inglenook_bg.wasm")), "application/wasm");
        assert_eq!(of(Path::new("worker.js")), "text/javascript; charset=utf-8");
        assert_eq!(of(Path::new("loader.MJS")), "text/javascript; charset=utf-8");
    }

    #[test]
    fn what_is_unknown_is_bytes() {
        assert_eq!(of(Path::new("LICENSE")), "application/octet-stream");
    }
}
