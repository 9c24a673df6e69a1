//! Whether the image that BuildKit put together holds what was handed to it, and nothing else.
//!
//! BuildKit comes in an image of its own, whose digest nobody can be told who builds with another version; so what it made is not believed.
//! The embedded builder makes the same image of the same binaries in a moment, and all that a container could notice has to agree: what
//! each layer holds, how it is run, and every label. Compressors, ways of writing a header, and the record of how an image came to be
//! differ, and so do the two digests. Pure.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Exit, Result};
use crate::oci::{Digest, Layout};
use crate::sys::threads::side_by_side;

/// Whether what was made is what was expected.
///
/// # Errors
/// It is not, and where it differs; or it is no image.
pub fn check(made: &Layout, expected: &Layout) -> Result<()> {
    let (made, expected) = side_by_side(|| contents(made), || contents(expected));
    match difference(&made?, &expected?, "the image") {
        None => Ok(()),
        Some(why) => Err(Error::new(Exit::Conflict, "BuildKit made another image than it was handed the parts of")
            .because(why)
            .remedy("use another builder, and look who changed this one: docker buildx ls shows what it runs")),
    }
}

/// All that a container of an image could notice.
fn contents(layout: &Layout) -> Result<Value> {
    let mut index = parsed(layout, &layout.digest)?;
    for entry in list(&mut index, "manifests") {
        let mut manifest = parsed(layout, &lose_digest(entry)?)?;
        let config = lose_digest(&mut manifest["config"])?;
        manifest["config"]["content"] = configuration(parsed(layout, &config)?);
        for layer in list(&mut manifest, "layers") {
            let digest = lose_digest(layer)?;
            lose_note(layer);
            layer["content"] = json!(entries(blob(layout, &digest)?).context(Exit::Repository, || bad(&digest))?);
        }
        entry["manifest"] = manifest;
    }
    Ok(index)
}

/// A configuration without what follows from how the layers were written.
fn configuration(mut config: Value) -> Value {
    lose(&mut config, "history");
    lose(&mut config["rootfs"], "diff_ids");
    config
}

/// Path, type, permissions, owner, time, attributes and content of each entry of a layer. Whoever unpacks it takes every member of the
/// compressed file, the last no less than the first.
fn entries(layer: &[u8]) -> std::io::Result<Vec<String>> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(layer));
    let mut found = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let mut attributes = Vec::new();
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            if extension.key_bytes().starts_with(b"SCHILY.xattr.") {
                let (name, value) = (extension.key_bytes(), extension.value_bytes());
                attributes.push(format!("{}={value:x?}", String::from_utf8_lossy(name)));
            }
        }
        let (header, path) = (entry.header(), entry.path()?.display().to_string());
        let link = entry.link_name()?.map(|link| link.display().to_string()).unwrap_or_default();
        let (kind, mode, time) = (header.entry_type(), header.mode()?, header.mtime()?);
        let (user, group) = (header.uid()?, header.gid()?);
        let digest = Digest::of(&content);
        let attributes = attributes.join(" ");
        found.push(format!("{path} {kind:?} {link} {mode:o} {user}:{group} {time} {digest} {attributes}"));
    }
    Ok(found)
}

fn parsed(layout: &Layout, digest: &Digest) -> Result<Value> {
    serde_json::from_slice(blob(layout, digest)?).context(Exit::Repository, || bad(digest))
}

fn blob<'l>(layout: &'l Layout, digest: &Digest) -> Result<&'l [u8]> {
    let found = layout.blobs.get(digest).map(Vec::as_slice);
    found.ok_or_else(|| Error::new(Exit::Repository, format!("the image lacks its part {digest}")))
}

fn bad(digest: &Digest) -> String {
    format!("{digest} is not the part of an image that it should be")
}

fn list<'v>(value: &'v mut Value, name: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Takes a descriptor's digest and size away, and gives the digest.
fn lose_digest(descriptor: &mut Value) -> Result<Digest> {
    let digest = descriptor["digest"].take();
    lose(descriptor, "digest");
    lose(descriptor, "size");
    serde_json::from_value(digest).context(Exit::Repository, || "a part of the image has no digest".into())
}

/// Takes away what BuildKit notes of a layer to which it gave the time that it was told.
fn lose_note(layer: &mut Value) {
    lose(&mut layer["annotations"], "buildkit/rewritten-timestamp");
    if layer["annotations"].as_object().is_none_or(Map::is_empty) {
        lose(layer, "annotations");
    }
}

fn lose(value: &mut Value, name: &str) {
    value.as_object_mut().map(|fields| fields.remove(name));
}

/// The first place at which two values differ, and how.
fn difference(made: &Value, expected: &Value, at: &str) -> Option<String> {
    match (made, expected) {
        (Value::Object(one), Value::Object(other)) => {
            let get = |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            let names = one.keys().chain(other.keys());
            names.map(|name| difference(&get(one, name), &get(other, name), &format!("{at}, {name}"))).find_map(|it| it)
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.map(|(number, (one, other))| difference(one, other, &format!("{at} {number}"))).find_map(|it| it)
        }
        _ if made == expected => None,
        _ => Some(format!("{at}\nexpected: {expected}\nmade:     {made}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::dockerfile::Dockerfile;
    use crate::image::embedded::{self, BuildContext, Stamp};
    use crate::oci::{Annotations, CONFIG, Descriptor, INDEX, LAYER, MANIFEST};
    use crate::sys::archive::{Tarball, gzip};

    fn image() -> Layout {
        let dockerfile =
            Dockerfile::parse("FROM scratch\nCOPY demo /demo\nUSER 1000\nENTRYPOINT [\"/demo\"]\n").unwrap();
        let stamp = Stamp { labels: Annotations::from([("revision".into(), "c0ffee".into())]), time: 7 };
        let context = BuildContext::from([("demo".into(), b"demo".to_vec())]);
        embedded::assemble(&dockerfile, &["linux/amd64".to_owned().try_into().unwrap()], &context, &stamp).unwrap()
    }

    /// The same image as another builder would hand it out after it changed the parts.
    fn remade(change: impl FnOnce(&mut Vec<u8>, &mut Value, &mut Value, &mut Value)) -> Layout {
        let mut layout = image();
        let mut index = parsed(&layout, &layout.digest).unwrap();
        let digest = |value: &Value| serde_json::from_value::<Digest>(value["digest"].clone()).unwrap();
        let mut manifest = parsed(&layout, &digest(&index["manifests"][0])).unwrap();
        let mut config = parsed(&layout, &digest(&manifest["config"])).unwrap();
        let mut layer = blob(&layout, &digest(&manifest["layers"][0])).unwrap().to_vec();
        change(&mut layer, &mut config, &mut manifest, &mut index);
        let mut keep = |media_type: &str, bytes: Vec<u8>, into: &mut Value| {
            let descriptor = Descriptor::of(media_type, &bytes);
            into["digest"] = json!(descriptor.digest);
            into["size"] = json!(descriptor.size);
            layout.blobs.insert(descriptor.digest.clone(), bytes);
            descriptor.digest
        };
        keep(LAYER, layer, &mut manifest["layers"][0]);
        keep(CONFIG, config.to_string().into_bytes(), &mut manifest["config"]);
        keep(MANIFEST, manifest.to_string().into_bytes(), &mut index["manifests"][0]);
        layout.digest = keep(INDEX, index.to_string().into_bytes(), &mut json!({}));
        layout
    }

    /// A layer of one program, as a hostile builder may write it.
    fn layer(content: &[u8], set: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_size(content.len() as u64);
        set(&mut header);
        archive.append_data(&mut header, "demo", content).unwrap();
        gzip(&archive.into_inner().unwrap()).unwrap()
    }

    fn one_more() -> Vec<u8> {
        let mut archive = Tarball::new(7);
        archive.file("bin/sh", 0o755, b"sh").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn what_only_another_compressor_and_another_record_make_different_agrees() {
        let other = remade(|layer, config, manifest, _| {
            let mut bytes = Vec::new();
            MultiGzDecoder::new(layer.as_slice()).read_to_end(&mut bytes).unwrap();
            let mut fast = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut fast, &bytes).unwrap();
            *layer = fast.finish().unwrap();
            manifest["layers"][0]["annotations"] = json!({"buildkit/rewritten-timestamp": "7"});
            config["history"] = json!([{"created_by": "COPY demo /demo # buildkit"}]);
            config["rootfs"]["diff_ids"] = json!([Digest::of(b"other")]);
        });
        assert_ne!(other.digest, image().digest);
        check(&other, &image()).unwrap();
    }

    #[test]
    fn x4_a_layer_a_setting_or_a_label_that_a_builder_adds_or_changes_is_found() {
        type Change = fn(&mut Vec<u8>, &mut Value, &mut Value, &mut Value);
        let poisonings: [(&str, Change, &str); 10] = [
            ("other bytes", |l, _, _, _| *l = layer(b"evil", |_| ()), "layers 0, content 0"),
            ("set-uid", |l, _, _, _| *l = layer(b"demo", |header| header.set_mode(0o4755)), "content 0"),
            ("another owner", |l, _, _, _| *l = layer(b"demo", |header| header.set_uid(1000)), "content 0"),
            (
                "one more file, after the end of the archive",
                |l, _, _, _| *l = [gzip(&tar_without_end(l)).unwrap(), gzip(&one_more()).unwrap()].concat(),
                "layers 0, content",
            ),
            ("an entry point", |_, c, _, _| c["config"]["Entrypoint"] = json!(["/evil"]), "Entrypoint"),
            ("a variable", |_, c, _, _| c["config"]["Env"] = json!(["LD_PRELOAD=/evil.so"]), "Env"),
            ("root", |_, c, _, _| c["config"]["User"] = json!("0"), "User"),
            ("a forged label", |_, c, _, _| c["config"]["Labels"]["revision"] = json!("bad"), "Labels, revision"),
            ("a forged annotation", |_, _, m, _| m["annotations"]["revision"] = json!("bad"), "annotations, revision"),
            (
                "one more platform",
                |_, _, _, i| {
                    let first = i["manifests"][0].clone();
                    i["manifests"].as_array_mut().unwrap().push(first);
                },
                "manifests",
            ),
        ];
        for (name, change, place) in poisonings {
            let error = check(&remade(change), &image()).unwrap_err();
            assert_eq!(error.exit, Exit::Conflict, "{name}");
            assert!(error.why.as_ref().is_some_and(|why| why.contains(place)), "{name}: {error}");
        }
    }

    /// An archive that goes on where another one begins.
    fn tar_without_end(layer: &[u8]) -> Vec<u8> {
        const END: usize = 1024;
        let mut bytes = Vec::new();
        MultiGzDecoder::new(layer).read_to_end(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - END);
        bytes
    }
}
