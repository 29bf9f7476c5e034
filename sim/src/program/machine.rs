//! One host: its key, its network state, and the node that runs on it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use skydht_core::Seed;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Advertise, Config};
use skydht_core::record::StoredRecord;
use skydht_driver::{Dht, StartOptions, Verifier};
use skydht_runtime::Runtime as _;
use skydht_runtime::virtual_time::VirtualTime;

use super::build::{Build, BuildError, Plan, addr, ip};
use super::ledger::SharedLedger;
use crate::clock::SimTime;
use crate::network::HostId;

type Built = Result<Dht, BuildError>;

/// What runs on the host.
pub(super) enum State {
    /// Nothing, since its process ended; with the time of its shutdown if it was shut down
    /// properly.
    Down(Option<SimTime>),
    /// Nothing, because its power failed: its peers do not know that the connections are dead.
    Unplugged,
    /// A node that is not ready yet. It is stored in the slot as soon as it is.
    Starting(Arc<Mutex<Option<Built>>>),
    /// A running node.
    Up(Dht),
    /// A node that has been shutting down since this time.
    Leaving(SimTime),
}

/// A host.
pub(super) struct Machine {
    pub(super) host: HostId,
    pub(super) ip: IpAddr,
    pub(super) key: PublicKey,
    /// Number of times it came back on another port.
    moves: u16,
    secret: SecretKey,
    config: Config,
    random: ChaCha8Rng,
    pub(super) state: State,
    pub(super) lives: u32,
    /// It will not come back.
    pub(super) gone: bool,
    pub(super) suspended: bool,
    /// Number of times its tasks had been polled at the last check.
    pub(super) polls: u64,
    /// When it was last suspended.
    pub(super) stood: Option<SimTime>,
    /// Since when all its traffic has been blocked.
    pub(super) silent: Option<SimTime>,
    /// Part of the network that it is in.
    pub(super) part: u32,
}

impl Machine {
    pub(super) fn new(host: HostId, secret: SecretKey, config: Config, seed: u64) -> Self {
        Self {
            host,
            ip: ip(host),
            key: secret.public(),
            moves: 0,
            secret,
            config,
            random: ChaCha8Rng::seed_from_u64(seed),
            state: State::Down(None),
            lives: 0,
            gone: false,
            suspended: false,
            polls: 0,
            stood: None,
            silent: None,
            part: 0,
        }
    }

    /// Listening address of its node, if it is reached at an address.
    pub(super) fn addr(&self) -> SocketAddr {
        addr(self.host, self.moves)
    }

    /// Makes it listen on another port from its next start on.
    pub(super) fn change_port(&mut self) {
        self.moves += 1;
        if let Advertise::Address(at) = &mut self.config.advertise {
            *at = addr(self.host, self.moves);
        }
    }

    /// Its node, if it runs and is not suspended.
    pub(super) fn node(&self) -> Option<&Dht> {
        match &self.state {
            State::Up(dht) if !self.suspended => Some(dht),
            _ => None,
        }
    }

    /// Whether a node runs here, suspended or not.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether it has not been suspended since this time.
    pub(super) fn was_awake(&self, since: SimTime) -> bool {
        !self.suspended && self.stood.is_none_or(|stood| stood < since)
    }

    /// Puts it into the part of the network that its faults require.
    pub(super) fn place(&self, world: &VirtualTime) {
        let alone = self.silent.is_some() || matches!(self.state, State::Unplugged);
        let island = match alone {
            true => u32::MAX - self.host.0,
            false => self.part,
        };
        world.set_island(self.ip, island);
    }

    fn entropy(&mut self) -> [u8; 32] {
        let mut entropy = [0; 32];
        self.random.fill_bytes(&mut entropy);
        entropy
    }

    /// Starts a node with what an earlier one persisted.
    pub(super) fn start(
        &mut self,
        world: &VirtualTime,
        build: &dyn Build,
        records: Vec<StoredRecord>,
        shared: &SharedLedger,
    ) -> Result<(), BuildError> {
        if let State::Unplugged = self.state {
            // A machine that starts again does not know its old connections.
            world.disconnect(self.ip);
        }
        self.state = State::Down(None);
        self.place(world);
        self.lives += 1;
        let plan = Plan {
            listen: self.addr(),
            secret: self.secret.clone(),
            config: self.config.clone(),
            seed: Seed(self.entropy()),
            handshakes: self.entropy(),
            options: StartOptions {
                verifier: Verifier::inline(),
                recorder: Some(shared.watch(self.host, self.lives)),
                records,
                ..StartOptions::default()
            },
        };
        let host = world.host(self.ip);
        let mut starting = build.start(host.clone(), plan);
        if let Some(built) = (&mut starting).now_or_never() {
            self.state = State::Up(built?);
            return Ok(());
        }
        let slot = Arc::new(Mutex::new(None));
        self.state = State::Starting(Arc::clone(&slot));
        host.spawn(Box::pin(async move {
            let built = starting.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(built);
        }));
        Ok(())
    }

    /// Takes a node that has started in the meantime. Returns whether there is one.
    pub(super) fn take_started(&mut self) -> Result<bool, BuildError> {
        let State::Starting(slot) = &self.state else {
            return Ok(false);
        };
        let built = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(built) = built else {
            return Ok(false);
        };
        self.state = State::Up(built?);
        Ok(true)
    }
}
