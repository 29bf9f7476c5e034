//! Which server a command goes to: the only one, the sentinels' master, or a slot's in a cluster.

use std::collections::BTreeMap;

use super::connection::{Connection, Connector, Place};
use super::fault::{Fault, code};
use super::resp::{Command, Reply};
use super::url::{Credentials, RedisUrl, ServerAddr, Topology};

/// Times that a command follows a slot that moves.
const MOST_MOVES: usize = 5;
/// Connections to the servers of a cluster.
const MOST_CONNECTIONS: usize = 256;

/// A range of slots, first and last, and who has it.
struct SlotRange {
    first: u16,
    last: u16,
    master: ServerAddr,
}

/// The servers behind a URL.
pub(super) struct Servers {
    url: RedisUrl,
    connector: Connector,
    connections: BTreeMap<Place, Connection>,
    /// Where everything goes, unless it is a cluster.
    master: Option<Place>,
    /// Of a cluster.
    slots: Vec<SlotRange>,
    /// Grows with each new connection.
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

    /// Changes when a connection was made: what was written before may be gone.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The servers that have data, connected.
    pub(super) fn masters(&mut self) -> Result<Vec<Place>, Fault> {
        self.find()?;
        let mut masters: Vec<Place> = match &self.master {
            Some(master) => vec![master.clone()],
            None => {
                let slots = self.slots.iter();
                slots.map(|it| Place::Tcp(it.master.clone())).collect()
            }
        };
        masters.sort();
        masters.dedup();
        for master in &masters {
            self.connect(master)?;
        }
        Ok(masters)
    }

    /// Runs commands where their keys belong, each in its turn among those of one server.
    ///
    /// # Errors
    /// The first error that is not about a key's type. Others may have been carried out.
    pub(super) fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Fault> {
        self.find()?;
        let result = match self.master.clone() {
            Some(master) => self.on(&master, commands),
            None => self.run_in_cluster(commands),
        };
        self.judged(result)
    }

    /// Runs commands on one server.
    ///
    /// # Errors
    /// As [`Servers::run`].
    pub(super) fn run_on(
        &mut self,
        place: &Place,
        commands: &[Command],
    ) -> Result<Vec<Reply>, Fault> {
        let result = self.on(place, commands);
        self.judged(result)
    }

    fn judged(&mut self, result: Result<Vec<Reply>, Fault>) -> Result<Vec<Reply>, Fault> {
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

    /// Forgets everything but the URL.
    fn reset(&mut self) {
        self.connections.clear();
        self.master = None;
        self.slots.clear();
    }

    fn on<C: AsRef<Command>>(
        &mut self,
        place: &Place,
        commands: &[C],
    ) -> Result<Vec<Reply>, Fault> {
        self.connect(place)?;
        match self.connections.get_mut(place) {
            Some(connection) => connection.run(commands),
            None => Err(Fault::Lost(format!("{place}: not connected"))),
        }
    }

    fn connect(&mut self, place: &Place) -> Result<(), Fault> {
        if self.connections.contains_key(place) {
            return Ok(());
        }
        if self.connections.len() >= MOST_CONNECTIONS {
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
            .connect(place, *tls, credentials, *database)?;
        self.connections.insert(place.clone(), connection);
        self.generation += 1;
        Ok(())
    }

    /// Finds out who has the data, if that is not known.
    fn find(&mut self) -> Result<(), Fault> {
        if self.master.is_some() || !self.slots.is_empty() {
            return Ok(());
        }
        match self.url.topology.clone() {
            Topology::Single(server) => self.master = Some(Place::Tcp(server)),
            Topology::Unix(path) => self.master = Some(Place::Unix(path)),
            Topology::Sentinel { sentinels, master } => {
                self.master = Some(self.ask_sentinels(&sentinels, &master)?);
            }
            Topology::Cluster(seeds) => self.slots = self.ask_cluster(&seeds)?,
        }
        Ok(())
    }

    /// The master as the first sentinel that answers knows it, if it is one indeed.
    fn ask_sentinels(&mut self, sentinels: &[ServerAddr], name: &str) -> Result<Place, Fault> {
        let credentials = Credentials {
            user: None,
            password: self.url.sentinel_password.clone(),
        };
        let question = Command::new(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
        let mut failed = Fault::Lost("no sentinel is named".into());
        for sentinel in sentinels {
            let place = Place::Tcp(sentinel.clone());
            let asked = self
                .connector
                .connect(&place, self.url.tls, &credentials, 0)
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
            let master = Place::Tcp(master);
            match self.on(&master, &[Command::new(&[b"ROLE"])]) {
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

    /// Who has which slots, as the first member that answers knows it.
    fn ask_cluster(&mut self, seeds: &[ServerAddr]) -> Result<Vec<SlotRange>, Fault> {
        let question = Command::new(&[b"CLUSTER", b"SLOTS"]);
        let mut failed = Fault::Lost("no server is named".into());
        for seed in seeds {
            let place = Place::Tcp(seed.clone());
            let reply = match self.on(&place, &[&question]) {
                Ok(mut replies) => replies.pop(),
                Err(fault) => {
                    self.connections.remove(&place);
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

    fn master_of(&self, slot: u16) -> Result<Place, Fault> {
        let range = self
            .slots
            .iter()
            .find(|it| (it.first..=it.last).contains(&slot));
        range
            .map(|it| Place::Tcp(it.master.clone()))
            .ok_or_else(|| Fault::Refused(format!("CLUSTERDOWN nobody has slot {slot}")))
    }

    fn run_in_cluster(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Fault> {
        let mut replies: Vec<Option<Reply>> = vec![None; commands.len()];
        let mut places = Vec::with_capacity(commands.len());
        for command in commands {
            places.push(self.master_of(command.slot.unwrap_or(0))?);
        }
        let mut left: Vec<usize> = (0..commands.len()).collect();
        for _ in 0..MOST_MOVES {
            let mut by_place: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
            for index in left.drain(..) {
                by_place
                    .entry(places[index].clone())
                    .or_default()
                    .push(index);
            }
            for (place, indices) in by_place {
                let these: Vec<&Command> = indices.iter().map(|it| &commands[*it]).collect();
                for (index, reply) in indices.into_iter().zip(self.on(&place, &these)?) {
                    match moved(&reply) {
                        Some((false, to)) => {
                            places[index] = Place::Tcp(to);
                            left.push(index);
                            // Asked again before the next commands.
                            self.slots.clear();
                        }
                        Some((true, to)) => {
                            let asking = Command::new(&[b"ASKING"]);
                            let both = [&asking, &commands[index]];
                            replies[index] = self.on(&Place::Tcp(to), &both)?.pop();
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

/// Where a slot is now, and whether only for this command.
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
        // It does not know its own address.
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
