//! An event in protocol buffers. The numbers are those of the API, and never change.

use prost::Message;

use super::{Event, Object, Series};
use crate::kubernetes::{Compact, WireMetadata, WireTime};

#[derive(Message)]
pub(crate) struct WireEvent {
    #[prost(message, optional, tag = "1")]
    metadata: Option<WireMetadata>,
    #[prost(message, optional, tag = "2")]
    involved_object: Option<WireObject>,
    #[prost(string, optional, tag = "3")]
    reason: Option<String>,
    #[prost(string, optional, tag = "4")]
    message: Option<String>,
    #[prost(message, optional, tag = "6")]
    first_timestamp: Option<WireTime>,
    #[prost(message, optional, tag = "7")]
    last_timestamp: Option<WireTime>,
    #[prost(int32, tag = "8")]
    count: i32,
    #[prost(string, optional, tag = "9")]
    kind: Option<String>,
    #[prost(message, optional, tag = "10")]
    event_time: Option<WireTime>,
    #[prost(message, optional, tag = "11")]
    series: Option<WireSeries>,
}

#[derive(Message)]
struct WireObject {
    #[prost(string, optional, tag = "1")]
    kind: Option<String>,
    #[prost(string, optional, tag = "2")]
    namespace: Option<String>,
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
}

#[derive(Message)]
struct WireSeries {
    #[prost(int32, tag = "1")]
    count: i32,
    #[prost(message, optional, tag = "2")]
    last_observed_time: Option<WireTime>,
}

impl Compact for Event {
    type Wire = WireEvent;
}

impl From<WireEvent> for Event {
    fn from(wire: WireEvent) -> Self {
        let time = |time: Option<WireTime>| time.and_then(WireTime::read);
        let object = wire.involved_object.unwrap_or_default();
        let series = wire
            .series
            .map(|series| Series { count: number(series.count), last_observed_time: time(series.last_observed_time) });
        Self {
            metadata: wire.metadata.unwrap_or_default().into(),
            involved_object: Object {
                kind: text(object.kind),
                namespace: text(object.namespace),
                name: text(object.name),
            },
            reason: text(wire.reason),
            message: text(wire.message),
            kind: text(wire.kind),
            count: number(wire.count),
            first_timestamp: time(wire.first_timestamp),
            last_timestamp: time(wire.last_timestamp),
            event_time: time(wire.event_time),
            series,
        }
    }
}

/// JSON leaves out what is empty, and here it is written all the same.
fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The same for a number that is zero.
fn number(number: i32) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}
