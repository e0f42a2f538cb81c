//! What gates ask, from the host's own point of view.

use std::time::Duration;

use muster::model::gate::Check;
use muster::ports::{Said, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::bed::Bed;

async fn ask(bed: &Bed, check: Check) -> Said {
    bed.transport
        .ask(&bed.host, &check, Duration::from_secs(5))
        .await
        .unwrap()
}

fn http(port: u16, path: &str, contains: Option<&str>) -> Check {
    Check::Http {
        url: format!("http://127.0.0.1:{port}{path}"),
        status: 200,
        contains: contains.map(str::to_owned),
    }
}

/// Serves one page: it says which path and which host was asked for.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut buffer = vec![0; 4096];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let status = if request.starts_with("GET /good?x=1 ") {
            "200 OK"
        } else {
            "503 No"
        };
        let host = request
            .lines()
            .find(|line| line.to_lowercase().starts_with("host:"))
            .unwrap_or("no host");
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{host}",
            host.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn http_is_good_with_its_status_and_its_text() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(serve(listener));
    let good = ask(&bed, http(port, "/good?x=1", Some(&format!("127.0.0.1:{port}")))).await;
    assert!(good.good, "{good:?}");
    let wrong = ask(&bed, http(port, "/good?x=1", Some("elsewhere"))).await;
    assert_eq!(
        (wrong.good, wrong.what.as_str()),
        (false, "status 200, without `elsewhere`")
    );
    let bad = ask(&bed, http(port, "/bad", None)).await;
    assert_eq!((bad.good, bad.what.as_str()), (false, "status 503"));
    server.abort();
}

#[tokio::test]
async fn tcp_is_good_while_something_listens() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = || Check::Tcp {
        address: "127.0.0.1".to_owned(),
        port,
    };
    assert!(ask(&bed, check()).await.good);
    drop(listener);
    assert!(!ask(&bed, check()).await.good);
}

#[tokio::test]
async fn a_command_is_good_when_it_exits_0_and_its_last_line_is_told() {
    let bed = Bed::new();
    let said = ask(&bed, Check::Command("echo fine".to_owned())).await;
    assert_eq!((said.good, said.what.as_str()), (true, "status 0 fine"));
    let said = ask(&bed, Check::Command("echo one; echo two >&2; exit 3".to_owned())).await;
    assert_eq!((said.good, said.what.as_str()), (false, "status 3 two"));
}
