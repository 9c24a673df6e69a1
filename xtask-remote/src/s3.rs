//! A bucket as the store: every write is conditional, so that any number of publishers lose nothing.
//!
//! What S3 answers (its user guide, "Conditional requests"): `If-None-Match: *` gives 412 where the key exists; `If-Match` gives 412
//! where the content differs and 404 where there is none; both give 409 while another write of the key is under way. A reply that is
//! lost makes the SDK ask again, and then a 412 may mean our own write: callers look at what is there, and judge by its bytes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};

use xtask::chart::repository;
use xtask::chart::store::{Object, Revision, Store, Write, Written};
use xtask::error::{Error, Exit, Result};
use xtask::sys::failpoints::announce;
use xtask::sys::retry::{Failure, retry};

use crate::aws::{Aws, explain};

/// How often a read that breaks off, or a write that meets another one, is tried.
const ATTEMPTS: usize = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The bucket of a target's stack.
#[derive(Debug)]
pub struct Bucket {
    aws: Rc<Aws>,
    client: Client,
}

impl Bucket {
    /// The bucket of the stack that `aws` is a connection to; asks nothing yet.
    pub fn new(aws: Rc<Aws>) -> Self {
        Bucket { client: aws.s3(), aws }
    }

    fn name(&self) -> Result<&str> {
        Ok(&self.aws.hosting()?.bucket)
    }

    fn read(&self, bucket: &str, name: &str) -> Result<Option<Object>, Failure> {
        self.aws.wait(async {
            let answer = match self.client.get_object().bucket(bucket).key(name).send().await {
                Ok(answer) => answer,
                // 403 may mean "there is none" to a caller who may not list; it is never taken for that.
                Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
                Err(error) => return Err(Failure::Final(explain(&format!("cannot read {bucket}/{name}"), &error))),
            };
            let revision = Revision(answer.e_tag().unwrap_or_default().to_owned());
            let version = version(answer.version_id(), &revision.0, answer.last_modified());
            // A body that ends early, or has another checksum than was stored with it, fails here.
            let body = answer.body.collect().await.map_err(|error| {
                let error = Error::new(Exit::Repository, format!("cannot read all of {bucket}/{name}")).because(error);
                Failure::Passing(error.remedy("retry the command"))
            })?;
            Ok(Some(Object { bytes: body.into_bytes().into(), revision, version }))
        })
    }

    /// Puts an object with the headers of its kind, if the condition that `condition` adds holds.
    fn put(
        &self,
        name: &str,
        bytes: &[u8],
        condition: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Answer> {
        let bucket = self.name()?;
        let (content_type, cache_control) =
            repository::headers(name).unwrap_or(("application/octet-stream", "no-store"));
        announce("put", &format_args!("s3://{bucket}/{name}"));
        let request = self
            .client
            .put_object()
            .bucket(bucket)
            .key(name)
            .content_type(content_type)
            .cache_control(cache_control)
            .body(ByteStream::from(bytes.to_vec()));
        match self.aws.wait(condition(request).send()) {
            Ok(answer) => Ok(Answer::Done(Written {
                revision: Revision(answer.e_tag().unwrap_or_default().to_owned()),
                version: answer.version_id().map(str::to_owned),
            })),
            Err(error) => match status(&error) {
                Some(412) => Ok(Answer::Differs),
                Some(409) => Ok(Answer::Contended),
                Some(404) if error.code() == Some("NoSuchKey") => Ok(Answer::Differs),
                _ => Err(explain(&format!("cannot write {bucket}/{name}"), &error)),
            },
        }
    }
}

/// What a conditional write was answered with.
enum Answer {
    Done(Written),
    /// The condition does not hold.
    Differs,
    /// Another write of the same key was under way; nothing is known of the condition.
    Contended,
}

impl Store for Bucket {
    /// Whoever made the bucket put an empty index into it.
    fn starts_empty(&self) -> bool {
        false
    }

    fn get(&self, name: &str) -> Result<Option<Object>> {
        let bucket = self.name()?;
        retry(ATTEMPTS, FIRST_PAUSE, || self.read(bucket, name))
    }

    fn version(&self, name: &str) -> Result<Option<String>> {
        let bucket = self.name()?;
        match self.aws.wait(self.client.head_object().bucket(bucket).key(name).send()) {
            Ok(head) => Ok(Some(version(head.version_id(), head.e_tag().unwrap_or_default(), head.last_modified()))),
            // An answer without a body does not say what is wrong; a whole one does.
            Err(_) => Ok(self.get(name)?.map(|object| object.version)),
        }
    }

    fn list(&self, suffix: &str) -> Result<BTreeMap<String, u64>> {
        let bucket = self.name()?;
        let mut pages = self.client.list_objects_v2().bucket(bucket).into_paginator().send();
        self.aws.wait(async {
            let mut files = BTreeMap::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| explain(&format!("cannot list {bucket}"), &error))?;
                let objects = page.contents().iter().filter_map(|object| Some((object.key()?, object.size()?)));
                let wanted = objects.filter(|(key, _)| key.ends_with(suffix));
                files.extend(wanted.map(|(key, size)| (key.to_owned(), u64::try_from(size).unwrap_or_default())));
            }
            Ok(files)
        })
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Write> {
        retry(ATTEMPTS, FIRST_PAUSE, || match self.put(name, bytes, |request| request.if_none_match("*"))? {
            Answer::Done(written) => Ok(Write::Done(written)),
            Answer::Differs => Ok(Write::Refused),
            Answer::Contended => {
                let busy = format!("{name} was being written by others {ATTEMPTS} times");
                Err(Failure::Passing(Error::new(Exit::Busy, busy).remedy("retry the command")))
            }
        })
    }

    fn replace(&self, name: &str, seen: &Revision, bytes: &[u8]) -> Result<Write> {
        match self.put(name, bytes, |request| request.if_match(&seen.0))? {
            Answer::Done(written) => Ok(Write::Done(written)),
            Answer::Differs | Answer::Contended => Ok(Write::Refused),
        }
    }
}

/// A bucket that keeps no versions has no names for them: then content and time stand for one.
fn version(id: Option<&str>, revision: &str, written: Option<&DateTime>) -> String {
    let written = written.map(ToString::to_string).unwrap_or_default();
    id.map_or_else(|| format!("{revision} {written}"), str::to_owned)
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}
