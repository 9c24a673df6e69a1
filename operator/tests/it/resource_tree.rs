//! Resource trees, which the operator gets from Argo CD in place of the extension.

use std::process::Output;
use std::time::Instant;

use serde_json::Value;

use crate::argocd_api::{ArgoCd, Manner, TOKEN, TREE};
use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::nowhere::Nowhere;
use crate::operator::Operator;
use crate::tenant::Tenant;
use crate::wait::{seconds, until};

fn get(operator: Operator, application: &str) -> Output {
    // As the extension calls it.
    operator.run(&["query", "argocd", "resource-tree", "get", application, "--namespace=shop", "--format=json"])
}

/// What the extension makes of an answer (3.1 of the contract): the tree; otherwise the code, if there is one, and the message.
fn read(output: &Output) -> Result<Value, (Option<String>, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let tree: Option<Value> = serde_json::from_str(&text(&output.stdout)).ok();
    if let Some(tree) = tree.filter(|tree| output.status.success() && tree.is_object()) {
        return Ok(tree);
    }
    let stderr = text(&output.stderr);
    let refusal: Value = serde_json::from_str(&stderr).unwrap_or_default();
    if refusal["ok"] != false {
        return Err((None, stderr));
    }
    let word = |field: &str| refusal[field].as_str().map(str::to_owned);
    Err((word("code"), word("message").or(word("code")).unwrap_or_default()))
}

#[test]
fn f9_a_tree_is_printed_as_argocd_tells_it_in_a_form_that_the_extension_can_read() {
    let argocd = ArgoCd::start();
    argocd.issue(&format!("{TOKEN}\n"));
    let output = get(argocd.known_to(Operator::new()), "guestbook");

    let expected: Value = serde_json::from_str(TREE).unwrap();
    assert_eq!(read(&output), Ok(expected));
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b' '..=b'~');
    assert!(output.stdout.iter().all(is_plain), "the extension may get any two bytes apart");
    assert!(output.stdout.starts_with(&TREE.as_bytes()[..60]), "nothing is written in another way");
    assert_eq!(argocd.asked(), ["/api/v1/applications/guestbook/resource-tree?appNamespace=shop"]);
    let empty = argocd.known_to(Operator::new()).run(&["query", "argocd", "resource-tree", "get", "empty"]);
    assert_eq!(read(&empty), Ok(serde_json::json!({})));
    assert_eq!(argocd.asked(), ["/api/v1/applications/empty/resource-tree"]);
}

/// The code and the details of a refusal, once it has the form that the extension reads, and the exit code of the contract.
#[track_caller]
fn refusal(output: &Output) -> (String, String) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (code, message) = read(output).expect_err("a refusal");
    assert!(!message.is_empty() && output.stdout.is_empty() && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{stderr:?}");
    assert!(!stderr.contains(&TOKEN[..20]), "{stderr}");
    let code = code.unwrap_or_default();
    let exit = match &*code {
        "INVALID_ARGUMENT" => 2,
        "APPLICATION_NOT_FOUND" => 3,
        "ARGOCD_TOKEN_MISSING" | "ARGOCD_AUTH_FAILED" => 4,
        "ARGOCD_RBAC_DENIED" => 5,
        "TIMEOUT" => 6,
        "ARGOCD_API_UNREACHABLE" | "ARGOCD_NOT_DETECTED" => 7,
        "INTERNAL_ERROR" => 1,
        _ => panic!("{stderr}"),
    };
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    (code, stderr.into_owned())
}

#[test]
fn f9_every_refusal_has_the_code_that_the_extension_knows() {
    let argocd = ArgoCd::start();
    argocd.issue(TOKEN);
    let known = || argocd.known_to(Operator::new());
    let code = |operator: Operator, application: &str| refusal(&get(operator, application)).0;
    for application in ["Guest_book", "", "../secrets", "a?b"] {
        assert_eq!(code(known(), application), "INVALID_ARGUMENT", "{application}");
    }
    for more in [&[][..], &["guestbook", "--format=table"], &["guestbook", "--namespace=*"], &["guestbook", "x"]] {
        let arguments = [&["query", "argocd", "resource-tree", "get"], more].concat();
        assert_eq!(refusal(&known().run(&arguments)).0, "INVALID_ARGUMENT", "{more:?}");
    }
    assert_eq!(argocd.asked(), [""; 0], "nobody is asked in vain");
    assert_eq!(code(known(), "moved"), "APPLICATION_NOT_FOUND");
    assert_eq!(code(known(), "nosuch"), "ARGOCD_RBAC_DENIED", "Argo CD does not tell more");
    assert_eq!(code(known().with("ARGOCD_ENABLED", "false"), "guestbook"), "ARGOCD_NOT_DETECTED");
    assert_eq!(code(known().with("ARGOCD_API_TIMEOUT_MS", "1"), "guestbook"), "INTERNAL_ERROR");
    let lost = Nowhere::new();
    assert_eq!(code(argocd.known_to(lost.operator()).with("ARGOCD_API_BASE_URL", ""), "guestbook"), "INTERNAL_ERROR");

    argocd.issue("eyJhbGciOiJIUzI1NiJ9.of-somebody.else");
    assert_eq!(code(known(), "guestbook"), "ARGOCD_AUTH_FAILED");
    for token in [" \n", "two\nlines"] {
        argocd.issue(token);
        assert_eq!(code(known(), "guestbook"), "ARGOCD_TOKEN_MISSING", "{token:?}");
    }
    assert_eq!(code(known().with("ARGOCD_API_TOKEN_FILE", "/nowhere"), "guestbook"), "ARGOCD_TOKEN_MISSING");
    assert_eq!(code(Operator::new(), "guestbook"), "ARGOCD_TOKEN_MISSING");
}

#[test]
fn f9_a_server_that_nobody_vouches_for_gets_no_token_unless_a_user_wants_that() {
    let (argocd, other) = (ArgoCd::start(), ArgoCd::start());
    argocd.issue(TOKEN);
    let believing = |file: &str| get(argocd.known_to(Operator::new()).with("ARGOCD_API_CA_FILE", file), "guestbook");
    for file in [other.authority_file().to_str().unwrap(), "/nowhere", ""] {
        let (code, text) = refusal(&believing(file));
        assert!(code == "ARGOCD_API_UNREACHABLE" && text.contains("argocd.api.ca"), "{file}: {text}");
    }
    assert_eq!(argocd.asked(), [""; 0]);
    let blind = argocd.known_to(Operator::new()).with("ARGOCD_API_CA_FILE", "").with("ARGOCD_API_TLS_INSECURE", "true");
    assert!(read(&get(blind, "guestbook")).is_ok());
}

#[test]
fn f9_whatever_a_server_answers_the_query_ends_soon_and_gives_nothing_away() {
    let argocd = ArgoCd::start();
    argocd.issue(TOKEN);
    let answers = [
        (Manner::Silent, "TIMEOUT", "within 1s"),
        (Manner::Half, "ARGOCD_API_UNREACHABLE", "end of file before message length"),
        (Manner::Endless, "ARGOCD_API_UNREACHABLE", "longer than 8388608 bytes"),
        (Manner::Redirect, "ARGOCD_API_UNREACHABLE", "HTTP 307"),
        (Manner::Broken, "ARGOCD_API_UNREACHABLE", "error getting cached app resource tree"),
        (Manner::RepeatsInRefusal, "INTERNAL_ERROR", "Bearer [token]"),
    ];
    for (manner, code, text) in answers {
        argocd.behave(manner);
        let start = Instant::now();
        // A debug build on a busy machine takes its time for 8 MB.
        let output = get(
            argocd
                .known_to(Operator::new())
                .with("ARGOCD_API_TIMEOUT_MS", if manner == Manner::Silent { "1000" } else { "15000" }),
            "guestbook",
        );
        assert!(start.elapsed() < seconds(20), "{manner:?}");
        let told = refusal(&output);
        assert!(told.0 == code && told.1.contains(text), "{manner:?}: {told:?}");
        assert_eq!(argocd.asked().len(), 1, "{manner:?} is asked once, and nobody else");
    }
    argocd.behave(Manner::Honest);
    let beside = argocd.known_to(Operator::new()).with("ARGOCD_API_BASE_URL", &format!("{}/x", argocd.address()));
    let (code, text) = refusal(&get(beside, "guestbook"));
    assert!(code == "ARGOCD_API_UNREACHABLE" && text.contains("no resource tree"), "{text}");
}

/// Where there is Argo CD: whether it would tell is in the status, and follows the token.
pub(crate) fn shows_in_the_status(cluster: &Cluster) {
    let argocd = ArgoCd::start();
    let tenant = Tenant::new(cluster);
    // A minute is a second.
    let start = Instant::now();
    let operator = argocd.known_to(tenant.operator().with("TEST_CLOCK_SPEED", "60")).start();
    let told = |code: &str| {
        until(&format!("the status says {code}"), seconds(20), || {
            let argocd = tenant.status()?.0["argocd"].clone();
            let (capable, error) = (&argocd["resourceTreeCapable"], &argocd["resourceTreeLastError"]["code"]);
            (if code.is_empty() { *capable == true } else { *capable == false && *error == code }).then_some(())
        });
    };
    told("ARGOCD_TOKEN_MISSING");
    argocd.issue(TOKEN);
    told("");
    assert_eq!(argocd.asked(), ["/api/v1/applications?fields=items.metadata.name"]);
    // After what went well, too, the next one comes in five minutes, though no file changes.
    argocd.behave(Manner::NoPolicy);
    told("ARGOCD_RBAC_DENIED");
    argocd.behave(Manner::Honest);
    argocd.issue("eyJhbGciOiJIUzI1NiJ9.of-somebody.else");
    told("ARGOCD_AUTH_FAILED");
    argocd.behave(Manner::Silent);
    argocd.issue(TOKEN);
    told("TIMEOUT");
    assert!(argocd.asked().len() as u64 <= start.elapsed().as_secs(), "not more than one a minute");
    operator.wait_until_ready(seconds(5));
    assert_eq!(tenant.verdict().mode, Mode::Operated, "Argo CD is no trouble of the operator's");

    // Nothing answers by that name here, which takes as long as it takes; the name itself is from the status.
    let start = Instant::now();
    let found = argocd.known_to(tenant.operator()).with("ARGOCD_API_BASE_URL", "");
    let (_, text) = refusal(&get(found, "guestbook"));
    assert!(text.contains("https://argocd-server.gitops.svc"), "{text}");
    assert!(start.elapsed() < seconds(10), "{:?}", start.elapsed());
}

/// The same where there is none.
pub(crate) fn are_not_asked_for(tenant: &Tenant<'_>) {
    let argocd = ArgoCd::start();
    argocd.issue(TOKEN);
    let output = get(argocd.known_to(tenant.operator()).with("ARGOCD_API_BASE_URL", ""), "guestbook");
    assert_eq!(refusal(&output).0, "ARGOCD_NOT_DETECTED");
}
