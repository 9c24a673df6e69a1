//! Answers in protocol buffers, which is how the API server keeps objects.

use serde::de::DeserializeOwned;

use super::wire::{Field, Malformed, Wire};
use super::{ListMeta, Metadata};

/// What an answer in protocol buffers begins with.
pub(super) const MAGIC: &[u8] = b"k8s\0";

/// Reads an answer in either encoding.
pub(super) fn read<T: Wire + DeserializeOwned>(answer: &[u8]) -> Result<T, String> {
    match answer.strip_prefix(MAGIC) {
        Some(wire) => unwrapped(wire).map_err(|error| error.to_string()),
        None => serde_json::from_slice(answer).map_err(|error| error.to_string()),
    }
}

fn unwrapped<T: Wire>(wire: &[u8]) -> Result<T, Malformed> {
    Envelope::read(wire)?.0.ok_or(Malformed)
}

/// What every answer comes in.
struct Envelope<T>(Option<T>);

impl<T> Default for Envelope<T> {
    fn default() -> Self {
        Self(None)
    }
}

// The numbers are those of the API, and never change.

impl<T: Wire> Wire for Envelope<T> {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        if number == 2 {
            self.0 = Some(field.message()?);
        }
        Ok(())
    }
}

impl Wire for ListMeta {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            2 => self.resource_version = Some(field.text()?),
            3 => self.continue_token = field.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Metadata {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.name = field.text()?,
            3 => self.namespace = field.some_text()?,
            5 => self.uid = field.text()?,
            6 => self.resource_version = field.text()?,
            8 => self.creation_timestamp = field.time()?,
            9 => self.deletion_timestamp = field.time()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hyper::body::Bytes;

    use super::super::wire::tests::field;
    use super::*;

    /// A message as the API server sends it.
    pub(in crate::kubernetes) fn wrapped(message: &[u8]) -> Bytes {
        [MAGIC, &field(1, field(2, "Kind")), &field(2, message)].concat().into()
    }
}
