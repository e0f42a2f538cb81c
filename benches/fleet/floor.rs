//! The floor: russh and nothing else. Logs in to N hosts, runs one script on each, and reads what it prints.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use russh::client::{self, Handler};
use russh::keys::{
    PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, load_public_key, load_secret_key,
};
use russh::{ChannelMsg, Disconnect};

use super::bed;

/// As many at once as muster has by default.
const PARALLEL: usize = 64;

struct Known(PublicKey);

impl Handler for Known {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(key.public_key().key_data() == self.0.key_data())
    }
}

/// `fleet floor N SCRIPT`.
pub fn run(arguments: &[String]) -> ExitCode {
    let hosts: usize = arguments[0].parse().expect("a number of hosts");
    let script: Arc<str> = std::fs::read_to_string(&arguments[1]).expect("a script").into();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let key = Arc::new(load_secret_key(bed::USER_KEY, None).expect("a key"));
        let known = load_public_key(bed::HOST_KEY_PUBLIC).expect("a key");
        let talks = stream::iter(0..hosts).map(|number| {
            let key = PrivateKeyWithHashAlg::new(key.clone(), None);
            let (known, script) = (known.clone(), script.clone());
            // A task each, as whoever wants both cores would do it.
            async move {
                tokio::spawn(talk(bed::address(number), key, known, script))
                    .await
                    .expect("no panic")
            }
        });
        talks
            .buffer_unordered(PARALLEL)
            .for_each(|heard| async move {
                let heard = heard.expect("a talk with a host");
                // A look also says how much it has said.
                let said = String::from_utf8_lossy(&heard);
                let last = said.lines().next_back().unwrap_or_default();
                assert!(last == "end" || last.starts_with("end "), "{said}");
            })
            .await;
    });
    ExitCode::SUCCESS
}

async fn talk(
    address: Ipv4Addr,
    key: PrivateKeyWithHashAlg,
    known: PublicKey,
    script: Arc<str>,
) -> Result<Vec<u8>, russh::Error> {
    let config = client::Config {
        nodelay: true,
        ..client::Config::default()
    };
    let mut handle = client::connect(Arc::new(config), (address, bed::PORT), Known(known)).await?;
    assert!(handle.authenticate_publickey("root", key).await?.success());
    let mut channel = handle.channel_open_session().await?;
    channel.exec(true, bed::COMMAND).await?;
    channel.data(script.as_bytes()).await?;
    channel.eof().await?;
    let mut heard = Vec::new();
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            heard.extend_from_slice(&data);
        }
    }
    handle.disconnect(Disconnect::ByApplication, "done", "en").await?;
    Ok(heard)
}
