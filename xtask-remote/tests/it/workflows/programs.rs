//! The programs of a machine that are not what they are called. Each writes down what it was told, and refuses what the real one refuses.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::servers::Whole;
use crate::support::{Run, on_path, root, script, tool};

/// Packages of Ubuntu 24.04 that a workflow may install: whoever adds one looks up that it is there.
const PACKAGES: &str = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross";

/// What `cargo` is.
pub enum Tools {
    /// This machine's, but for `xtask`, which is compiled already.
    OfThisMachine,
    /// One that runs nothing.
    Pretended,
}

/// Writes all of them.
pub fn stand_ins(home: &Path, tools: &Tools, ci_ends_with: i32) {
    let write = |folder: &str, name: &str, text: &str| {
        let (told, needed) = (home.join("told"), home.join("needed"));
        let text = format!("echo {name} \"$@\" >>'{}'\nPATH=$PATH:{}\n{text}", told.display(), needed.display());
        script(&home.join(folder).join(name), &text);
    };
    write("bin", "sudo", &sudo(home));
    write("bin", "rustup", &rustup(home));
    write("bin", "gh", GH);
    for folder in ["bin", "root"] {
        write(folder, "apt-get", &APT.replace("@PACKAGES@", PACKAGES));
    }
    write("root", "chown", &chown(home));
    for name in ["grep", "curl", "jq"] {
        symlink(on_path(name).unwrap(), home.join("needed").join(name)).unwrap();
    }
    for name in ["env", "id", "sh", "bash", "cat", "mkdir", "rm"] {
        symlink(on_path(name).unwrap(), home.join("root").join(name)).unwrap();
    }
    write("bin", "cargo", &cargo(home, tools, ci_ends_with));
    symlink(on_path("bash").unwrap(), home.join("bin/bash")).unwrap();
}

/// As sudo is set up on GitHub's machines: nobody is asked, and little of the environment stays.
fn sudo(home: &Path) -> String {
    let (root, env) = (home.join("root"), on_path("env").unwrap());
    format!(
        "exec '{}' -i HOME=/root LANG=C.UTF-8 PATH='{}' SUDO_GID=1001 SUDO_UID=1001 SUDO_USER=runner USER=root \"$@\"\n",
        env.display(),
        root.display()
    )
}

const APT: &str = r#"
[ -n "$SUDO_UID" ] || { echo 'E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)' >&2; exit 100; }
case $1 in
update) exit 0;;
install) shift;;
*) echo "E: Invalid operation $1" >&2; exit 100;;
esac
agreed=
for word; do
    case $word in
    --yes|-y) agreed=1;;
    --no-install-recommends|--quiet|-q) ;;
    -*) echo "E: Command line option $word is not understood" >&2; exit 100;;
    *) case " @PACKAGES@ " in *" $word "*) ;; *) echo "E: Unable to locate package $word" >&2; exit 100;; esac;;
    esac
done
[ -n "$agreed" ] || { echo 'Do you want to continue? [Y/n] Abort.'; exit 1; }
"#;

fn rustup(home: &Path) -> String {
    // Asked beforehand, for the machine may have no compiler under that name.
    static TARGETS: LazyLock<String> = LazyLock::new(|| {
        let mut ask = Command::new(on_path("rustc").unwrap());
        ask.args(["--print", "target-list"]);
        Run::of(ask).ok().stdout.replace('\n', " ")
    });
    RUSTUP.replace("@TARGETS@", &TARGETS).replace("@HAS@", &home.join("toolchains").display().to_string())
}

const RUSTUP: &str = r#"
fail() { echo "error: $*" >&2; exit 1; }
toolchain=stable
case "$1 $2" in
'toolchain install')
    [ "$4 $5" = '--profile minimal' ] && [ $# = 5 ] || fail "the tests do not know rustup $*"
    case $3 in stable|1.[1-9][0-9]|1.[1-9][0-9].[0-9]) echo "$3" >>'@HAS@'; exit 0;; esac
    fail "invalid toolchain name: '$3'";;
'target add'|'component add') what=$1; shift 2;;
"default $2")
    [ $# = 2 ] && grep --quiet --line-regexp --fixed-strings -e "$2" '@HAS@' 2>/dev/null || fail "toolchain '$2' is not installed"
    exit 0;;
*) fail "the tests do not know rustup $*";;
esac
wanted=
while [ $# -gt 0 ]; do
    if [ "$1" = --toolchain ]; then toolchain=$2; shift; else wanted="$wanted $1"; fi
    shift
done
[ "$toolchain" = stable ] || grep --quiet --line-regexp --fixed-strings -e "$toolchain" '@HAS@' 2>/dev/null ||
    fail "toolchain '$toolchain-x86_64-unknown-linux-gnu' is not installed"
for one in $wanted; do
    case $what in target) known=' @TARGETS@ ';; *) known=' clippy rust-src rustfmt ';; esac
    case $known in *" $one "*) ;;
    *) fail "toolchain '$toolchain-x86_64-unknown-linux-gnu' does not support $what '$one'";;
    esac
done
"#;

/// What root made becomes somebody's, as far as it is listed.
fn chown(home: &Path) -> String {
    let owned = home.join("of-root");
    format!(
        "[ \"$1\" = --recursive ] || {{ echo 'the tests know chown --recursive' >&2; exit 1; }}\nshift 2\nfor path; do\n\
         [ -e \"$path\" ] || {{ echo \"chown: cannot access '$path': No such file or directory\" >&2; exit 1; }}\n\
         case $path in /*) ;; *) path=$PWD/$path;; esac\n[ ! -e '{owned}' ] || while read -r line; do\n\
         case $line in \"$path\"|\"$path\"/*) ;; *) echo \"$line\";; esac\ndone <'{owned}' >'{owned}.new'\n\
         cat '{owned}.new' >'{owned}' 2>/dev/null\ndone\n",
        owned = owned.display()
    )
}

/// Nowhere does it run all checks: these tests are among them.
fn cargo(home: &Path, tools: &Tools, ci_ends_with: i32) -> String {
    let checks = PRETENDED
        .replace("@TOLD@", &home.join("told").display().to_string())
        .replace("@OWNED@", &home.join("of-root").display().to_string())
        .replace("@PARTS@", &parts())
        .replace("@CODE@", &ci_ends_with.to_string());
    let Tools::OfThisMachine = tools else { return checks };
    let (xtask, cargo) = (env!("CARGO_BIN_EXE_xtask-remote"), env!("CARGO"));
    let auditable = tool("cargo-auditable").unwrap();
    format!(
        "case \"$*\" in\n'xtask ci'*) ;;\n'xtask '*) shift; exec '{xtask}' \"$@\";;\n\
         'build --locked --package xtask-remote')\n\
         mkdir -p target/debug; printf '#!/bin/sh\\nexec \"{xtask}\" \"$@\"\\n' >target/debug/xtask-remote; exit;;\n\
         'install cargo-auditable --locked --version {}') exec ln -s '{}' '{}';;\n\
         install*) echo \"error: the tests have no crate for: cargo $*\" >&2; exit 101;;\n\
         'auditable build'*) {compile}\nexit;;\n*) exec '{cargo}' \"$@\";;\nesac\n{checks}",
        auditables_version(),
        auditable.display(),
        home.join("bin/cargo-auditable").display(),
        compile = COMPILE.replace("@CARGO@", cargo).replace("@KEPT@", &COMPILED.display().to_string()),
    )
}

/// What was compiled for these tests, by the digest of all that it depends on.
static COMPILED: LazyLock<PathBuf> = LazyLock::new(|| tempfile::tempdir().unwrap().keep());

/// Compiles what was not compiled yet: the same sources, by the same programs, with the same words and variables. Where things lie
/// makes no difference (`reproducible` proves that).
const COMPILE: &str = r#"
kept=@KEPT@/$({
    printf '%s\n' "$@"
    PATH=$PATH:/usr/bin:/bin
    sha256sum "$RUSTC" "$(command -v cc)" "$(command -v aarch64-linux-gnu-gcc)" "$(command -v cargo-auditable)"
    env | grep -E '^(CARGO|CC|CFLAGS|RUST)' | sort
    find . -path ./target -prune -o -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 cat
} | (
    PATH=$PATH:/usr/bin:/bin
    sed "s|$CARGO_TARGET_DIR|target|g; s|$PWD|source|g; s|$HOME|home|g" | sha256sum | cut -d ' ' -f 1
))
[ -d "$kept" ] || '@CARGO@' "$@" || exit
PATH=$PATH:/usr/bin:/bin
if [ ! -d "$kept" ]; then
    words=$*
    name=${words#*--bin }
    mkdir "$kept.$$"
    (cd "$CARGO_TARGET_DIR" && cp --parents */release/"${name%% *}" "$kept.$$")
    mv --no-target-directory "$kept.$$" "$kept" 2>/dev/null || rm -r "$kept.$$"
fi
mkdir -p "$CARGO_TARGET_DIR"
cp --recursive "$kept/." "$CARGO_TARGET_DIR"
"#;

/// What a run of all checks needs and leaves: tools, crates, and what was compiled. What it finds of that it says.
const PRETENDED: &str = r#"
fail() { echo "error: $*" >&2; exit 101; }
[ "$1 $2" = 'xtask ci' ] || fail "the tests do not know cargo $*"
shift 2
tools=1 compiles=1 code=@CODE@
while [ $# -gt 0 ]; do
    case $1 in
    --quick) tools=;;
    --all) ;;
    --only)
        shift
        case '@PARTS@' in *"|$1|"*|*"|$1 "*) ;; *) fail "there is no part \`$1\`";; esac
        [ "$1" != tools ] || compiles= code=0;;
    *) fail "the tests do not know cargo xtask ci $*";;
    esac
    shift
done
make() {
    [ ! -e "$2/made" ] || echo "there: $1" >>'@TOLD@'
    mkdir -p "$2"
    echo made >"$2/made"
    [ -z "$SUDO_UID" ] || echo "$2" >>'@OWNED@'
}
[ -z "$tools" ] || make tools "$HOME/.cache/xtask-tools"
[ -z "$compiles" ] || { make crates "$HOME/.cargo/registry"; make target "$PWD/target"; }
exit $code
"#;

/// The names of all parts that `cargo xtask ci` knows, as its sources have them.
fn parts() -> String {
    let text = std::fs::read_to_string(root().join("ci/src/parts.rs")).unwrap();
    let names: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    format!("|{}|", names.join("|"))
}

/// GitHub's own program, which is on every machine of GitHub's: of it, what asks the API and picks something from the answer, what sends
/// it fields, or an object, and what makes, fills and shows the release of a tag. Its release is a draft until its assets are there.
const GH: &str = r#"
[ -n "$GH_TOKEN" ] || { echo 'gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.' >&2; exit 4; }
ask() { curl --fail-with-body --silent --show-error --header "authorization: Bearer $GH_TOKEN" "$@"; }
release() {
    verb=$1 tag=$2
    shift 2
    notes= title=$tag prerelease=false verify= fields= jq=. files=
    while [ $# -gt 0 ]; do
        case $1 in
        --verify-tag) verify=1;;
        --prerelease) prerelease=true;;
        --prerelease=false) prerelease=false;;
        --title) title=$2; shift;;
        --notes-file) notes=$(cat "$2") || exit 1; shift;;
        --json) fields=$2; shift;;
        --jq) jq=$2; shift;;
        -*) echo "unknown flag: $1" >&2; exit 1;;
        *) [ -f "$1" ] || { echo "no matches found for \`$1\`" >&2; exit 1; }; files="$files $1";;
        esac
        shift
    done
    [ -n "$GH_REPO" ] || { echo 'the tests let gh know its repository by GH_REPO' >&2; exit 1; }
    releases="$GITHUB_API_URL/repos/$GH_REPO/releases"
    if [ "$verb" = create ]; then
        [ -z "$verify" ] || git ls-remote --exit-code --tags origin "refs/tags/$tag" >/dev/null ||
            { echo "tag $tag doesn't exist in the repo $GH_REPO, aborting due to --verify-tag flag" >&2; exit 1; }
        made=$(jq --null-input --arg tag "$tag" --arg name "$title" --arg body "$notes" --argjson prerelease $prerelease \
            '{tag_name: $tag, name: $name, body: $body, prerelease: $prerelease, draft: true}')
        known=$(ask --data "$made" "$releases") || { printf '%s' "$known" >&2; exit 1; }
    else
        known=$(ask "$releases/tags/$tag" 2>/dev/null) || { echo 'release not found' >&2; exit 1; }
    fi
    id=$(printf '%s' "$known" | jq .id)
    case $verb in
    view) printf '%s' "$known" | jq --raw-output "{tagName: .tag_name, body, assets} | {$fields} | $jq"; return;;
    edit) ask --request PATCH --data "$(jq --null-input --arg body "$notes" '{body: $body}')" "$releases/$id" >&2 || exit 1;;
    create|upload) ;;
    *) echo "the tests do not know gh release $verb" >&2; exit 1;;
    esac
    for file in $files; do
        ask --data-binary "@$file" "$GITHUB_API_URL/uploads/repos/$GH_REPO/releases/$id/assets?name=${file##*/}" >&2 || exit 1
    done
    [ "$verb" != create ] || ask --request PATCH --data '{"draft": false}' "$releases/$id" >&2 || exit 1
}
case $1 in
release) shift; release "$@"; exit;;
api) shift;;
*) echo "the tests do not know gh $*" >&2; exit 1;;
esac
path= jq=. fields={} method=
while [ $# -gt 0 ]; do
    case $1 in
    --paginate) ;;
    --silent) jq=empty;;
    --jq) jq=$2; shift;;
    --raw-field) fields=$(printf '%s\n' "$fields" | jq --arg name "${2%%=*}" --arg value "${2#*=}" '.[$name] = $value'); method=${method:-POST}; shift;;
    --method) method=$2; shift;;
    --input)
        [ "$2 $fields" = '- {}' ] || { echo "the tests do not know gh api --input $2, nor fields beside it" >&2; exit 1; }
        fields=$(cat) method=${method:-POST}; shift;;
    -*) echo "unknown flag: $1" >&2; exit 1;;
    *) path=$1;;
    esac
    shift
done
set -- --fail --silent --show-error --header "authorization: Bearer $GH_TOKEN"
[ -z "$method" ] || set -- "$@" --request "$method" --data "$fields"
answer=$(curl "$@" "$GITHUB_API_URL/$path") || exit 1
printf '%s\n' "$answer" | jq --raw-output "$jq"
"#;

/// What builds cosign from the workspace's lock: that takes minutes, and the test tools have the one that is built from the very same lock.
/// Nothing else can be built, nor from any other lock, nor by a Go that is older than the lock wants.
pub fn go(home: &Path, version: &str) -> String {
    let lock = root().join(LOCK);
    let manifest = std::fs::read_to_string(lock.join("go.mod")).unwrap();
    let said = |start: &str| manifest.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap().to_owned();
    let digest = |name: &str| xtask::oci::sha256_hex(&std::fs::read(lock.join(name)).unwrap());
    let program = tool("cosign").map(|program| program.display().to_string()).unwrap_or_default();
    [
        ("@TOLD@", home.join("told").display().to_string()),
        ("@HAS@", version.to_owned()),
        ("@NEEDS@", said("go ")),
        ("@SUMS@", format!("{}  go.mod\n{}  go.sum", digest("go.mod"), digest("go.sum"))),
        ("@PROGRAM@", program),
    ]
    .iter()
    .fold(GO.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Where the lock is.
const LOCK: &str = ".github/cosign";

const GO: &str = r#"
fail() { echo "go: $*" >&2; exit 1; }
echo go "$@" >>'@TOLD@'
[ "$GOTOOLCHAIN" = local ] || fail 'the tests have no other toolchain to download'
[ "$GOFLAGS" = -mod=readonly ] || fail 'without -mod=readonly the lock might change'
[ "$(sha256sum go.mod go.sum)" = '@SUMS@' ] || fail 'updates to go.mod needed, or SECURITY ERROR: checksum mismatch'
older() { [ "${1%%.*}" -lt "${2%%.*}" ] || { rest=${1#*.}; other=${2#*.}; [ "${rest%%.*}" -lt "${other%%.*}" ]; }; }
! older '@HAS@' '@NEEDS@' || fail 'go.mod requires go >= @NEEDS@ (running go @HAS@; GOTOOLCHAIN=local)'
case "$*" in
'build -trimpath -ldflags -s -w -o '*' github.com/sigstore/cosign/v3/cmd/cosign') ;;
*) fail "the tests do not know go $*";;
esac
while [ "$1" != -o ]; do shift; done
[ -x '@PROGRAM@' ] || fail 'the test tools have no cosign'
printf '#!/bin/sh
exec "@PROGRAM@" "$@"
' >"$2" && chmod +x "$2"
"#;

/// The version that the test tools have, and the only one that can be had.
fn auditables_version() -> String {
    let text = std::fs::read_to_string(root().join("ci/test-tools/tools.toml")).unwrap();
    let tools: toml_edit::DocumentMut = text.parse().unwrap();
    let crates = tools["cargo"].as_array_of_tables().unwrap();
    let auditable = crates.iter().find(|one| one["name"].as_str() == Some("cargo-auditable")).unwrap();
    auditable["version"].as_str().unwrap().to_owned()
}

/// An archive like the official one, whose program has a database of the test's own to download.
pub fn trivy_archive(whole: &Whole) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (cache, trivy) = (whole.laboratory.cache(), whole.laboratory.programs.join("trivy"));
    let text = format!(
        "case \"$*\" in\n'image --download-db-only') mkdir -p \"$HOME/.cache\"; cp -r '{}/trivy' \"$HOME/.cache/\";;\n\
         *) exec '{}' \"$@\";;\nesac\n",
        cache.display(),
        trivy.display()
    );
    script(&folder.path().join("trivy"), &text);
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--file", "trivy.tar.gz", "trivy"]).current_dir(folder.path());
    Run::of(tar).ok();
    let digest = xtask::oci::sha256_hex(&std::fs::read(folder.path().join("trivy.tar.gz")).unwrap());
    (folder, digest)
}
