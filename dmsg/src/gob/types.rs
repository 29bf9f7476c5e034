//! Type descriptors, and skipping values by their descriptor.

use super::error::{FIRST_TYPE, GobError, MAX_DEPTH, MAX_FIELDS, MAX_TYPES};
use super::read::Reader;

/// Ids of the built-in types.
pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
const STRING: i64 = 6;
const COMPLEX: i64 = 7;
const INTERFACE: i64 = 8;

/// A described type.
#[derive(Clone, Debug)]
pub(super) enum Type<'a> {
    Array {
        elem: i64,
        len: i64,
    },
    Slice {
        elem: i64,
    },
    Struct(Vec<Field<'a>>),
    Map {
        key: i64,
        elem: i64,
    },
    /// A type that marshals itself to opaque bytes.
    Opaque,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) ty: i64,
}

/// The described types of one stream, by id.
#[derive(Default)]
pub(super) struct Types<'a>(Vec<(i64, Type<'a>)>);

impl<'a> Types<'a> {
    /// Reads the descriptors that precede a value, and returns them with the value's type and
    /// reader.
    pub(super) fn read(stream: &'a [u8]) -> Result<(Self, i64, Reader<'a>), GobError> {
        let mut stream = Reader::new(stream);
        let mut types = Self::default();
        loop {
            let (number, mut body) = stream.message()?;
            if number >= 0 {
                return Ok((types, number, body));
            }
            let described = number.checked_neg().ok_or(GobError::Number)?;
            types.describe(described, &mut body)?;
            body.finish()?;
        }
    }

    fn describe(&mut self, number: i64, body: &mut Reader<'a>) -> Result<(), GobError> {
        if number < FIRST_TYPE.into() || self.get(number).is_some() {
            return Err(GobError::Descriptor);
        }
        if self.0.len() == MAX_TYPES {
            return Err(GobError::Limit);
        }
        let mut described = None;
        body.fields(|kind, body| {
            let ty = read_type(kind, body)?;
            // A `wireType` has exactly one kind set.
            match described.replace(ty) {
                None => Ok(()),
                Some(_) => Err(GobError::Descriptor),
            }
        })?;
        self.0
            .push((number, described.ok_or(GobError::Descriptor)?));
        Ok(())
    }

    pub(super) fn get(&self, number: i64) -> Option<&Type<'a>> {
        self.0
            .iter()
            .find_map(|(known, ty)| (*known == number).then_some(ty))
    }

    /// Skips a value.
    pub(super) fn skip(
        &self,
        number: i64,
        value: &mut Reader<'a>,
        depth: usize,
    ) -> Result<(), GobError> {
        if depth == MAX_DEPTH {
            return Err(GobError::Limit);
        }
        match number {
            BOOL | INT | UINT | FLOAT => return value.uint().map(drop),
            BYTES | STRING => return value.bytes().map(drop),
            COMPLEX => {
                value.uint()?;
                return value.uint().map(drop);
            }
            INTERFACE => return Err(GobError::Interface),
            _ => {}
        }
        match self.get(number).ok_or(GobError::UnknownType(number))? {
            Type::Opaque => value.bytes().map(drop),
            Type::Array { elem, .. } | Type::Slice { elem } => {
                for _ in 0..value.count()? {
                    self.skip(*elem, value, depth + 1)?;
                }
                Ok(())
            }
            Type::Map { key, elem } => {
                for _ in 0..value.count()? {
                    self.skip(*key, value, depth + 1)?;
                    self.skip(*elem, value, depth + 1)?;
                }
                Ok(())
            }
            Type::Struct(fields) => value.fields(|index, value| {
                let field = fields.get(index).ok_or(GobError::FieldNumber)?;
                self.skip(field.ty, value, depth + 1)
            }),
        }
    }
}

/// Reads the field `kind` of Go's `wireType`, which has one field for each kind of type.
fn read_type<'a>(kind: usize, body: &mut Reader<'a>) -> Result<Type<'a>, GobError> {
    match kind {
        0 => {
            let [elem, len] = read_numbers(body)?;
            Ok(Type::Array { elem, len })
        }
        1 => read_numbers(body).map(|[elem]| Type::Slice { elem }),
        2 => read_struct(body).map(Type::Struct),
        3 => read_numbers(body).map(|[key, elem]| Type::Map { key, elem }),
        // GobEncoder, BinaryMarshaler, TextMarshaler.
        4..=6 => read_numbers(body).map(|[]| Type::Opaque),
        _ => Err(GobError::Descriptor),
    }
}

/// Reads a descriptor that consists of the common part and `N` numbers.
fn read_numbers<const N: usize>(body: &mut Reader<'_>) -> Result<[i64; N], GobError> {
    let mut numbers = [0; N];
    body.fields(|index, body| match index.checked_sub(1) {
        None => skip_common(body),
        Some(index) => {
            *numbers.get_mut(index).ok_or(GobError::Descriptor)? = body.int()?;
            Ok(())
        }
    })?;
    Ok(numbers)
}

/// Skips the type's name and id, which are not used.
fn skip_common(body: &mut Reader<'_>) -> Result<(), GobError> {
    body.fields(|index, body| match index {
        0 => body.bytes().map(drop),
        1 => body.int().map(drop),
        _ => Err(GobError::Descriptor),
    })
}

fn read_struct<'a>(body: &mut Reader<'a>) -> Result<Vec<Field<'a>>, GobError> {
    let mut fields = Vec::new();
    body.fields(|index, body| match index {
        0 => skip_common(body),
        1 => {
            for _ in 0..body.count()? {
                if fields.len() == MAX_FIELDS {
                    return Err(GobError::Limit);
                }
                fields.push(read_field(body)?);
            }
            Ok(())
        }
        _ => Err(GobError::Descriptor),
    })?;
    Ok(fields)
}

fn read_field<'a>(body: &mut Reader<'a>) -> Result<Field<'a>, GobError> {
    let mut field = Field::default();
    body.fields(|index, body| {
        match index {
            0 => field.name = body.bytes()?,
            1 => field.ty = body.int()?,
            _ => return Err(GobError::Descriptor),
        }
        Ok(())
    })?;
    Ok(field)
}
