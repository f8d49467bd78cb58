//! Real sockets, with what a test makes of them: names that are not answered, addresses that are silent, datagrams that are
//! dropped or overheard, connections that swallow what is sent.

mod hanging;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};
use tokio::time::sleep;

/// What becomes of a look-up.
#[derive(Clone, Debug)]
pub enum LookUp {
    /// These addresses, after a while.
    After(Duration, Vec<SocketAddr>),
    /// None, for ever.
    Never,
}

type Resolver = dyn Fn(&str) -> LookUp + Send + Sync;
type Dialling = dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<()>> + Send + Sync;
type Wrapping = dyn Fn(Box<dyn ByteStream>) -> Box<dyn ByteStream> + Send + Sync;
type Sending = dyn Fn(usize, SocketAddr) -> bool + Send + Sync;
type Hearing = dyn Fn(&[u8]) + Send + Sync;

/// The network of the operating system, but for what a test changes of it. Clones share that.
#[derive(Clone, Default)]
pub struct TestNetwork {
    resolver: Option<Arc<Resolver>>,
    dialling: Option<Arc<Dialling>>,
    wrapping: Option<Arc<Wrapping>>,
    ear: Ear,
}

/// What becomes of datagrams.
#[derive(Clone, Default)]
struct Ear {
    sending: Option<Arc<Sending>>,
    hearing: Option<Arc<Hearing>>,
}

impl fmt::Debug for TestNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNetwork").finish_non_exhaustive()
    }
}

impl TestNetwork {
    /// Names, with their ports, are answered like this.
    #[must_use]
    pub fn resolving(mut self, resolver: impl Fn(&str) -> LookUp + Send + Sync + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Whoever is dialled, this comes first; its error is that of the connection.
    #[must_use]
    pub fn dialling<F>(mut self, first: impl Fn(SocketAddr) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        self.dialling = Some(Arc::new(move |to| Box::pin(first(to))));
        self
    }

    /// Only such addresses answer when they are dialled.
    #[must_use]
    pub fn reaching(self, answers: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.dialling(move |to| {
            let answers = answers(to);
            async move { if answers { Ok(()) } else { std::future::pending().await } }
        })
    }

    /// Every connection, whoever made it, is wrapped in this.
    #[must_use]
    pub fn wrapping(
        mut self,
        wrap: impl Fn(Box<dyn ByteStream>) -> Box<dyn ByteStream> + Send + Sync + 'static,
    ) -> Self {
        self.wrapping = Some(Arc::new(wrap));
        self
    }

    /// Only datagrams of so many bytes to such an address leave this node.
    #[must_use]
    pub fn sending(mut self, passes: impl Fn(usize, SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.ear.sending = Some(Arc::new(passes));
        self
    }

    /// Each datagram that comes is overheard.
    #[must_use]
    pub fn hearing(mut self, hear: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        self.ear.hearing = Some(Arc::new(hear));
        self
    }
}

fn wrapped(wrapping: Option<&Arc<Wrapping>>, stream: Box<dyn ByteStream>) -> Box<dyn ByteStream> {
    match wrapping {
        Some(wrap) => wrap(stream),
        None => stream,
    }
}

impl Network for TestNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            if let Some(dialling) = &self.dialling {
                dialling(to).await?;
            }
            Ok(wrapped(self.wrapping.as_ref(), TokioNetwork.connect(to).await?))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let real = TokioNetwork.listen(at).await?;
            Ok(Box::new(Wrapped { real, wrapping: self.wrapping.clone() }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        if self.ear.sending.is_none() && self.ear.hearing.is_none() {
            return TokioNetwork.datagrams(bind);
        }
        Box::pin(async move {
            let real = TokioNetwork.datagrams(bind).await?;
            Ok(Box::new(Heard { real, ear: self.ear.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let Some(resolver) = &self.resolver else { return TokioNetwork.resolve(host) };
        let answer = resolver(host);
        Box::pin(async move {
            match answer {
                LookUp::After(time, addrs) => {
                    sleep(time).await;
                    Ok(addrs)
                }
                LookUp::Never => std::future::pending().await,
            }
        })
    }
}

struct Wrapped {
    real: Box<dyn Listener>,
    wrapping: Option<Arc<Wrapping>>,
}

impl Listener for Wrapped {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.real.accept().await?;
            Ok((wrapped(self.wrapping.as_ref(), stream), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}

struct Heard {
    real: Box<dyn Datagrams>,
    ear: Ear,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.real.fmt(f)
    }
}

impl Datagrams for Heard {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        let passes = self.ear.sending.as_ref().is_none_or(|passes| passes(bytes.len(), to));
        if passes { self.real.send_to(bytes, to) } else { Box::pin(async { Ok(()) }) }
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (bytes, from) = self.real.recv_from(buffer).await?;
            if let Some(hear) = &self.ear.hearing {
                hear(&buffer[..bytes]);
            }
            Ok((bytes, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}
