//! An event in protocol buffers. The numbers are those of the API, and never change.

use super::{Event, Object, Series};
use crate::kubernetes::{Field, Malformed, Wire};

impl Wire for Event {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.metadata = field.message()?,
            2 => self.involved_object = field.message()?,
            3 => self.reason = field.some_text()?,
            4 => self.message = field.some_text()?,
            6 => self.first_timestamp = field.time()?,
            7 => self.last_timestamp = field.time()?,
            8 => self.count = Some(field.number()?),
            9 => self.kind = field.some_text()?,
            10 => self.event_time = field.time()?,
            11 => self.series = Some(field.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Object {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.kind = field.some_text()?,
            2 => self.namespace = field.some_text()?,
            3 => self.name = field.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Series {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.count = Some(field.number()?),
            2 => self.last_observed_time = field.time()?,
            _ => {}
        }
        Ok(())
    }
}
