//! Web servers of one test each: every request is answered in turn, said back to whoever asked, and kept.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Head and body of each request that came.
pub type Heard = Vec<(String, String)>;

/// Answers one connection after the other with these statuses.
pub fn http(statuses: &'static [u16]) -> (u16, JoinHandle<Heard>) {
    serve(statuses, answer)
}

/// Does so over TLS, as `localhost`. Who does not trust the authority goes without a word.
pub fn https(authority: &Authority, statuses: &'static [u16]) -> (u16, JoinHandle<Heard>) {
    let config = authority.server();
    serve(statuses, move |stream, status| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        answer(StreamOwned::new(connection, stream), status)
    })
}

fn serve(
    statuses: &'static [u16],
    answer: impl Fn(std::net::TcpStream, u16) -> Option<(String, String)> + Send + 'static,
) -> (u16, JoinHandle<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let answered = statuses
            .iter()
            .filter_map(|status| answer(listener.accept().unwrap().0, *status));
        answered.collect()
    });
    (port, served)
}

/// Reads a request and says its head back. Nothing comes of a connection that brings none.
fn answer(stream: impl Read + Write, status: u16) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let said = format!("say \u{1b}[2J\n{head}");
    let length = said.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}"
    )
    .unwrap();
    reader.get_mut().flush().unwrap();
    Some((head, String::from_utf8(body).unwrap()))
}

/// An authority that nobody else knows, with a certificate for `localhost`.
pub struct Authority(tempfile::TempDir);

impl Authority {
    pub fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        let folder = authority.0.path();
        std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for line in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
            format!("req {key} -keyout key.pem -out request.pem -subj /CN=localhost"),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out certificate.pem"
                .to_owned(),
        ] {
            let mut openssl = Command::new("openssl");
            let ran = openssl.args(line.split(' ')).current_dir(folder).output();
            let ran = ran.expect("openssl is installed");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        }
        authority
    }

    /// Returns the file by which others know it.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    fn server(&self) -> Arc<ServerConfig> {
        let path = |name: &str| -> PathBuf { Path::join(self.0.path(), name) };
        let chain = vec![CertificateDer::from_pem_file(path("certificate.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(path("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }
}
