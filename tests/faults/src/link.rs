//! A link of the kernel's own: a pair of interfaces, one of them in a network namespace, whose bandwidth `tc` can bound. What the
//! proxy does to bytes and connections in this process, the kernel does here to packets: it queues them, and drops them.
//!
//! The namespace has a name only while it is made; afterwards this process holds it by a file. So it is gone, and the interfaces with
//! it, when the process is, however that ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::engine::volume::done;

/// Where `ip netns` keeps the names of namespaces.
const NAMES: &str = "/run/netns";
/// The second half of the block for tests of networks (RFC 2544), in which every process has four addresses of its own.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([198, 19, 0, 0]);
const BLOCKS: u32 = 1 << 14;
/// A bound that nothing here comes near.
pub const WIDE: &str = "1gbit";
/// Bytes that a bounded end sends at once, and how long a packet waits in it before packets are dropped.
const BURST: &str = "16kb";
const LATENCY: &str = "100ms";

/// A link to a namespace; it is taken away when this is dropped. Needs root. A process can have one.
#[derive(Debug)]
pub struct Link {
    /// The interface on this side; the other end is `eth0`.
    interface: String,
    far: Ipv4Addr,
    namespace: File,
}

impl Link {
    /// Makes one that lets everything pass that comes.
    ///
    /// # Errors
    /// When there is no `ip` or `tc`, or this process may not.
    pub fn new() -> Result<Self> {
        done(Command::new("tc").arg("-V"))?;
        let name = format!("flt{}", std::process::id());
        done(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = File::open(Path::new(NAMES).join(&name)).context("the namespace has no name");
        let made = namespace.and_then(|namespace| {
            let block = FIRST_ADDRESS + std::process::id() % BLOCKS * 4;
            let [near, far] = [1, 2].map(|host| Ipv4Addr::from(block + host));
            let add = ["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name];
            done(Command::new("ip").args(add))?;
            // From here on it is taken away by being dropped.
            Ok((Self { interface: name.clone(), far, namespace }, near))
        });
        done(Command::new("ip").args(["netns", "delete", &name]))?;
        let (link, near) = made?;
        link.near("ip", &format!("address add {near}/30 dev {name}"))?;
        link.near("ip", &format!("link set {name} up"))?;
        link.far("ip", &format!("address add {}/30 dev eth0", link.far))?;
        link.far("ip", "link set eth0 up")?;
        link.bound(WIDE)?;
        Ok(link)
    }

    /// Lets so much pass a second in each direction, in the words of `tc`, such as `1mbit`.
    ///
    /// # Errors
    /// When the kernel has no token bucket filter.
    pub fn bound(&self, rate: &str) -> Result<()> {
        let arguments = |interface: &str| {
            format!("qdisc replace dev {interface} root tbf rate {rate} burst {BURST} latency {LATENCY}")
        };
        self.near("tc", &arguments(&self.interface))?;
        self.far("tc", &arguments("eth0"))
    }

    /// A socket that listens at the far end.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn listen(&self) -> Result<(TcpListener, SocketAddr)> {
        let (namespace, far) = (self.namespace.try_clone()?, self.far);
        // A thread of its own goes there; what it has bound stays there.
        let bound = std::thread::spawn(move || -> Result<TcpListener> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(TcpListener::bind((far, 0))?)
        });
        let listener = bound.join().map_err(|_| anyhow!("the thread of the namespace panicked"))??;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Bytes that this side has sent.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn sent(&self) -> Result<u64> {
        let path = Path::new("/sys/class/net").join(&self.interface).join("statistics/tx_bytes");
        Ok(std::fs::read_to_string(path)?.trim().parse()?)
    }

    fn near(&self, program: &str, arguments: &str) -> Result<()> {
        done(Command::new(program).args(arguments.split(' ')))
    }

    fn far(&self, program: &str, arguments: &str) -> Result<()> {
        let namespace = format!("--net=/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd());
        done(Command::new("nsenter").arg(namespace).arg(program).args(arguments.split(' ')))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A socket that is still open would keep the namespace, and the link with it.
        self.near("ip", &format!("link delete {}", self.interface)).ok();
    }
}
