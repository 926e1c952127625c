//! An ordinary homeserver and its certificate authority, as far as a gateway gets to see them.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{self, header},
    response::IntoResponse,
};
use ed25519_dalek::{Signer, SigningKey};
use inglenook_protocol::x_matrix::SignedParts;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as CertificateKey};
use ruma::{
    CanonicalJsonObject, ServerName, SigningKeyId,
    serde::Base64,
    signatures::{KeyPair, Signature, sign_json},
};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, rustls, server};

use crate::support::*;

/// Whom the test's relays trust.
pub(crate) struct Authority {
    issuer: Issuer<'static, CertificateKey>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = CertificateKey::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("ca.pem"), &params.self_signed(&key).unwrap().pem());
        Self { issuer: Issuer::new(params, key), folder }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Writes a certificate for these names, and its key.
    pub(crate) fn issue(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = CertificateKey::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = (self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"));
        write(&files.0, &certificate.pem());
        write(&files.1, &key.serialize_pem());
        files
    }

    /// A proxy with a certificate for these names, in front of a plain server.
    pub(crate) async fn proxy(&self, names: &[&str], to: SocketAddr) -> SocketAddr {
        let mut listener = self.listen(names).await;
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut encrypted, _) = axum::serve::Listener::accept(&mut listener).await;
                let mut plain = TcpStream::connect(to).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await });
            }
        });
        address
    }

    /// A server with a certificate for these names that begins an answer and never ends it, though it goes on.
    pub(crate) async fn dribble(&self, names: &[&str]) -> SocketAddr {
        let mut listener = self.listen(names).await;
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = axum::serve::Listener::accept(&mut listener).await;
                tokio::spawn(async move {
                    let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n".to_vec();
                    while stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
                        bytes = b" ".to_vec();
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                });
            }
        });
        address
    }

    async fn listen(&self, names: &[&str]) -> Encrypted {
        let (chain, key) = self.issue(names);
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![pem(&chain)], pem(&key)).unwrap();
        Encrypted(TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)))
    }

    /// Connects as one who trusts this authority and looks for that name.
    pub(crate) async fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<client::TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pem(&self.file())).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
    }
}

fn write(file: &Path, text: &str) {
    std::fs::File::create(file).unwrap().write_all(text.as_bytes()).unwrap();
}

fn pem<T: rustls::pki_types::pem::PemObject>(file: &Path) -> T {
    T::from_pem_file(file).unwrap()
}

/// A request that the server got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) uri: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// How it answers.
pub(crate) type Answer = Arc<dyn Fn(&Got) -> http::Response<Body> + Send + Sync>;

/// An ordinary homeserver.
pub(crate) struct Ordinary {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    key: Mutex<ServerKey>,
    valid_until: AtomicU64,
    got: Mutex<Vec<Got>>,
    answer: Answer,
}

/// A key that no name is made of.
#[derive(Clone)]
pub(crate) struct ServerKey {
    id: String,
    key: SigningKey,
}

impl KeyPair for ServerKey {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(SigningKeyId::parse(self.id.clone()).unwrap(), self.key.sign(message).to_bytes().to_vec())
    }
}

impl Ordinary {
    /// One with a certificate for these names, the first being its own; its answers are `{}`.
    pub(crate) async fn start(authority: &Authority, names: &[&str]) -> Self {
        Self::with(authority, names, |_| "{}".into_response()).await
    }

    pub(crate) async fn with(
        authority: &Authority,
        names: &[&str],
        answer: impl Fn(&Got) -> http::Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = authority.listen(names).await;
        let address = listener.0.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: names[0].to_owned(),
            key: Mutex::new(ServerKey { id: "ed25519:first".into(), key: SigningKey::from_bytes(&[99; 32]) }),
            valid_until: AtomicU64::new(START + 24 * 3_600_000),
            got: Mutex::default(),
            answer: Arc::new(answer),
        });
        let app = Router::new().fallback(serve).with_state(shared.clone());
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { address, shared }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it got and nobody has looked at yet.
    pub(crate) fn got(&self) -> Vec<Got> {
        std::mem::take(&mut self.shared.got.lock().unwrap())
    }

    /// Takes another key, and calls the first an old one.
    pub(crate) fn rotate(&self) {
        *self.shared.key.lock().unwrap() = ServerKey { id: "ed25519:second".into(), key: SigningKey::from_bytes(&[98; 32]) };
    }

    /// From now on its keys are valid until then.
    pub(crate) fn valid_until(&self, time: u64) {
        self.shared.valid_until.store(time, Ordering::SeqCst);
    }

    /// Its signature over a request.
    pub(crate) fn sign(&self, method: &str, uri: &str, destination: &ServerName, body: &[u8]) -> String {
        let content = (!body.is_empty()).then(|| serde_json::from_slice(body).unwrap());
        let parts = SignedParts { method, uri, origin: self.name(), destination: destination.as_str(), content: content.as_ref() };
        parts.sign(&*self.shared.key.lock().unwrap()).unwrap()
    }

    /// Asks one of a gateway's names, as it would over HTTPS.
    pub(crate) async fn ask(&self, gateway: &Host, node: &ServerName, method: &str, uri: &str, body: &[u8]) -> Reply {
        let header = self.sign(method, uri, node, body);
        gateway.http_at(node.as_str(), method, uri, &[("authorization", &header), ("content-type", "application/json")], body).await
    }
}

impl Shared {
    fn keys(&self) -> CanonicalJsonObject {
        let server_key = self.key.lock().unwrap();
        let key = Base64::<ruma::serde::base64::Standard, _>::new(server_key.key.verifying_key().to_bytes());
        let keys = json!({
            "server_name": self.name,
            "verify_keys": { server_key.id.as_str(): { "key": key } },
            "old_verify_keys": {},
            "valid_until_ts": self.valid_until.load(Ordering::SeqCst),
        });
        let mut keys: CanonicalJsonObject = serde_json::from_value(keys).unwrap();
        sign_json(&self.name, &*server_key, &mut keys).unwrap();
        keys
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: http::Request<Body>) -> http::Response<Body> {
    let (head, body) = request.into_parts();
    let got = Got {
        method: head.method.to_string(),
        host: head.headers[header::HOST].to_str().unwrap().to_owned(),
        uri: head.uri.to_string(),
        headers: head.headers,
        body: to_bytes(body, 200 << 20).await.unwrap().to_vec(),
    };
    shared.got.lock().unwrap().push(got.clone());
    match got.uri.as_str() {
        "/_matrix/key/v2/server" => serde_json::to_string(&shared.keys()).unwrap().into_response(),
        _ => (shared.answer)(&got),
    }
}

/// A listener that encrypts; who cannot agree with it is not served.
struct Encrypted(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Encrypted {
    type Io = server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
