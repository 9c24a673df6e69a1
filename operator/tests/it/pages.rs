//! What the operator answers over HTTP, apart from how it is doing.

use std::io::Read;
use std::net::TcpStream;

use crate::nowhere::Nowhere;
use crate::wait::seconds;

#[test]
fn metrics_are_open_metrics() {
    let nowhere = Nowhere::new();
    let operator = nowhere.operator().start();

    let (head, body) = operator.answer("GET", "/metrics");

    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn what_is_not_there_is_refused() {
    let nowhere = Nowhere::new();
    let operator = nowhere.operator().start();

    let (head, _) = operator.answer("GET", "/secrets");
    assert!(head.starts_with("HTTP/1.0 404 "), "{head}");
    let (head, _) = operator.answer("POST", "/readyz");
    assert!(head.starts_with("HTTP/1.0 405 ") && head.contains("allow: GET, HEAD"), "{head}");
    let (head, body) = operator.answer("HEAD", "/healthz");
    assert!(head.starts_with("HTTP/1.0 200 ") && body.is_empty(), "{head}{body}");
}

#[test]
fn clients_that_say_nothing_are_sent_away_and_lock_nobody_out() {
    let nowhere = Nowhere::new();
    let operator = nowhere.operator().start();
    assert_eq!(operator.page("/healthz").0, 200);
    let mut silent: Vec<TcpStream> = (0..200).map(|_| operator.connect().unwrap()).collect();

    assert_eq!(operator.page("/healthz").0, 200);
    let files = operator.vitals().files;
    assert!(files < 100, "most of 200 had to make room by then: {files} files are open");

    for stream in &mut silent {
        stream.set_read_timeout(Some(seconds(10))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection is closed without an answer");
    }
}
