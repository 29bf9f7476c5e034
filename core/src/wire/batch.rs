//! Decoding a batch in steps, since a large one takes milliseconds.

use alloc::vec::Vec;
use core::ops::Range;

use crate::id::{ID_LEN, Target};
use crate::wire::envelope::{Envelope, SenderParts, target};
use crate::wire::error::WireError;
use crate::wire::extension::RequestExt;
use crate::wire::item::WireItem;
use crate::wire::json::{Reader, Result};
use crate::wire::key::read_key;
use crate::wire::message::{MAX_ITEMS, Request, RequestMessage};
use crate::wire::method::MAX_PUT_VALUE_REQUEST;

/// Maximum length of an element or field: that of a whole put.
const MAX_ELEMENT: usize = MAX_PUT_VALUE_REQUEST;

/// State of the decoder.
#[derive(Clone, Copy)]
enum BatchPosition {
    Start,
    /// Before a field of the message; `first` if none has been read yet.
    Field {
        first: bool,
    },
    /// Before an element of a list.
    Element {
        list: List,
        first: bool,
    },
    End,
}

#[derive(Clone, Copy)]
enum List {
    Items,
    Targets,
}

/// Decodes a [`Request::PutBatch`] in steps.
pub struct BatchDecoder {
    body: Vec<u8>,
    at: usize,
    place: BatchPosition,
    sender: SenderParts,
    ext: Option<Range<usize>>,
    items: Vec<WireItem>,
    targets: Vec<Target>,
    /// Bytes of the values and salts of the items.
    contents: usize,
}

impl BatchDecoder {
    /// Creates a decoder for the body of a frame.
    #[must_use]
    pub fn new(body: Vec<u8>) -> Self {
        Self {
            body,
            at: 0,
            place: BatchPosition::Start,
            sender: SenderParts::default(),
            ext: None,
            items: Vec::new(),
            targets: Vec::new(),
            contents: 0,
        }
    }

    /// Number of bytes of the body that are decoded.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Length of the body in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether the body is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Memory that the body and the decoded items occupy, in bytes.
    #[must_use]
    pub const fn allocated(&self) -> usize {
        self.body.capacity()
            + self.items.capacity() * (size_of::<WireItem>() + 256)
            + self.targets.capacity() * ID_LEN
            + self.contents
    }

    /// Decodes some `bytes` more, up to the end of an element. Returns the message once it is
    /// complete.
    ///
    /// # Errors
    /// [`WireError`]: close the stream without an answer.
    pub fn step(&mut self, bytes: usize) -> Result<Option<RequestMessage>, WireError> {
        let until = self.at.saturating_add(bytes);
        loop {
            let body = core::mem::take(&mut self.body);
            let result = self.advance(&body);
            self.body = body;
            result?;
            if matches!(self.place, BatchPosition::End) {
                return Ok(Some(self.finish()));
            }
            if self.at >= until {
                return Ok(None);
            }
        }
    }

    /// Reads one field or element.
    fn advance(&mut self, body: &[u8]) -> Result<()> {
        let end = body.len().min(self.at.saturating_add(MAX_ELEMENT));
        let depth = match self.place {
            BatchPosition::Start | BatchPosition::End => 0,
            BatchPosition::Field { .. } => 1,
            BatchPosition::Element { .. } => 2,
        };
        let mut reader = Reader::resume(&body[..end], self.at, depth);
        let result = self.read(&mut reader);
        self.at = reader.place();
        match result {
            Err(WireError::Syntax { at }) if at >= end && end < body.len() => {
                Err(WireError::TooLong { at })
            }
            result => result,
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        match self.place {
            BatchPosition::Start if reader.null()? => self.end(reader)?,
            BatchPosition::Start => {
                reader.open(b'{')?;
                self.place = BatchPosition::Field { first: true };
            }
            BatchPosition::Field { mut first } => {
                if !reader.more(b'}', &mut first)? {
                    return self.end(reader);
                }
                self.place = BatchPosition::Field { first: false };
                let name = reader.field_name()?;
                self.field(reader, &name)?;
            }
            BatchPosition::Element { list, mut first } => {
                if !reader.more(b']', &mut first)? {
                    self.place = BatchPosition::Field { first: false };
                    return Ok(());
                }
                self.place = BatchPosition::Element { list, first: false };
                self.element(reader, list)?;
            }
            BatchPosition::End => {}
        }
        Ok(())
    }

    fn end(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.place = BatchPosition::End;
        reader.end()
    }

    fn field(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<()> {
        let list = match name {
            "sender_id" => return reader.array32(&mut self.sender.id),
            "sender_pk" => return read_key(reader, &mut self.sender.key),
            "ext" => {
                let start = reader.position();
                reader.skip()?;
                self.ext = Some(start..reader.place());
                return Ok(());
            }
            "items" => List::Items,
            "targets" => List::Targets,
            _ => return reader.skip(),
        };
        // As in Go, a list replaces an earlier one of the same name, and `null` is an empty list.
        match list {
            List::Items => {
                self.items.clear();
                self.contents = 0;
            }
            List::Targets => self.targets.clear(),
        }
        if !reader.null()? {
            reader.open(b'[')?;
            self.place = BatchPosition::Element { list, first: true };
        }
        Ok(())
    }

    fn element(&mut self, reader: &mut Reader<'_>, list: List) -> Result<()> {
        let len = match list {
            List::Items => self.items.len(),
            List::Targets => self.targets.len(),
        };
        if len == MAX_ITEMS {
            let at = reader.position();
            return Err(WireError::TooMany { at });
        }
        match list {
            List::Items => {
                let item = WireItem::read(reader)?;
                self.contents += item.content_len();
                self.items.push(item);
            }
            List::Targets => self.targets.push(target(reader)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> RequestMessage {
        let ext = self.ext.take().map(|range| &self.body[range]);
        let envelope = Envelope {
            sender: core::mem::take(&mut self.sender).into(),
            ext: ext.and_then(RequestExt::read),
        };
        envelope.with(Request::PutBatch {
            items: core::mem::take(&mut self.items),
            targets: core::mem::take(&mut self.targets),
        })
    }
}
