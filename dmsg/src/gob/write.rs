//! Encoding of a gob stream as Go does it: descriptors first, zero fields left out.

/// The bytes of one message, or of one struct in it.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn uint(&mut self, n: u64) {
        match u8::try_from(n) {
            Ok(small) if small < 128 => self.0.push(small),
            _ => {
                let bytes = n.to_be_bytes();
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                // The count of the remaining bytes, at most 8, negated.
                self.0.push((8 - zeros).to_le_bytes()[0].wrapping_neg());
                self.0.extend_from_slice(&bytes[zeros..]);
            }
        }
    }

    pub(super) fn int(&mut self, n: i64) {
        let shifted = (n as u64) << 1;
        self.uint(if n < 0 { !shifted } else { shifted });
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes an array of bytes, which gob encodes as a list of numbers.
    pub(super) fn byte_array(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        for byte in bytes {
            self.uint((*byte).into());
        }
    }

    /// Appends `body` as a message of this type id.
    pub(super) fn message(&mut self, number: i64, body: &Self) {
        let mut message = Self::default();
        message.int(number);
        message.0.extend_from_slice(&body.0);
        self.bytes(&message.0);
    }
}

/// Writes a struct's fields. A field number is the difference from the last one written.
pub(super) struct Fields<'w> {
    out: &'w mut Writer,
    next: u64,
    last: u64,
}

impl<'w> Fields<'w> {
    pub(super) fn new(out: &'w mut Writer) -> Self {
        Self {
            out,
            next: 0,
            last: 0,
        }
    }

    /// Writes the next field if it is `present`; fields with Go's zero value are not.
    pub(super) fn field(&mut self, present: bool, write: impl FnOnce(&mut Writer)) -> &mut Self {
        self.next += 1;
        if present {
            self.out.uint(self.next - self.last);
            self.last = self.next;
            write(self.out);
        }
        self
    }

    /// Ends the struct.
    pub(super) fn end(&mut self) {
        self.out.uint(0);
    }
}

/// Appends the descriptor of a type. `kind` is its position in Go's `wireType`, counted from 1.
pub(super) fn describe(
    out: &mut Writer,
    number: i64,
    kind: u64,
    name: &str,
    rest: impl FnOnce(&mut Fields<'_>),
) {
    let mut body = Writer::default();
    body.uint(kind);
    let mut fields = Fields::new(&mut body);
    fields.field(true, |out| {
        Fields::new(out)
            .field(true, |out| out.bytes(name.as_bytes()))
            .field(true, |out| out.int(number))
            .end();
    });
    rest(&mut fields);
    fields.end();
    body.uint(0);
    out.message(-number, &body);
}

/// Appends the descriptor of a struct.
pub(super) fn describe_struct(out: &mut Writer, number: i64, name: &str, fields: &[(&str, i64)]) {
    describe(out, number, 3, name, |rest| {
        rest.field(true, |out| {
            out.uint(fields.len() as u64);
            for (name, ty) in fields {
                Fields::new(out)
                    .field(true, |out| out.bytes(name.as_bytes()))
                    .field(true, |out| out.int(*ty))
                    .end();
            }
        });
    });
}
