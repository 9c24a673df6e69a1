//! Platforms that images are for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An operating system and an architecture, in Go's words, as every container tool names them: `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[serde(into = "PlatformFields")]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

impl TryFrom<String> for Platform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((os, architecture)) if !os.is_empty() && !architecture.is_empty() && !architecture.contains('/') => {
                Ok(Platform { os: os.into(), architecture: architecture.into() })
            }
            _ => Err(format!("`{text}` is not a platform: say linux/amd64")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)
    }
}

/// Platforms as people read them.
pub fn platform_names(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

/// A platform as a descriptor holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformFields {
    architecture: String,
    os: String,
}

impl From<Platform> for PlatformFields {
    fn from(platform: Platform) -> Self {
        PlatformFields { architecture: platform.architecture, os: platform.os }
    }
}

impl From<PlatformFields> for Platform {
    fn from(fields: PlatformFields) -> Self {
        Platform { os: fields.os, architecture: fields.architecture }
    }
}
