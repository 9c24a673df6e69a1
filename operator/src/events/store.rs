//! The door to the database file: one table of events, one row for each, however often it happens.
//!
//! The operator writes through a `Store`; whoever asks reads through a connection of its own, in a process of its own,
//! and neither waits for the other. A file that makes no sense is moved aside and begun anew: what it held is history,
//! and most of it comes back from the API server.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Statement, TransactionBehavior, named_params};

use super::Filter;
use super::keep::CutOffs;
use super::record::{Record, Severity};
use crate::config::Place;
use crate::time::Timestamp;

const FILE: &str = "kube9.db";

/// From one version of the tables to the next; what was released is never changed.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE events (
        uid TEXT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL,
        severity TEXT NOT NULL,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        object_kind TEXT,
        object_namespace TEXT,
        object_name TEXT,
        reason TEXT,
        count INTEGER NOT NULL,
        first_microseconds INTEGER NOT NULL,
        last_microseconds INTEGER NOT NULL
    );
    CREATE INDEX events_by_time ON events (last_microseconds, uid);
    CREATE INDEX events_by_namespace ON events (object_namespace);
"];

/// What comes late or twice changes nothing: the row is always of the time that was last heard of.
const UPSERT: &str = "
    INSERT INTO events VALUES (:uid, :id, :severity, :title, :description, :kind, :namespace, :name, :reason, :count,
        :first, :last)
    ON CONFLICT (uid) DO UPDATE SET
        severity = excluded.severity, title = excluded.title, description = excluded.description,
        reason = excluded.reason, count = excluded.count, last_microseconds = excluded.last_microseconds
    WHERE (excluded.last_microseconds, excluded.count) > (events.last_microseconds, events.count)";

const MATCHING: &str = "
    FROM events WHERE last_microseconds >= :since
    AND (:namespace IS NULL OR object_namespace = :namespace) AND (:kind IS NULL OR object_kind = :kind)";

/// Few enough that nobody notices the pause.
const REMOVED_AT_A_TIME: usize = 1000;

/// A writer and readers do not wait for each other; what is left is the moment in which a file is begun.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    /// None after a failure.
    connection: Option<Connection>,
}

impl Store {
    pub(crate) fn open(place: Place) -> Result<Self, Trouble> {
        let mut store = Self::closed(place);
        let opened = patiently(|| store.attempt(|_, _| Ok(())));
        let opened = match opened {
            Err(trouble) if trouble.kind == Kind::Damaged => patiently(|| store.attempt(|_, _| Ok(()))),
            // Nobody else will make it readable, and whoever may write to the folder may move it.
            Err(trouble) if trouble.kind == Kind::Unopened && store.place.file().exists() => {
                set_aside(&store.place.file(), &trouble)?;
                patiently(|| store.attempt(|_, _| Ok(())))
            }
            opened => opened,
        };
        opened.map(|()| store)
    }

    /// One that is opened when it is used.
    pub(super) fn closed(place: Place) -> Self {
        Self { place, connection: None }
    }

    /// Writes all or nothing, and tells the severity of what is new or changed.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<Vec<Severity>, Trouble> {
        self.attempt(|connection, place| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut changed = Vec::new();
            {
                let mut upsert = transaction.prepare(UPSERT)?;
                for record in records {
                    if put(&mut upsert, record)? > 0 {
                        changed.push(record.severity);
                    }
                }
            }
            make_room(&transaction, place)?;
            transaction.commit()?;
            Ok(changed)
        })
    }

    /// Removes some of what has been kept for long enough, and tells how many that was; none when all is done.
    pub(super) fn expire(&mut self, cut_offs: CutOffs) -> Result<usize, Trouble> {
        self.attempt(|connection, _| {
            let removed = connection.execute(
                "DELETE FROM events WHERE uid IN (
                    SELECT uid FROM events
                    WHERE last_microseconds < max(:mild, :grave)
                    AND last_microseconds < iif(severity IN ('error', 'critical'), :grave, :mild) LIMIT :limit)",
                named_params! {
                    ":mild": cut_offs.info_and_warning.timestamp_micros(),
                    ":grave": cut_offs.error_and_critical.timestamp_micros(),
                    ":limit": REMOVED_AT_A_TIME,
                },
            )?;
            Ok(removed)
        })
    }

    /// What the files take on the disk.
    pub(super) fn bytes(&self) -> u64 {
        let files = ["", "-wal", "-shm", ".damaged"].map(|end| beside(&self.place.file(), end));
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum()
    }

    /// After any failure the file is opened anew the next time; what is damaged is moved aside, and that is one, too,
    /// since what it held has to be had from somewhere else.
    fn attempt<T>(&mut self, act: impl FnOnce(&mut Connection, &Place) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let result = connected(&mut self.connection, &self.place).and_then(|connection| act(connection, &self.place));
        if let Err(trouble) = &result {
            self.connection = None;
            if trouble.kind == Kind::Damaged {
                set_aside(&self.place.file(), trouble)?;
            }
        }
        result
    }
}

impl Place {
    fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What rows may take. The rest is for the journal, and for one damaged file that was moved aside.
    fn bytes_of_rows(&self) -> u64 {
        self.bytes / 8 * 3
    }
}

/// Some of the newest events, and how many there are in all.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    pub(crate) total: usize,
}

/// Reads in the order of a live query, and never writes.
pub(crate) fn list(folder: &Path, filter: &Filter) -> Result<Found, Trouble> {
    patiently(|| list_once(folder, filter))
}

fn list_once(folder: &Path, filter: &Filter) -> Result<Found, Trouble> {
    let file = folder.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Both questions are about one moment.
    let moment = connection.transaction()?;
    let since = filter.since.unwrap_or(Timestamp::MIN_UTC).timestamp_micros();
    let matching = named_params! { ":since": since, ":namespace": filter.namespace, ":kind": filter.kind };
    let total = moment.query_row(&format!("SELECT count(*) {MATCHING}"), matching, |row| row.get(0))?;
    let page = format!(
        "SELECT * {MATCHING} ORDER BY severity <> 'info' DESC, last_microseconds DESC, uid DESC LIMIT {} OFFSET {}",
        filter.limit, filter.offset
    );
    let records = moment.prepare(&page)?.query_map(matching, record)?.collect::<Result<_, _>>()?;
    Ok(Found { records, total })
}

/// Where a file is begun, or taken up after a crash, SQLite may refuse whoever comes second instead of waiting.
fn patiently<T>(mut act: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let start = Instant::now();
    loop {
        match act() {
            Err(trouble) if trouble.kind == Kind::Busy && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn connected<'store>(
    connection: &'store mut Option<Connection>,
    place: &Place,
) -> Result<&'store mut Connection, Trouble> {
    match connection {
        Some(connection) => is_itself(&place.file()).map(|()| connection),
        none => Ok(none.insert(connect(place)?)),
    }
}

fn connect(place: &Place) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(place.file(), flags)?;
    connection.busy_timeout(PATIENCE)?;
    // The limit on pages is a last resort: room is made before.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1024;
        PRAGMA wal_autocheckpoint = 500; PRAGMA journal_size_limit = 4000000; PRAGMA max_page_count = {}",
        place.bytes / 2 / PAGE
    ))?;
    if connection.is_readonly("main")? {
        return Err(Trouble { kind: Kind::ReadOnly, message: "the file cannot be written".to_owned() });
    }
    migrate(&mut connection)?;
    Ok(connection)
}

/// SQLite's own default.
const PAGE: u64 = 4096;

fn migrate(connection: &mut Connection) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")?;
    let version: usize =
        transaction.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    let Some(missing) = MIGRATIONS.get(version..) else {
        let message = format!("it was written by a later version of the operator (schema {version})");
        return Err(Trouble { kind: Kind::Damaged, message });
    };
    for (migration, version) in missing.iter().zip(version + 1..) {
        transaction.execute_batch(migration)?;
        transaction.execute("INSERT INTO schema_version VALUES (?1)", [version])?;
    }
    transaction.commit()?;
    Ok(())
}

fn put(upsert: &mut Statement, record: &Record) -> rusqlite::Result<usize> {
    upsert.execute(named_params! {
        ":uid": record.uid,
        ":id": record.id,
        ":severity": record.severity.label(),
        ":title": record.title,
        ":description": record.description,
        ":kind": record.kind,
        ":namespace": record.namespace,
        ":name": record.name,
        ":reason": record.reason,
        ":count": record.count,
        ":first": record.first.timestamp_micros(),
        ":last": record.last.timestamp_micros(),
    })
}

/// Removes the oldest rows, the mild ones first, when all together take more room than they may. They come from the namespace
/// with the most rows where that has more than twice its share, so that nobody's events cost others theirs.
fn make_room(connection: &Connection, place: &Place) -> Result<(), Trouble> {
    let pages = |name| connection.pragma_query_value::<u64, _>(None, name, |row| row.get(0));
    let used = pages("page_count")? - pages("freelist_count")?;
    if used * PAGE <= place.bytes_of_rows() {
        return Ok(());
    }
    let sums = "SELECT sum(held), count(*), max(held), namespace FROM
        (SELECT count(*) AS held, object_namespace AS namespace FROM events GROUP BY object_namespace)";
    let (rows, namespaces, most, namespace): (usize, usize, usize, Option<String>) =
        connection.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let share = rows / namespaces.max(1);
    let limit = rows / 20 + 1;
    let oldest = "ORDER BY severity IN ('error', 'critical'), last_microseconds LIMIT :limit";
    let removed = if most > share * 2 {
        let delete = format!(
            "DELETE FROM events WHERE uid IN (SELECT uid FROM events WHERE object_namespace IS :namespace {oldest})"
        );
        connection.execute(&delete, named_params! {":namespace": namespace, ":limit": limit.min(most - share)})?
    } else {
        let delete = format!("DELETE FROM events WHERE uid IN (SELECT uid FROM events {oldest})");
        connection.execute(&delete, named_params! {":limit": limit})?
    };
    tracing::warn!(removed, "the event store is full; the oldest events make room");
    Ok(())
}

/// What others read under the file's name is still what is written here. It is not opened for that: closing it again would
/// take SQLite's own locks away, which belong to the process (<https://sqlite.org/howtocorrupt.html>, 2.2).
fn is_itself(file: &Path) -> Result<(), Trouble> {
    let kind = match fs::metadata(file) {
        Ok(metadata) if metadata.len() >= PAGE && metadata.len().is_multiple_of(PAGE) => return Ok(()),
        Ok(_) => Kind::Damaged,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Kind::Gone,
        Err(error) => return Err(error.into()),
    };
    Err(Trouble { kind, message: "somebody else removed or overwrote the file".to_owned() })
}

/// One such file is kept, for whoever wants to know what became of it.
fn set_aside(file: &Path, trouble: &Trouble) -> Result<(), Trouble> {
    let aside = beside(file, ".damaged");
    tracing::error!(%trouble, kept_as = %aside.display(), "the event store cannot be used, and is begun anew");
    // What was put there the last time may be of another kind.
    if aside.is_dir() != file.is_dir() || aside.is_dir() {
        let _ = if aside.is_dir() { fs::remove_dir_all(&aside) } else { fs::remove_file(&aside) };
    }
    fs::rename(file, &aside)?;
    for end in ["-wal", "-shm"] {
        match fs::remove_file(beside(file, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn record(row: &Row) -> rusqlite::Result<Record> {
    let time = |column| {
        let microseconds = row.get(column)?;
        Timestamp::from_timestamp_micros(microseconds).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, microseconds))
    };
    let severity: String = row.get("severity")?;
    Ok(Record {
        uid: row.get("uid")?,
        id: row.get("id")?,
        severity: Severity::from_label(&severity),
        title: row.get("title")?,
        description: row.get("description")?,
        kind: row.get("object_kind")?,
        namespace: row.get("object_namespace")?,
        name: row.get("object_name")?,
        reason: row.get("reason")?,
        count: row.get("count")?,
        first: time("first_microseconds")?,
        last: time("last_microseconds")?,
    })
}

/// Why the file could not be used.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Busy,
    /// There is none, or one that this user may not open.
    Unopened,
    Damaged,
    Full,
    Gone,
    ReadOnly,
    Other,
}

impl Trouble {
    /// Part of the metrics' interface.
    pub(super) fn label(&self) -> &'static str {
        match self.kind {
            Kind::Busy => "busy",
            Kind::Damaged => "damaged",
            Kind::Full => "full",
            Kind::Gone => "gone",
            Kind::ReadOnly => "read_only",
            Kind::Unopened | Kind::Other => "other",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Damaged,
            Some(ErrorCode::CannotOpen) => Kind::Unopened,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Kind::Busy
            }
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::ReadOnly) => Kind::ReadOnly,
            _ => Kind::Other,
        };
        Self { kind, message: error.to_string() }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull => Kind::Full,
            io::ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
            _ => Kind::Other,
        };
        Self { kind, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::Retention;
    use crate::events::Event;

    const ALL: Filter = Filter { namespace: None, kind: None, since: None, limit: 1000, offset: 0 };

    fn start() -> Timestamp {
        "2026-08-03T12:00:00Z".parse().unwrap()
    }

    /// That happened so many times by so many seconds after the start.
    fn event(uid: &str, reason: &str, count: u32, second: i64) -> Record {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"uid": uid, "creationTimestamp": start()}, "type": "Warning", "reason": reason,
            "message": format!("{count} by {second}"), "count": count,
            "involvedObject": {"kind": "Pod", "namespace": format!("of-{uid}"), "name": "cart"},
            "firstTimestamp": start(), "lastTimestamp": start() + TimeDelta::seconds(second),
        }))
        .unwrap();
        Record::of(&event, start() + TimeDelta::hours(24))
    }

    fn place(folder: &Path) -> Place {
        Place { folder: folder.to_owned(), bytes: 16 * 1024 * 1024 }
    }

    fn new_store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(place(folder.path())).unwrap();
        (folder, store)
    }

    fn uids(folder: &Path, filter: &Filter) -> Vec<String> {
        list(folder, filter).unwrap().records.into_iter().map(|record| record.uid).collect()
    }

    #[test]
    fn f1_what_happens_again_is_one_row_with_a_higher_count() {
        let (folder, mut store) = new_store();
        assert_eq!(store.write(&[event("a", "BackOff", 1, 0)]).unwrap(), [Severity::Warning]);
        assert_eq!(store.write(&[event("a", "BackOff", 7, 9)]).unwrap(), [Severity::Warning]);
        assert_eq!(store.write(&[event("a", "BackOff", 7, 9), event("a", "BackOff", 1, 0)]).unwrap(), []);
        assert_eq!(list(folder.path(), &ALL).unwrap().records, [event("a", "BackOff", 7, 9)]);
    }

    #[test]
    fn f2_rows_are_there_after_the_file_is_opened_again() {
        let (folder, mut store) = new_store();
        store.write(&[event("a", "Failed", 1, 0)]).unwrap();
        drop(store);
        let mut store = Store::open(place(folder.path())).unwrap();
        store.write(&[event("a", "Failed", 1, 0)]).unwrap();
        assert_eq!(uids(folder.path(), &ALL), ["a"]);
    }

    #[test]
    fn f3_each_severity_is_kept_for_its_own_time() {
        let (folder, mut store) = new_store();
        store.write(&[event("mild", "BackOff", 1, 0), event("grave", "Failed", 1, 0)]).unwrap();
        store.write(&[event("newer", "BackOff", 1, 60)]).unwrap();
        let retention = Retention { info_and_warning: Days::new(1), error_and_critical: Days::new(2) };
        let half_a_minute = TimeDelta::seconds(30);
        let mut expire = |days| store.expire(retention.cut_offs(start() + Days::new(days) + half_a_minute)).unwrap();
        assert_eq!((expire(0), expire(1)), (0, 1));
        assert_eq!(uids(folder.path(), &ALL), ["newer", "grave"]);
        assert_eq!((expire(2), expire(2)), (2, 0));
    }

    #[test]
    fn rows_are_found_by_namespace_kind_and_time_newest_first() {
        let (folder, mut store) = new_store();
        let records: Vec<Record> = (0..9).map(|second| event(&second.to_string(), "Failed", 1, second)).collect();
        store.write(&records).unwrap();
        let page = list(folder.path(), &Filter { limit: 2, offset: 1, ..ALL }).unwrap();
        assert_eq!((page.total, page.records), (9, vec![event("7", "Failed", 1, 7), event("6", "Failed", 1, 6)]));
        assert_eq!(uids(folder.path(), &Filter { namespace: Some("of-3".to_owned()), ..ALL }), ["3"]);
        assert_eq!(uids(folder.path(), &Filter { kind: Some("Node".to_owned()), ..ALL }), Vec::<String>::new());
        let since = Some(start() + TimeDelta::seconds(7));
        assert_eq!(uids(folder.path(), &Filter { since, ..ALL }), ["8", "7"]);
    }

    #[test]
    fn trouble_comes_before_what_is_newer_and_fine() {
        let (folder, mut store) = new_store();
        let fine = Record { severity: Severity::Info, ..event("fine", "NodeReady", 1, 9) };
        store.write(&[fine, event("older", "BackOff", 1, 0), event("newer", "Failed", 1, 5)]).unwrap();
        assert_eq!(uids(folder.path(), &ALL), ["newer", "older", "fine"]);
    }

    #[test]
    fn the_oldest_make_room_the_mild_ones_first() {
        let (folder, mut store) = new_store();
        let long = "x".repeat(900);
        let fill = |store: &mut Store, reason: &str, from: i64, to: i64| {
            let records = (from..to).map(|second| Record {
                description: long.clone(),
                ..event(&format!("{second:05}"), reason, 1, second)
            });
            let records: Vec<Record> = records.collect();
            records.chunks(250).for_each(|batch| drop(store.write(batch).unwrap()));
        };
        fill(&mut store, "Failed", 0, 1000);
        fill(&mut store, "BackOff", 1000, 12_000);
        let room = place(folder.path()).bytes_of_rows();
        assert!(fs::metadata(folder.path().join(FILE)).unwrap().len() <= room + 2_000_000);
        let found = list(folder.path(), &Filter { limit: 12_000, ..ALL }).unwrap();
        let uids: Vec<&str> = found.records.iter().map(|record| record.uid.as_str()).collect();
        assert!(
            found.total < 11_000 && uids.first() == Some(&"11999") && uids.last() == Some(&"00000"),
            "{}",
            found.total
        );
        assert!(!uids.contains(&"01000"), "the oldest of the mild ones are gone");
    }

    #[test]
    fn a_namespace_with_more_than_its_share_makes_room_before_others_do() {
        let (folder, mut store) = new_store();
        let of = |namespace: &str, reason: &str, from: i64, to: i64| -> Vec<Record> {
            let record = |second| Record {
                description: "x".repeat(900),
                namespace: Some(namespace.to_owned()),
                ..event(&format!("{namespace}-{second}"), reason, 1, second)
            };
            (from..to).map(record).collect()
        };
        for quiet in ["a", "b", "c"] {
            store.write(&of(quiet, "BackOff", 0, 100)).unwrap();
        }
        of("noisy", "Failed", 1000, 12_000).chunks(250).for_each(|batch| drop(store.write(batch).unwrap()));
        let kept = |namespace: &str| {
            let filter = Filter { namespace: Some(namespace.to_owned()), ..ALL };
            list(folder.path(), &filter).unwrap().total
        };
        assert_eq!(["a", "b", "c"].map(kept), [100; 3], "the oldest and mildest of all, but not many");
        assert!(kept("noisy") < 10_000, "{}", kept("noisy"));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_moved_aside_and_begun_anew() {
        let (folder, mut store) = new_store();
        store.write(&[event("a", "Failed", 1, 0)]).unwrap();
        let file = folder.path().join(FILE);
        // While it is in use, and before it is.
        fs::write(&file, "this was somebody's shopping list").unwrap();
        assert_eq!(store.write(&[event("b", "Failed", 1, 0)]).unwrap_err().label(), "damaged");
        store.write(&[event("b", "Failed", 1, 0)]).unwrap();
        assert_eq!(uids(folder.path(), &ALL), ["b"]);
        drop(store);
        fs::write(&file, "and this is another one, a bit longer").unwrap();
        let mut store = Store::open(place(folder.path())).unwrap();
        store.write(&[event("c", "Failed", 1, 0)]).unwrap();
        assert_eq!(uids(folder.path(), &ALL), ["c"]);
        let aside = fs::read_to_string(beside(&file, ".damaged")).unwrap();
        assert_eq!(aside, "and this is another one, a bit longer");
    }

    #[test]
    fn what_cannot_be_opened_is_moved_aside_and_a_store_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(beside(&file, ".damaged"), "of another time").unwrap();
        for note in ["first", "second"] {
            // Whoever runs the tests may open any file, but no folder.
            fs::create_dir(&file).unwrap();
            fs::write(file.join("note"), note).unwrap();
            let mut store = Store::open(place(folder.path())).unwrap();
            store.write(&[event("a", "Failed", 1, 0)]).unwrap();
            assert_eq!(uids(folder.path(), &ALL), ["a"]);
            assert_eq!(fs::read_to_string(beside(&file, ".damaged").join("note")).unwrap(), note);
            drop(store);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_file_that_somebody_removed_is_begun_anew() {
        let (folder, mut store) = new_store();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        assert_eq!(store.write(&[event("a", "Failed", 1, 0)]).unwrap_err().label(), "gone");
        store.write(&[event("a", "Failed", 1, 0)]).unwrap();
        assert_eq!(uids(folder.path(), &ALL), ["a"]);
    }

    #[test]
    fn a_file_of_a_later_operator_is_moved_aside() {
        let (folder, store) = new_store();
        drop(store);
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.execute("INSERT INTO schema_version VALUES (99)", []).unwrap();
        drop(connection);
        let mut store = Store::open(place(folder.path())).unwrap();
        store.write(&[event("a", "Failed", 1, 0)]).unwrap();
        assert!(beside(&folder.path().join(FILE), ".damaged").is_file());
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let trouble = Store::open(place(Path::new("/nowhere/at/all"))).unwrap_err();
        assert!(trouble.to_string().contains("unable to open database file"), "{trouble}");
    }

    /// `.cargo/config.toml` is not read by everything that can build this.
    #[test]
    fn sqlite_has_nothing_compiled_in_that_the_store_does_not_use() {
        let connection = Connection::open_in_memory().unwrap();
        let mut options = connection.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(options.iter().all(|option| !option.starts_with("ENABLE_")), "{options:?}");
        for option in ["TEMP_STORE=3", "OMIT_LOAD_EXTENSION", "THREADSAFE=1"] {
            assert!(options.iter().any(|other| other == option), "{option} is missing from {options:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn whatever_comes_late_twice_or_in_another_order_the_rows_are_the_same(
            happenings in proptest::collection::vec((0..4_u8, 1..5_u32, 0..5_i64), 1..20).prop_shuffle(),
            again in proptest::collection::vec(0..20_usize, 0..20),
        ) {
            let records: Vec<Record> = happenings
                .iter()
                .map(|(uid, count, second)| event(&uid.to_string(), "Failed", *count, *second))
                .collect();
            let (one, mut in_order) = new_store();
            in_order.write(&records).unwrap();
            let (other, mut in_disorder) = new_store();
            for index in again {
                in_disorder.write(&records[index % records.len()..][..1]).unwrap();
            }
            for record in records.iter().rev() {
                in_disorder.write(std::slice::from_ref(record)).unwrap();
            }
            prop_assert_eq!(list(one.path(), &ALL).unwrap().records, list(other.path(), &ALL).unwrap().records);
        }
    }
}
