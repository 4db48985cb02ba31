//! A network link that can be cut, slowed and readdressed: a UDP proxy on loopback.
//!
//! Each client has a socket of its own towards the server, so that the server tells the clients apart.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::workload::SplitMix64;

/// Larger than any datagram of QUIC.
const MAX_DATAGRAM: usize = 65_536;
/// Datagrams that are late, both ways together: 5 MiB of them. More are lost, as on any link.
const MAX_LATE: usize = 4_096;
/// Clients of a link, those of processes that have died included. Then all are forgotten, as by a router.
const MAX_CLIENTS: usize = 256;

/// What happens to datagrams now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    pub cut: bool,
    /// Each way.
    pub delay: Duration,
    /// Of 100.
    pub loss_percent: u64,
    /// A change forgets all clients: they have new addresses from then on.
    pub addresses: u64,
}

/// What the link did, both ways together.
#[derive(Debug, Default)]
pub struct Counters {
    pub passed: AtomicU64,
    /// Because of the weather, or because too much was late.
    pub lost: AtomicU64,
}

/// A running link; it ends with this value.
#[derive(Debug)]
pub struct Link {
    /// Where clients reach the server through it.
    pub address: SocketAddr,
    pub weather: watch::Sender<Weather>,
    pub counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Opens a link to a server; the seed decides which datagrams of a lossy link are lost.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn open(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = front.local_addr()?;
        let (weather, watched) = watch::channel(Weather::default());
        let counters = Arc::new(Counters::default());
        let way = Way {
            weather: watched,
            counters: Arc::clone(&counters),
            late: Arc::new(Semaphore::new(MAX_LATE)),
            random: SplitMix64(seed),
        };
        let task = tokio::spawn(carry(front, server, way));
        Ok(Self {
            address,
            weather,
            counters,
            task,
        })
    }

    /// Changes the weather.
    pub fn set(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }
}

/// One direction.
#[derive(Debug, Clone)]
struct Way {
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
    late: Arc<Semaphore>,
    random: SplitMix64,
}

impl Way {
    /// Sends a datagram as the weather lets it; to the address, or to where the socket is connected.
    async fn send(&mut self, socket: &Arc<UdpSocket>, to: Option<SocketAddr>, datagram: &[u8]) {
        let weather = *self.weather.borrow();
        if weather.cut || self.random.below(100) < weather.loss_percent {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        } else if weather.delay.is_zero() {
            self.count(pass(socket, to, datagram).await);
        } else if let Ok(permit) = Arc::clone(&self.late).try_acquire_owned() {
            let (mut way, socket, datagram) = (self.clone(), Arc::clone(socket), datagram.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(weather.delay).await;
                way.count(pass(&socket, to, &datagram).await);
                drop(permit);
            });
        } else {
            self.count(false);
        }
    }

    fn count(&mut self, passed: bool) {
        let counter = if passed {
            &self.counters.passed
        } else {
            &self.counters.lost
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that is not there loses the datagram.
async fn pass(socket: &UdpSocket, to: Option<SocketAddr>, datagram: &[u8]) -> bool {
    match to {
        Some(to) => socket.send_to(datagram, to).await.is_ok(),
        None => socket.send(datagram).await.is_ok(),
    }
}

async fn carry(front: Arc<UdpSocket>, server: SocketAddr, mut way: Way) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    // ends the way back of every client with it
    let mut back = JoinSet::new();
    let mut addresses = way.weather.borrow().addresses;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // an error here tells of an earlier datagram that met nobody
        let Ok((len, client)) = front.recv_from(&mut buffer).await else {
            continue;
        };
        let now = way.weather.borrow().addresses;
        if now != addresses || clients.len() >= MAX_CLIENTS {
            addresses = now;
            clients.clear();
            back = JoinSet::new();
        }
        let socket = match clients.get(&client) {
            Some(socket) => Arc::clone(socket),
            None => match connect(server).await {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    clients.insert(client, Arc::clone(&socket));
                    back.spawn(carry_back(
                        Arc::clone(&socket),
                        Arc::clone(&front),
                        client,
                        way.clone(),
                    ));
                    socket
                }
                Err(error) => {
                    tracing::error!(%error, "link has no socket for another client");
                    way.count(false);
                    continue;
                }
            },
        };
        way.send(&socket, None, &buffer[..len]).await;
    }
}

async fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

async fn carry_back(socket: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr, mut way: Way) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // a server that is being started again refuses what comes meanwhile
        if let Ok(len) = socket.recv(&mut buffer).await {
            way.send(&front, Some(client), &buffer[..len]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A server, a link to it, and a client of the link.
    async fn pair() -> (UdpSocket, Link, UdpSocket) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("server");
        let link = Link::open(server.local_addr().expect("address"), 1)
            .await
            .expect("link");
        let client = connect(link.address).await.expect("client");
        (server, link, client)
    }

    async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 64];
        let (len, from) = timeout(SOON, socket.recv_from(&mut buffer))
            .await
            .expect("in time")
            .expect("a datagram");
        (buffer[..len].to_vec(), from)
    }

    #[tokio::test]
    async fn datagrams_pass_both_ways_and_a_cut_stops_them_until_it_ends() {
        let (server, link, client) = pair().await;
        client.send(b"one").await.expect("send");
        let (datagram, from) = receive(&server).await;
        assert_eq!(datagram, b"one");
        server.send_to(b"answer", from).await.expect("send");
        assert_eq!(receive(&client).await.0, b"answer");

        link.set(|weather| weather.cut = true);
        client.send(b"two").await.expect("send");
        let lost = || link.counters.lost.load(Ordering::Relaxed);
        timeout(SOON, async {
            while lost() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it is lost");
        link.set(|weather| weather.cut = false);
        client.send(b"three").await.expect("send");
        assert_eq!(
            receive(&server).await.0,
            b"three",
            "and the second one never comes"
        );
    }

    #[tokio::test]
    async fn a_client_s_address_changes_when_it_is_told_to() {
        let (server, link, client) = pair().await;
        client.send(b"one").await.expect("send");
        let (_, before) = receive(&server).await;
        client.send(b"two").await.expect("send");
        assert_eq!(receive(&server).await.1, before, "it is kept");
        link.set(|weather| weather.addresses += 1);
        client.send(b"three").await.expect("send");
        let (datagram, after) = receive(&server).await;
        assert_eq!(datagram, b"three");
        assert_ne!(after, before);
        server.send_to(b"answer", after).await.expect("send");
        assert_eq!(receive(&client).await.0, b"answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_is_late() {
        let (server, link, client) = pair().await;
        link.set(|weather| weather.delay = Duration::from_secs(3));
        let sent = tokio::time::Instant::now();
        client.send(b"one").await.expect("send");
        let mut buffer = [0; 64];
        server.recv_from(&mut buffer).await.expect("a datagram");
        assert!(sent.elapsed() >= Duration::from_secs(3));
    }
}
