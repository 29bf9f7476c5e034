//! yamux as a state machine without I/O: many byte streams over one connection.
//!
//! Received bytes go into [`Mux::space`], and [`Mux::received`] processes them; [`Mux::output`] is
//! what to send; [`Mux::poll_event`] reports what happened. The format is that of hashicorp/yamux
//! (its spec.md). This implementation adds limits: a stream's window stays at 256 KiB, a frame is
//! at most that long, and while too many resets wait for the connection, no stream opens and
//! nothing more is to be read ([`Mux::wants_input`]).
//!
//! The peer's streams are not limited here: the session that handles [`Event::Opened`] drops those
//! over its limit before the next bytes are read.

mod flow;
mod frame;
mod input;
mod output;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use flow::Read;
pub(crate) use frame::Violation;

use flow::{Phase, StreamState, WINDOW};
use frame::{ACK, FIN, Frame, Kind, RST, SYN};
use input::{Input, Part};
use output::Output;

/// Maximum number of our streams that the peer has not acknowledged; Go's accept backlog is as
/// large.
const MAX_UNACKNOWLEDGED: usize = 256;
/// Maximum number of streams that we have finished and no longer read, while the peer may still
/// send.
const MAX_ABANDONED: usize = 256;

/// Which end of the connection this is. It decides whether yamux numbers our streams odd or even.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We dialled.
    Client,
    /// We accepted.
    Server,
}

/// Something that the peer did on the session or a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The peer opened a stream.
    Opened(u32),
    /// A stream can be read again, or has ended.
    Readable(u32),
    /// A stream can be written again, or was reset.
    Writable(u32),
    /// The peer ends the session.
    GoAway,
}

/// The stream was reset or finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

/// One end of a multiplexed connection.
pub(crate) struct Mux {
    role: Role,
    /// Id of our next stream; 0 if there are no ids left.
    next: u32,
    /// Boxed: most sessions have few streams, and a node of the map has room for eleven values.
    streams: BTreeMap<u32, Box<StreamState>>,
    /// Number of our streams that the peer has not acknowledged.
    unacknowledged: usize,
    abandoned: VecDeque<u32>,
    input: Input,
    output: Output,
    events: VecDeque<Event>,
    /// Bytes of all streams that were received and not read, counted by the size of their buffers.
    held: usize,
    /// Number of frames of which the header was received.
    frames: u64,
    /// Number of the last ping that was answered, and of the last that was sent.
    pings: (u32, u32),
    /// Counts reads, to order streams by their last read.
    reads: u64,
}

impl Mux {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            next: match role {
                Role::Client => 1,
                Role::Server => 2,
            },
            streams: BTreeMap::new(),
            unacknowledged: 0,
            abandoned: VecDeque::new(),
            input: Input::default(),
            output: Output::default(),
            events: VecDeque::new(),
            held: 0,
            frames: 0,
            pings: (0, 0),
            reads: 0,
        }
    }

    /// Returns whether [`Self::open`] would return a stream.
    pub(crate) fn can_open(&self) -> bool {
        self.unacknowledged < MAX_UNACKNOWLEDGED && !self.output.is_full()
    }

    /// Opens a stream. `None` if the peer must first acknowledge some of ours, or no ids are left.
    /// The peer learns of the stream with its first frame.
    pub(crate) fn open(&mut self) -> Option<u32> {
        if !self.can_open() || self.next == 0 {
            return None;
        }
        let id = self.next;
        // No ids are left after two billion streams.
        self.next = id.checked_add(2).unwrap_or(0);
        self.streams
            .insert(id, Box::new(StreamState::new(SYN, WINDOW)));
        self.unacknowledged += 1;
        Some(id)
    }

    /// Queues as much of `data` as fits into one frame and into the credit. 0 means to wait for
    /// [`Event::Writable`].
    pub(crate) fn write(&mut self, id: u32, data: &[u8]) -> Result<usize, Broken> {
        let flow = self.streams.get_mut(&id).ok_or(Broken)?;
        if !flow.may_write() {
            return Err(Broken);
        }
        let len = data.len().min(flow.credit as usize).min(output::MAX_DATA);
        if len == 0 && !data.is_empty() {
            return Ok(0);
        }
        flow.credit -= frame::length(len);
        let flags = std::mem::take(&mut flow.flags_due);
        self.output.data(id, flags, &data[..len]);
        Ok(len)
    }

    /// Returns whether a stream is neither finished by us nor reset.
    pub(crate) fn may_write(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|flow| flow.may_write())
    }

    /// Returns whether a stream was reset by [`Self::cut_down_to`].
    pub(crate) fn is_cut(&self, id: u32) -> bool {
        let flow = self.streams.get(&id);
        flow.is_some_and(|flow| flow.phase == Phase::Cut)
    }

    /// Announces a new stream to the peer, unless a frame of it was sent.
    pub(crate) fn announce(&mut self, id: u32) {
        let flow = self.streams.get_mut(&id);
        if let Some(flow) = flow.filter(|flow| flow.flags_due & SYN != 0) {
            let flags = std::mem::take(&mut flow.flags_due);
            self.output.data(id, flags, &[]);
        }
    }

    /// Finishes our direction of a stream.
    pub(crate) fn finish(&mut self, id: u32) -> Result<(), Broken> {
        let flow = self.streams.get_mut(&id).ok_or(Broken)?;
        if matches!(flow.phase, Phase::Reset | Phase::Cut) {
            return Err(Broken);
        }
        if flow.may_write() {
            let flags = std::mem::take(&mut flow.flags_due) | FIN;
            flow.finish();
            self.output.frame(Frame::of(Kind::Data, flags, id, 0));
        }
        Ok(())
    }

    /// Reads received data of a stream. Data that arrived before a reset can still be read.
    pub(crate) fn read(&mut self, id: u32, buf: &mut [u8]) -> Read {
        let Some(flow) = self.streams.get_mut(&id) else {
            return Read::Reset;
        };
        let before = flow.held();
        let read = flow.take(buf);
        if read == 0 {
            return flow.without_data();
        }
        self.reads += 1;
        flow.read_at = self.reads;
        let credit = flow.take_credit_due();
        if credit > 0 {
            let flags = std::mem::take(&mut flow.flags_due);
            self.output
                .urgent(Frame::of(Kind::WindowUpdate, flags, id, credit));
        }
        self.held = self.held + flow.held() - before;
        Read::Data(read)
    }

    /// Sets how many bytes the stream's reader has read and still holds; they count as unread.
    pub(crate) fn keep(&mut self, id: u32, bytes: usize) {
        if let Some(flow) = self.streams.get_mut(&id) {
            self.held = self.held - flow.kept + bytes;
            flow.kept = bytes;
        }
    }

    /// Releases a stream that its user has dropped. It is reset unless we have finished it; if only
    /// the peer has, it is finished instead.
    pub(crate) fn leave(&mut self, id: u32) {
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        match flow.phase {
            Phase::Open => self.reset(id),
            Phase::PeerFinished => {
                let flags = flow.flags_due | FIN;
                self.output.frame(Frame::of(Kind::Data, flags, id, 0));
                self.remove(id);
            }
            // A reset would make Go's side lose what it has not read of our data, so wait for its
            // end. With no window left the peer could wait for credit forever, so reset it.
            Phase::Finished if flow.window() == 0 => self.reset(id),
            Phase::Finished => self.abandon(id),
            Phase::BothFinished | Phase::Reset | Phase::Cut => self.remove(id),
        }
    }

    fn reset(&mut self, id: u32) {
        let flow = self.streams.get(&id);
        if flow.is_some_and(|flow| flow.flags_due & SYN == 0) {
            self.output.reset(id);
        }
        self.remove(id);
    }

    fn abandon(&mut self, id: u32) {
        if let Some(flow) = self.streams.get_mut(&id) {
            self.held -= flow.held();
            flow.forget();
            flow.is_abandoned = true;
        }
        self.abandoned.push_back(id);
        if self.abandoned.len() > MAX_ABANDONED
            && let Some(oldest) = self.abandoned.pop_front()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: u32) {
        if let Some(flow) = self.streams.remove(&id) {
            self.held -= flow.held();
            if self.is_ours(id) && !flow.is_acknowledged {
                self.unacknowledged -= 1;
            }
            if flow.is_abandoned {
                self.abandoned.retain(|other| *other != id);
            }
        }
    }

    fn is_ours(&self, id: u32) -> bool {
        id % 2 == u32::from(self.role == Role::Client)
    }

    /// Returns the bytes of all streams that were received and not read.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Resets streams until at most `most` bytes are unread: those first that were read least
    /// recently, but those with less than half of the largest share last. Returns the streams that
    /// were reset.
    pub(crate) fn cut_down_to(&mut self, most: usize) -> Vec<u32> {
        let mut holding: Vec<_> = self
            .streams
            .iter()
            .map(|(id, flow)| (flow.held(), flow.read_at, *id))
            .filter(|(held, ..)| *held > 0)
            .collect();
        let largest = holding.iter().map(|(held, ..)| *held).max().unwrap_or(0);
        holding.sort_unstable_by_key(|(held, read_at, id)| (*held < largest / 2, *read_at, *id));
        let mut cut = Vec::new();
        for (.., id) in holding {
            if self.held <= most {
                break;
            }
            if let Some(flow) = self.streams.get_mut(&id) {
                self.held -= flow.held();
                flow.forget();
                if flow.phase != Phase::Reset {
                    self.output.reset(id);
                }
                flow.phase = Phase::Cut;
                cut.push(id);
            }
        }
        cut
    }

    /// Returns what to send next; empty if there is nothing. Unchanged until [`Self::sent`].
    pub(crate) fn output(&mut self) -> &[u8] {
        self.output.next()
    }

    /// Records that the connection has taken `bytes` of [`Self::output`].
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.output.sent(bytes);
    }

    /// Returns the number of bytes that wait for the connection.
    pub(crate) fn unsent(&self) -> usize {
        self.output.unsent()
    }

    /// Sends a ping. Also acknowledges the peer's streams that were not acknowledged yet: Go ends a
    /// session with a stream that is not acknowledged within 75 s.
    pub(crate) fn ping(&mut self) {
        for (id, flow) in &mut self.streams {
            if flow.flags_due == ACK && flow.phase != Phase::Cut {
                flow.flags_due = 0;
                self.output
                    .urgent(Frame::of(Kind::WindowUpdate, ACK, *id, 0));
            }
        }
        // Saturates after four billion pings, 4,000 years; later answers would count as violations.
        self.pings.1 = self.pings.1.saturating_add(1);
        self.output.ping(self.pings.1);
    }

    /// Returns how many frames were received.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Announces the end of the session because of a violation.
    pub(crate) fn go_away(&mut self) {
        const PROTOCOL_ERROR: u32 = 1;
        self.output
            .frame(Frame::of(Kind::GoAway, 0, 0, PROTOCOL_ERROR));
    }

    /// Returns whether more may be read from the connection.
    pub(crate) fn wants_input(&self) -> bool {
        !self.output.is_full()
    }

    /// Returns whether the bytes received so far end with a complete frame.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.input.is_between_frames()
    }

    /// Returns where to put the next bytes from the connection. Never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let Part::Body { stream, left } = self.input.part() else {
            return self.input.header_space();
        };
        match self.streams.get_mut(&stream) {
            Some(flow) if flow.takes_data() => {
                let before = flow.held();
                flow.reserve(left);
                self.held = self.held + flow.held() - before;
                flow.space(left)
            }
            _ => self.input.skip_space(),
        }
    }

    /// Processes `bytes` that were put into [`Self::space`].
    ///
    /// # Errors
    /// The peer violated the protocol. Its further data must not be read.
    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Violation> {
        match self.input.part() {
            Part::Header => {
                // Check the first byte: smux's frames are shorter than yamux's header, so waiting
                // for a complete header could deadlock with a peer that waits for our answer.
                if self.frames == 0 && self.input.is_smux() {
                    return Err(Violation::Smux);
                }
                if let Some(header) = self.input.header_received(bytes) {
                    self.frames += 1;
                    self.frame_begins(Frame::of_header(&header)?)?;
                }
            }
            Part::Body { stream, .. } => {
                if let Some(flow) = self.streams.get_mut(&stream)
                    && flow.received(bytes)
                {
                    self.events.push_back(Event::Readable(stream));
                }
                self.input.body_received(bytes);
            }
        }
        if let Some((stream, is_last)) = self.input.frame_ended()
            && is_last
        {
            self.peer_finished(stream);
        }
        Ok(())
    }

    /// Returns the next event, if any.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn frame_begins(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            Kind::Data | Kind::WindowUpdate => self.stream_frame(frame),
            Kind::Ping if frame.flags & SYN != 0 => {
                self.output.pong(frame.length);
                Ok(())
            }
            Kind::Ping => {
                let (answered, sent) = &mut self.pings;
                if frame.length <= *answered || frame.length > *sent {
                    return Err(Violation::Pong);
                }
                *answered = frame.length;
                Ok(())
            }
            Kind::GoAway => {
                self.events.push_back(Event::GoAway);
                Ok(())
            }
        }
    }

    fn stream_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        let id = frame.stream;
        let body = match frame.kind {
            Kind::Data => frame.length,
            _ => 0,
        };
        if body > WINDOW {
            return Err(Violation::TooLong);
        }
        self.input
            .body_begins(id, body as usize, frame.flags & FIN != 0);
        if frame.flags & RST != 0 {
            self.peer_reset(id);
            return Ok(());
        }
        if frame.flags & SYN != 0 {
            if id == 0 || self.is_ours(id) {
                return Err(Violation::StreamNumber);
            }
            if self.streams.contains_key(&id) {
                return Err(Violation::OpenedTwice);
            }
            self.streams
                .insert(id, Box::new(StreamState::new(ACK, WINDOW)));
            self.events.push_back(Event::Opened(id));
        }
        self.acknowledged(id);
        let Some(flow) = self.streams.get_mut(&id) else {
            return Ok(()); // the peer does not know yet that the stream is gone
        };
        match frame.kind {
            Kind::WindowUpdate => {
                let had_none = flow.credit == 0;
                flow.credit = flow
                    .credit
                    .checked_add(frame.length)
                    .ok_or(Violation::Credit)?;
                if had_none && flow.credit > 0 {
                    self.events.push_back(Event::Writable(id));
                }
            }
            _ if flow.is_abandoned => {
                if body > 0 && frame.flags & FIN == 0 {
                    self.reset(id);
                }
            }
            _ => flow.expect(body).ok_or(Violation::TooLong)?,
        }
        Ok(())
    }

    /// Records that the peer knows a stream of ours.
    fn acknowledged(&mut self, id: u32) {
        let is_ours = self.is_ours(id);
        if let Some(flow) = self.streams.get_mut(&id)
            && is_ours
            && !std::mem::replace(&mut flow.is_acknowledged, true)
        {
            self.unacknowledged -= 1;
        }
    }

    fn peer_finished(&mut self, id: u32) {
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        flow.peer_finished();
        if flow.is_abandoned {
            self.remove(id);
        } else {
            self.events.push_back(Event::Readable(id));
        }
    }

    fn peer_reset(&mut self, id: u32) {
        self.acknowledged(id);
        let Some(flow) = self.streams.get_mut(&id) else {
            return;
        };
        if flow.is_abandoned {
            return self.remove(id);
        }
        flow.phase = Phase::Reset;
        self.events.push_back(Event::Readable(id));
        self.events.push_back(Event::Writable(id));
    }
}

#[cfg(test)]
mod tests;
