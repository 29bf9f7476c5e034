//! Selects the server of a command: the only one, the sentinels' master, or the one of a slot in a
//! cluster.

use std::collections::BTreeMap;

use super::connection::{Connection, Connector, Endpoint};
use super::fault::{Fault, code};
use super::resp::{Command, Reply};
use super::url::{Credentials, RedisUrl, ServerAddr, Topology};

/// How often a command follows a slot that moves.
const MAX_MOVES: usize = 5;
/// Maximum number of connections to the servers of a cluster.
const MAX_CONNECTIONS: usize = 256;

/// A range of slots, inclusive, and its master.
struct SlotRange {
    first: u16,
    last: u16,
    master: ServerAddr,
}

/// The servers of a URL.
pub(super) struct Servers {
    url: RedisUrl,
    connector: Connector,
    connections: BTreeMap<Endpoint, Connection>,
    /// The server of all commands; `None` for a cluster, or if not known yet.
    master: Option<Endpoint>,
    /// The slots of a cluster; empty if not known yet.
    slots: Vec<SlotRange>,
    /// Incremented with each new connection.
    generation: u64,
}

impl Servers {
    pub(super) fn new(url: RedisUrl) -> Self {
        Self {
            url,
            connector: Connector::default(),
            connections: BTreeMap::new(),
            master: None,
            slots: Vec::new(),
            generation: 0,
        }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.url.topology, Topology::Cluster(_))
    }

    /// Returns a number that changes with each new connection. A new server may lack earlier
    /// writes.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Connects to and returns the servers that have data.
    pub(super) fn masters(&mut self) -> Result<Vec<Endpoint>, Fault> {
        self.discover()?;
        let mut masters: Vec<Endpoint> = match &self.master {
            Some(master) => vec![master.clone()],
            None => {
                let slots = self.slots.iter();
                slots.map(|it| Endpoint::Tcp(it.master.clone())).collect()
            }
        };
        masters.sort();
        masters.dedup();
        for master in &masters {
            self.connect(master)?;
        }
        Ok(masters)
    }

    /// Runs commands on the servers of their keys; those of one server in order.
    ///
    /// # Errors
    /// The first error that is not about a key's type. Other commands may have been executed.
    pub(super) fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Fault> {
        self.discover()?;
        let result = match self.master.clone() {
            Some(master) => self.run_at(&master, commands),
            None => self.run_in_cluster(commands),
        };
        self.check_replies(result)
    }

    /// Runs commands on one server.
    ///
    /// # Errors
    /// As [`Servers::run`].
    pub(super) fn run_on(
        &mut self,
        endpoint: &Endpoint,
        commands: &[Command],
    ) -> Result<Vec<Reply>, Fault> {
        let result = self.run_at(endpoint, commands);
        self.check_replies(result)
    }

    fn check_replies(&mut self, result: Result<Vec<Reply>, Fault>) -> Result<Vec<Reply>, Fault> {
        let result = result.and_then(|replies| {
            let refused = replies.iter().find_map(|reply| match reply {
                Reply::Error(text) if code(text) != "WRONGTYPE" => Some(text.clone()),
                _ => None,
            });
            match refused {
                Some(text) => Err(Fault::Refused(text)),
                None => Ok(replies),
            }
        });
        if result.as_ref().is_err_and(Fault::ends_connections) {
            self.reset();
        }
        result
    }

    /// Forgets the connections and the topology.
    fn reset(&mut self) {
        self.connections.clear();
        self.master = None;
        self.slots.clear();
    }

    fn run_at<C: AsRef<Command>>(
        &mut self,
        endpoint: &Endpoint,
        commands: &[C],
    ) -> Result<Vec<Reply>, Fault> {
        self.connect(endpoint)?;
        match self.connections.get_mut(endpoint) {
            Some(connection) => connection.run(commands),
            None => Err(Fault::Lost(format!("{endpoint}: not connected"))),
        }
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Fault> {
        if self.connections.contains_key(endpoint) {
            return Ok(());
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.clear();
        }
        let RedisUrl {
            tls,
            credentials,
            database,
            ..
        } = &self.url;
        let connection = self
            .connector
            .connect(endpoint, *tls, credentials, *database)?;
        self.connections.insert(endpoint.clone(), connection);
        self.generation += 1;
        Ok(())
    }

    /// Determines the server or servers with the data, unless known.
    fn discover(&mut self) -> Result<(), Fault> {
        if self.master.is_some() || !self.slots.is_empty() {
            return Ok(());
        }
        match self.url.topology.clone() {
            Topology::Single(server) => self.master = Some(Endpoint::Tcp(server)),
            Topology::Unix(path) => self.master = Some(Endpoint::Unix(path)),
            Topology::Sentinel { sentinels, master } => {
                self.master = Some(self.ask_sentinels(&sentinels, &master)?);
            }
            Topology::Cluster(seeds) => self.slots = self.ask_cluster(&seeds)?,
        }
        Ok(())
    }

    /// Returns the master that the first answering sentinel names, after checking that it is one.
    fn ask_sentinels(&mut self, sentinels: &[ServerAddr], name: &str) -> Result<Endpoint, Fault> {
        let credentials = Credentials {
            user: None,
            password: self.url.sentinel_password.clone(),
        };
        let question = Command::new(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
        let mut failed = Fault::Lost("no sentinel is named".into());
        for sentinel in sentinels {
            let endpoint = Endpoint::Tcp(sentinel.clone());
            let asked = self
                .connector
                .connect(&endpoint, self.url.tls, &credentials, 0)
                .and_then(|mut connection| connection.run(&[&question]));
            let reply = match asked {
                Ok(mut replies) => replies.pop(),
                Err(fault) => {
                    failed = fault;
                    continue;
                }
            };
            let Some(master) = reply.as_ref().and_then(server_of) else {
                failed = Fault::Lost(format!("the sentinel {sentinel} knows no master {name:?}"));
                continue;
            };
            let master = Endpoint::Tcp(master);
            match self.run_at(&master, &[Command::new(&[b"ROLE"])]) {
                Ok(role) if is_master(&role) => return Ok(master),
                Ok(_) => {
                    failed = Fault::Refused(format!("READONLY {master} is not the master yet"));
                }
                Err(fault) => failed = fault,
            }
            self.connections.clear();
        }
        Err(failed)
    }

    /// Returns the slot ranges as the first answering member knows them.
    fn ask_cluster(&mut self, seeds: &[ServerAddr]) -> Result<Vec<SlotRange>, Fault> {
        let question = Command::new(&[b"CLUSTER", b"SLOTS"]);
        let mut failed = Fault::Lost("no server is named".into());
        for seed in seeds {
            let endpoint = Endpoint::Tcp(seed.clone());
            let reply = match self.run_at(&endpoint, &[&question]) {
                Ok(mut replies) => replies.pop(),
                Err(fault) => {
                    self.connections.remove(&endpoint);
                    failed = fault;
                    continue;
                }
            };
            match reply {
                Some(Reply::Error(text)) => failed = Fault::Refused(text),
                Some(Reply::List(ranges)) if !ranges.is_empty() => {
                    return Ok(ranges.iter().filter_map(|it| range_of(it, seed)).collect());
                }
                _ => failed = Fault::Refused("CLUSTERDOWN no server has any slots".into()),
            }
        }
        Err(failed)
    }

    fn master_of(&self, slot: u16) -> Result<Endpoint, Fault> {
        let range = self
            .slots
            .iter()
            .find(|it| (it.first..=it.last).contains(&slot));
        range
            .map(|it| Endpoint::Tcp(it.master.clone()))
            .ok_or_else(|| Fault::Refused(format!("CLUSTERDOWN no server has slot {slot}")))
    }

    fn run_in_cluster(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Fault> {
        let mut replies: Vec<Option<Reply>> = vec![None; commands.len()];
        let mut endpoints = Vec::with_capacity(commands.len());
        for command in commands {
            endpoints.push(self.master_of(command.slot.unwrap_or(0))?);
        }
        let mut left: Vec<usize> = (0..commands.len()).collect();
        for _ in 0..MAX_MOVES {
            let mut by_place: BTreeMap<Endpoint, Vec<usize>> = BTreeMap::new();
            for index in left.drain(..) {
                by_place
                    .entry(endpoints[index].clone())
                    .or_default()
                    .push(index);
            }
            for (endpoint, indices) in by_place {
                let these: Vec<&Command> = indices.iter().map(|it| &commands[*it]).collect();
                for (index, reply) in indices.into_iter().zip(self.run_at(&endpoint, &these)?) {
                    match moved(&reply) {
                        Some((false, to)) => {
                            endpoints[index] = Endpoint::Tcp(to);
                            left.push(index);
                            // Fetch the slots again before the next commands.
                            self.slots.clear();
                        }
                        Some((true, to)) => {
                            let asking = Command::new(&[b"ASKING"]);
                            let both = [&asking, &commands[index]];
                            replies[index] = self.run_at(&Endpoint::Tcp(to), &both)?.pop();
                        }
                        None => replies[index] = Some(reply),
                    }
                }
            }
            if left.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
        }
        Err(Fault::Refused(
            "TRYAGAIN slots move faster than they can be followed".into(),
        ))
    }
}

/// Returns where a slot has moved to, and whether only for this command (`ASK`).
fn moved(reply: &Reply) -> Option<(bool, ServerAddr)> {
    let Reply::Error(text) = reply else {
        return None;
    };
    let mut words = text.split(' ');
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    let (host, port) = (host.to_owned(), port.parse().ok()?);
    (!host.is_empty()).then_some((ask, ServerAddr { host, port }))
}

fn server_of(reply: &Reply) -> Option<ServerAddr> {
    let [host, port, ..] = reply.list()? else {
        return None;
    };
    Some(ServerAddr {
        host: host.text()?.to_owned(),
        port: match port {
            Reply::Number(port) => u16::try_from(*port).ok()?,
            port => port.text()?.parse().ok()?,
        },
    })
}

fn range_of(reply: &Reply, asked: &ServerAddr) -> Option<SlotRange> {
    let [Reply::Number(first), Reply::Number(last), master, ..] = reply.list()? else {
        return None;
    };
    let mut master = server_of(master)?;
    if master.host.is_empty() {
        // The server does not know its own address.
        master.host.clone_from(&asked.host);
    }
    Some(SlotRange {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        master,
    })
}

fn is_master(replies: &[Reply]) -> bool {
    let role = replies.first().and_then(Reply::list);
    role.and_then(|role| role.first()?.text()) == Some("master")
}
