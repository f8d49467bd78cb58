//! What either end of a connection does when it is told to, and what it says of what happens to it: the same code in both worlds,
//! behind the library's seam.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use sessionmesh::network::{ByteStream, Listener, Network};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::UnboundedReceiver;

/// Where the listener listens.
pub(crate) const PORT: u16 = 7_400;

/// What an end is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Accept connections.
    Listen,
    /// Open a connection.
    Dial(SocketAddr),
    /// Read from the connection from now on. Until then what arrives stays in the system.
    Read,
    /// Write this.
    Write(String),
    /// Close the connection.
    Close,
}

impl Order {
    /// As a line for another process.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Listen => "listen".to_owned(),
            Self::Dial(to) => format!("dial {to}"),
            Self::Read => "read".to_owned(),
            Self::Write(text) => format!("write {text}"),
            Self::Close => "close".to_owned(),
        }
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "listen" => Ok(Self::Listen),
            "dial" => rest.parse().map(Self::Dial).map_err(|error| format!("{line}: {error}")),
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write(rest.to_owned())),
            "close" => Ok(Self::Close),
            _ => Err(format!("no such order: {line}")),
        }
    }
}

/// Does what it is told until nobody can tell it anything more.
pub(crate) async fn play(network: Arc<dyn Network>, mut orders: UnboundedReceiver<Order>, tell: impl Fn(String)) {
    let mut listener: Option<Box<dyn Listener>> = None;
    let mut dialling = None;
    let mut stream: Option<Box<dyn ByteStream>> = None;
    let mut reading = false;
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return,
                Some(Order::Listen) => {
                    let at = (Ipv4Addr::UNSPECIFIED, PORT).into();
                    listener = Some(network.listen(at).await.expect("nobody else listens here"));
                }
                Some(Order::Dial(to)) => dialling = Some(network.connect(to)),
                Some(Order::Read) => reading = true,
                Some(Order::Write(text)) => {
                    let written = stream.as_mut().expect("a connection").write_all(text.as_bytes()).await;
                    tell(written.map_or_else(|error| format!("write: {}", error.kind()), |()| "wrote".to_owned()));
                }
                Some(Order::Close) => stream = None,
            },
            accepted = accept(listener.as_deref()) => {
                stream = Some(accepted);
                tell("accepted".to_owned());
            }
            dialled = async { match &mut dialling { Some(dialling) => dialling.await, None => pending().await } } => {
                dialling = None;
                match dialled {
                    Ok(dialled) => {
                        stream = Some(dialled);
                        tell("connected".to_owned());
                    }
                    Err(error) => tell(format!("dial: {}", error.kind())),
                }
            }
            read = read(stream.as_deref_mut().filter(|_| reading)) => match read {
                Ok(text) if text.is_empty() => {
                    tell("end".to_owned());
                    reading = false;
                }
                Ok(text) => tell(format!("read {text}")),
                Err(error) => {
                    tell(format!("read: {}", error.kind()));
                    reading = false;
                }
            },
        }
    }
}

async fn accept(listener: Option<&dyn Listener>) -> Box<dyn ByteStream> {
    match listener {
        Some(listener) => listener.accept().await.expect("it can accept").0,
        None => pending().await,
    }
}

async fn read(stream: Option<&mut (dyn ByteStream + 'static)>) -> io::Result<String> {
    let Some(stream) = stream else { return pending().await };
    let mut bytes = [0; 1_000];
    let length = stream.read(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}
