//! What `doctor` says where AWS cannot be used: a sentence for each problem, and a remedy that fits it.

use std::process::Command;

use crate::servers::{Fault, Production, When};
use crate::support::Run;

const WORDS: [&str; 3] = ["doctor", "--to", "production"];

#[test]
fn x7_doctor_says_in_a_sentence_what_aws_will_not_do_and_a_remedy_that_fits() {
    let Some(production) = Production::new() else { return };
    let mut told = String::new();
    let mut tell = |problem: &str, command: Command| {
        let stderr = Run::of(command).fails(4, "a release to `production` needs: ").stderr;
        for forbidden in ["{ ", "Some(", "DispatchFailure", "source:"] {
            assert!(!stderr.contains(forbidden), "`{forbidden}` is the SDK's own language:\n{stderr}");
        }
        told += &format!("# {problem}\n{}\n", of_the_index(&stderr));
    };
    tell("no credentials", production.acquaint(production.demo.command(&WORDS)));
    let mut wrong = production.command(&WORDS);
    wrong.env("AWS_SECRET_ACCESS_KEY", "another");
    tell("a wrong secret", wrong);
    for (problem, status, code) in [
        ("expired credentials", 400, "ExpiredToken"),
        ("a bucket in another region", 301, "PermanentRedirect"),
        ("a forbidden bucket", 403, "AccessDenied"),
    ] {
        production.s3.inject(When::asked("*", ""), Fault::Error { status, code, retry_after: None });
        tell(problem, production.command(&WORDS));
        production.s3.heal();
    }
    let endpoints = production.demo.read("Cargo.toml");
    let nowhere = endpoints.replace(&production.s3.url(), "http://no-such-host.invalid:9");
    production.demo.write("Cargo.toml", nowhere);
    tell("no network", production.command(&WORDS));
    let elsewhere = endpoints.replace("region = \"us-east-1\"", "region = \"eu-north-1\"");
    production.demo.write("Cargo.toml", elsewhere.replace("stack = \"demo-charts\"", "stack = \"missing\""));
    tell("no stack in the region", production.command(&WORDS));
    insta::assert_snapshot!(told);
}

/// What was said of the index, which every release reads first: the problem, and what to do.
fn of_the_index(stderr: &str) -> String {
    let lines = stderr.lines().skip_while(|line| !line.contains("index: "));
    let told: Vec<&str> = lines.take_while(|line| !line.starts_with("error: ")).map(str::trim).collect();
    told.join("\n")
}
