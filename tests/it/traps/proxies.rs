//! Proxies by SOCKS5 (RFC 1928, RFC 1929): a small one in process, and what reaches the gateway through it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use huopan::base::Kind;
use huopan::sim::{Gateway, Sim};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::ask::{Trap, sim};
use crate::support::shop_lines;

/// Who may pass: anybody, or whoever has this name and password.
type Login = Option<(&'static str, &'static str)>;

/// A proxy in process. Whatever it is asked to connect to, it connects to the gateway.
pub(crate) struct Socks {
    pub(crate) address: SocketAddr,
    /// Where it was asked to connect to, as it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    async fn start(gateway: SocketAddr, login: Login) -> Self {
        Self::start_when(gateway, login, 1).await
    }

    /// Lets nobody through before so many have come.
    pub(crate) async fn when_all_have_come(gateway: SocketAddr, callers: usize) -> Self {
        Self::start_when(gateway, None, callers).await
    }

    async fn start_when(gateway: SocketAddr, login: Login, callers: usize) -> Self {
        let all = watch::Sender::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
        let seen: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, all) = (Arc::clone(&seen), all.clone());
                tokio::spawn(async move {
                    all.send_modify(|come| *come += 1);
                    all.subscribe().wait_for(|come| *come >= callers).await.unwrap();
                    pass(stream, gateway, login, &seen).await
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.dedup();
        asked
    }
}

/// Takes one connection to its end; `None`: the caller went away, or may not pass.
async fn pass(mut stream: TcpStream, gateway: SocketAddr, login: Login, seen: &Mutex<Vec<String>>) -> Option<()> {
    let [version, methods] = take(&mut stream).await?;
    assert_eq!(version, 5);
    let methods = text(&mut stream, methods).await?;
    let method = if login.is_some() { 2 } else { 0 };
    let offered = methods.contains(&method);
    stream.write_all(&[5, if offered { method } else { 0xff }]).await.ok()?;
    if !offered {
        return None;
    }
    if let Some((name, password)) = login {
        let [_, length] = take(&mut stream).await?;
        let given_name = text(&mut stream, length).await?;
        let [length] = take(&mut stream).await?;
        let given = text(&mut stream, length).await?;
        let is_right = (&*given_name, &*given) == (name.as_bytes(), password.as_bytes());
        stream.write_all(&[1, u8::from(!is_right)]).await.ok()?;
        if !is_right {
            return None;
        }
    }
    let [_, command, _, kind] = take(&mut stream).await?;
    assert_eq!(command, 1, "connect");
    let host = match kind {
        1 => std::net::Ipv4Addr::from(take::<4>(&mut stream).await?).to_string(),
        3 => {
            let [length] = take(&mut stream).await?;
            String::from_utf8(text(&mut stream, length).await?).ok()?
        }
        _ => return None,
    };
    let port = u16::from_be_bytes(take(&mut stream).await?);
    seen.lock().unwrap().push(format!("{host}:{port}"));
    let mut server = TcpStream::connect(gateway).await.ok()?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok()?;
    Some(())
}

async fn take<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn text(stream: &mut TcpStream, length: u8) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

/// A shop of portals at a gateway that only the proxy knows by this address.
fn trap(sim: &Sim, address: &str) -> Trap {
    let path = sim.url(Gateway::Portals).replace(&sim.addr().to_string(), address);
    Trap::at(&path, "portals").lines(&shop_lines(&sim.world(Gateway::Portals)))
}

#[tokio::test]
async fn a_shop_is_fetched_through_a_socks_proxy() {
    let sim = sim().await;
    let socks = Socks::start(sim.addr(), None).await;
    // An address of the block that is nobody's (RFC 5737).
    let trap = trap(&sim, "192.0.2.7:81").through(&format!("socks5://{}", socks.address));
    assert_eq!(trap.ask().await.incomplete(), None);
    assert_eq!(socks.asked(), ["192.0.2.7:81"]);
}

#[tokio::test]
async fn a_socks_proxy_may_look_names_up_and_ask_for_a_password() {
    let sim = sim().await;
    let socks = Socks::start(sim.addr(), Some(("some one", "p@ss:word"))).await;
    let proxy = format!("socks5h://some%20one:p%40ss%3Aword@{}", socks.address);
    let trap = trap(&sim, "gateway.invalid:81").through(&proxy);
    assert_eq!(trap.ask().await.incomplete(), None);
    assert_eq!(socks.asked(), ["gateway.invalid:81"], "no name is looked up here");
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_no_way_out_and_its_password_is_not_said() {
    let sim = sim().await;
    let socks = Socks::start(sim.addr(), Some(("somebody", "hunter2hunter2"))).await;
    for login in ["", "somebody:hunter3hunter3@"] {
        let trap = trap(&sim, "127.0.0.1:81").through(&format!("socks5://{login}{}", socks.address));
        let asked = trap.ask().await;
        let said = asked.failed(Kind::Unavailable);
        assert!(said.contains("cannot connect"), "{said}");
        let landed = asked.attempts.iter().filter_map(|attempt| attempt.record.transport_error.as_deref());
        assert!(landed.chain([&*said]).all(|said| !said.contains("hunter3") && !said.contains("somebody")), "{said}");
    }
    assert_eq!((socks.asked(), sim.stats().calls), (vec![], 0));
}

#[tokio::test]
async fn an_account_whose_proxy_is_dead_leaves_its_calls_to_the_next_one_and_is_named() {
    let sim = sim().await;
    // A port that was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let account = |name: &str, key: &str, proxy: &str| {
        format!(
            "[[accounts]]\nname = \"{name}\"\n{proxy}licence = \"paid\"\n\
             credentials = {{ app_key = \"{key}\", app_secret = \"env:SECRET\" }}\n"
        )
    };
    let accounts = account("dead", "sim-app", "proxy = \"env:PROXY\"\n") + &account("alive", "sim-paid", "");
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shop_lines(&sim.world(Gateway::Portals))).accounts(&accounts);
    let asked = trap.with_proxy(&format!("http://{dead}")).ask().await;
    assert_eq!(asked.incomplete(), None);
    let failed: Vec<_> = asked.attempts.iter().filter(|attempt| attempt.record.account == "dead").collect();
    assert!((1..=8).contains(&failed.len()), "{} calls through the dead proxy", failed.len());
    let through = format!("through the account's proxy `{dead}`");
    assert!(failed.iter().all(|attempt| attempt.record.transport_error.as_ref().unwrap().contains(&through)));
}
