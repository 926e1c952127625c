//! A static file server on loopback with nothing but the headers that any plain web space sends, so that what works
//! here works there.

mod media_type;
mod site;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use site::Answer;
pub(crate) use site::Site;

/// A browser's request line and headers are well under this.
const HEAD_LIMIT: u64 = 64 * 1024;

/// Browsers open connections ahead of need; one that stays silent is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on the first port of a range that is free.
pub(crate) fn listen(ports: RangeInclusive<u16>) -> io::Result<(TcpListener, u16)> {
    let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
    for port in ports {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                let port = listener.local_addr()?.port();
                return Ok((listener, port));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Answers requests, each connection in a thread of its own, for as long as the process lives.
pub(crate) fn serve(listener: &TcpListener, site: &Site) {
    std::thread::scope(|scope| {
        // A browser that goes away, before or in the middle of an answer, is none of our business.
        for stream in listener.incoming().flatten() {
            scope.spawn(move || answer(&stream, site).unwrap_or_default());
        }
    });
}

fn answer(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(HEAD_LIMIT));
    let mut request_line = String::new();
    reader.read_line(&mut request_line)?;
    read_past_headers(&mut reader)?;
    let mut words = request_line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match method {
        "GET" => respond(stream, site.answer(target), true),
        "HEAD" => respond(stream, site.answer(target), false),
        _ => respond_with_text(stream, "405 Method Not Allowed", "allow: GET, HEAD\r\n", true),
    }
}

fn read_past_headers(reader: &mut impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    Ok(())
}

fn respond(stream: &TcpStream, answer: Answer, with_body: bool) -> io::Result<()> {
    match answer {
        Answer::File(path) => match File::open(&path) {
            Ok(file) => respond_with_file(stream, file, media_type::of(&path), with_body),
            Err(_) => respond_with_text(stream, "404 Not Found", "", with_body),
        },
        Answer::Redirect(to) => respond_with_text(stream, "301 Moved Permanently", &format!("location: {to}\r\n"), with_body),
        Answer::NotFound => respond_with_text(stream, "404 Not Found", "", with_body),
        Answer::BadRequest => respond_with_text(stream, "400 Bad Request", "", with_body),
    }
}

fn respond_with_file(mut stream: &TcpStream, mut file: File, media_type: &str, with_body: bool) -> io::Result<()> {
    let length = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    if with_body {
        io::copy(&mut file, &mut stream)?;
    }
    stream.flush()
}

fn respond_with_text(mut stream: &TcpStream, status: &str, headers: &str, with_body: bool) -> io::Result<()> {
    let length = status.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}content-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    if with_body {
        stream.write_all(status.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::PathBuf;

    use super::{Site, listen, serve};

    /// Serves a folder with one page from a thread and answers the port.
    fn serve_folder(name: &str) -> u16 {
        let folder: PathBuf = std::env::temp_dir().join(format!("inglenook-xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("index.html"), "<p>here").unwrap();
        let (listener, port) = listen(0..=0).unwrap();
        std::thread::spawn(move || serve(&listener, &Site::new(folder, "/")));
        port
    }

    fn exchange(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_get_with_the_file_and_head_without() {
        let port = serve_folder("get");
        let answer = exchange(port, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n"), "{answer}");
        assert!(answer.ends_with("content-length: 7\r\nconnection: close\r\n\r\n<p>here"), "{answer}");
        let answer = exchange(port, "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert!(answer.ends_with("content-length: 7\r\nconnection: close\r\n\r\n"), "{answer}");
    }

    #[test]
    fn refuses_what_it_does_not_have_or_do() {
        let port = serve_folder("refuse");
        assert!(exchange(port, "GET /none HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(exchange(port, "GET /../none HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(exchange(port, "POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn takes_the_next_port_when_one_is_taken() {
        let (_first, taken) = listen(0..=0).unwrap();
        assert!(listen(taken..=taken).is_err());
        let (_second, port) = listen(taken..=taken.saturating_add(50)).unwrap();
        assert!(port > taken);
    }
}
