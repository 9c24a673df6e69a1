//! Archives that are the same bytes on every machine: one time and one owner for everything, a gzip header that names neither
//! file nor system, and a compressor that is a locked dependency. The order of entries is the caller's.

use flate2::{Compression, GzBuilder};

use crate::error::{Context, Exit, Result};

/// A tar archive that is being written to memory.
pub struct Tarball {
    tar: tar::Builder<Vec<u8>>,
    time: u64,
}

impl Tarball {
    /// An empty archive whose entries all carry `time`, in seconds since 1970.
    pub fn new(time: i64) -> Self {
        Tarball { tar: tar::Builder::new(Vec::new()), time: u64::try_from(time).unwrap_or_default() }
    }

    /// Adds a folder; the path ends with `/`.
    ///
    /// # Errors
    /// The path is too long for the format.
    pub fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.entry(tar::EntryType::Directory, path, mode, &[])
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The path is too long for the format.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(tar::EntryType::Regular, path, mode, content)
    }

    /// The archive, uncompressed.
    ///
    /// # Errors
    /// Never: it is in memory.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.tar.into_inner().context(Exit::Failure, || "cannot finish an archive".into())
    }

    fn entry(&mut self, kind: tar::EntryType, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, path, content).context(Exit::Failure, || format!("cannot archive {path}"))
    }
}

/// Compresses, as small as the format's highest level gets.
///
/// # Errors
/// Never: it is in memory.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    gzip_at(Compression::best(), bytes)
}

/// The same format with the bytes as they are: for what is read once, and at once.
///
/// # Errors
/// Never: it is in memory.
pub fn gzip_as_is(bytes: &[u8]) -> Result<Vec<u8>> {
    gzip_at(Compression::none(), bytes)
}

fn gzip_at(level: Compression, bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut encoder = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), level);
    encoder.write_all(bytes).and_then(|()| encoder.finish()).context(Exit::Failure, || "cannot compress".into())
}
