//! Protocol buffers, as far as it takes to read answers of the API server.
//!
//! A message is a row of numbered fields. Those that nobody asks for are skipped, whatever they hold.

use std::fmt;

use crate::time::{self, Timestamp};

/// Something that is read from its fields.
pub(crate) trait Wire: Default {
    /// Takes one in, if it is of any use.
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed>;

    fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut value = Self::default();
        let mut rest = message;
        while !rest.is_empty() {
            let (number, field) = next(&mut rest)?;
            value.set(number, field)?;
        }
        Ok(value)
    }
}

/// What a field holds; the schema says what that means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'message> {
    Number(u64),
    Bytes(&'message [u8]),
}

#[derive(Debug)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("its protocol buffers are malformed")
    }
}

impl<'message> Field<'message> {
    pub(crate) fn bytes(self) -> Result<&'message [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    pub(crate) fn message<T: Wire>(self) -> Result<T, Malformed> {
        T::read(self.bytes()?)
    }

    /// As in JSON, where a text that is no Unicode is mended, too.
    pub(crate) fn text(self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// None for an empty one, which JSON leaves out.
    pub(crate) fn some_text(self) -> Result<Option<String>, Malformed> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    pub(crate) fn number(self) -> Result<i64, Malformed> {
        if let Self::Number(number) = self { Ok(number.cast_signed()) } else { Err(Malformed) }
    }

    pub(crate) fn time(self) -> Result<Option<Timestamp>, Malformed> {
        self.message::<Time>().map(Time::read_out)
    }
}

/// A time of either precision. One that was never set has nothing in it.
#[derive(Default)]
struct Time {
    seconds: Option<i64>,
    nanoseconds: i64,
}

impl Wire for Time {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.seconds = Some(field.number()?),
            2 => self.nanoseconds = field.number()?,
            _ => {}
        }
        Ok(())
    }
}

impl Time {
    fn read_out(self) -> Option<Timestamp> {
        time::after_1970(self.seconds?, self.nanoseconds.try_into().ok()?)
    }
}

fn next<'message>(rest: &mut &'message [u8]) -> Result<(u64, Field<'message>), Malformed> {
    let key = varint(rest)?;
    let field = match key & 7 {
        0 => Field::Number(varint(rest)?),
        1 => Field::Bytes(take(rest, 8)?),
        2 => {
            let length = varint(rest)?;
            Field::Bytes(take(rest, length)?)
        }
        5 => Field::Bytes(take(rest, 4)?),
        _ => return Err(Malformed),
    };
    Ok((key >> 3, field))
}

/// What a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes,
    Other,
}

/// The number and the kind of a field that begins with these bytes, and how many are to follow. None as long as that is not told.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(u64, Kind, u64)>, Malformed> {
    let rest = &mut &bytes[..];
    // Two numbers of ten bytes each are the longest there is.
    let unknown = if bytes.len() < 20 { Ok(None) } else { Err(Malformed) };
    let Ok(key) = varint(rest) else { return unknown };
    let (kind, length) = match key & 7 {
        0 => (Kind::Other, varint(rest).map(|_| 0)),
        1 => (Kind::Other, Ok(8)),
        2 => (Kind::Bytes, varint(rest)),
        5 => (Kind::Other, Ok(4)),
        _ => return Err(Malformed),
    };
    length.map_or(unknown, |length| Ok(Some((key >> 3, kind, length))))
}

fn take<'message>(rest: &mut &'message [u8], length: u64) -> Result<&'message [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    rest.split_off(..length).ok_or(Malformed)
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = rest.split_off_first().ok_or(Malformed)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
pub(in crate::kubernetes) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field that holds bytes, such as a text or another message.
    pub(in crate::kubernetes) fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let bytes = bytes.as_ref();
        assert!(bytes.len() < 128, "one byte is enough for the length");
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    /// A field that holds a number.
    pub(in crate::kubernetes) fn number(number: u8, value: i64) -> Vec<u8> {
        let mut bytes = vec![number << 3];
        let mut rest = value.cast_unsigned();
        while rest > 127 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    pub(in crate::kubernetes) fn varint(length: usize) -> Vec<u8> {
        number(0, length as i64)[1..].to_vec()
    }

    #[derive(Debug, Default, PartialEq)]
    struct Thing {
        name: String,
        age: i64,
        born: Option<Timestamp>,
    }

    impl Wire for Thing {
        fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
            match number {
                1 => self.name = field.text()?,
                2 => self.age = field.number()?,
                3 => self.born = field.time()?,
                _ => {}
            }
            Ok(())
        }
    }

    #[test]
    fn fields_in_use_are_read_and_others_are_skipped() {
        let others =
            [field(9, "x"), number(8, 300), vec![7 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8], vec![6 << 3 | 5, 1, 2, 3, 4]];
        let time = [number(1, 1_785_758_400), number(2, 5)].concat();
        let message = [others.concat(), field(1, "Ü"), number(2, -3), field(3, time)].concat();
        let born = Some(Timestamp::from_timestamp(1_785_758_400, 5).unwrap());
        assert_eq!(Thing::read(&message).unwrap(), Thing { name: "Ü".to_owned(), age: -3, born });
    }

    #[test]
    fn what_was_never_set_is_nothing() {
        assert_eq!(Thing::read(&field(3, "")).unwrap(), Thing::default());
        assert_eq!(Field::Bytes(b"").some_text().unwrap(), None);
    }

    #[test]
    fn a_text_that_is_no_unicode_costs_nobody_the_rest() {
        assert_eq!(Thing::read(&field(1, b"a\xffb")).unwrap().name, "a\u{fffd}b");
    }

    #[test]
    fn what_ends_too_early_or_is_of_another_kind_is_malformed() {
        for message in
            [&[0x0a][..], &[0x0a, 2, b'a'], &[0x10, 0x80], &[0x0b], &[0x08, 1], &[0x10, 1, 0x12, 0], &[0xff; 11]]
        {
            assert!(Thing::read(message).is_err(), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(message: Vec<u8>) {
            let _ = Thing::read(&message);
        }

        #[test]
        fn every_number_is_read_as_it_was_written(value: i64) {
            prop_assert_eq!(Thing::read(&number(2, value)).unwrap().age, value);
        }
    }
}
