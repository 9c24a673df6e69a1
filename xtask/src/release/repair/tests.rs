use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// A version of which everything is right.
fn sound(number: &str) -> Sight {
    let image = format!("host/demo:{number}@{}", digest(number));
    let chart = Chart {
        origin: image.clone(),
        image: Some(digest(number)),
        artifact: Some(digest(&format!("chart {number}"))),
        record: Ok(Recorded::Right),
        doubts: Ok(Vec::new()),
    };
    Sight {
        entries: vec![Listing { sha256: number.into(), leads_here: true, origin: Some(image), is_long: false }],
        is_yanked: false,
        archive: Ok(Some(Archive { sha256: number.into(), chart: Ok(chart) })),
        chart_tag: Ok(Some(digest(&format!("chart {number}")))),
        is_signed: true,
    }
}

/// A target with the versions 1.0.0 and 1.1.0, and nothing wrong.
fn whole() -> Seen {
    let mut tags = BTreeMap::new();
    for number in ["1.0.0", "1.1.0"] {
        tags.extend(version_tags(&version(number)).map(|tag| (tag, digest(number))));
    }
    let floating = [("1.0", "1.0.0"), ("1.1", "1.1.0"), ("1", "1.1.0"), ("latest", "1.1.0")];
    tags.extend(floating.map(|(tag, number)| (tag.to_owned(), digest(number))));
    let versions = ["1.0.0", "1.1.0"].map(|number| (version(number), sound(number)));
    Seen {
        first: version("1.0.0"),
        has_image: true,
        versions: versions.into(),
        tags: Ok(tags),
        pages: Ok(Vec::new()),
        yanked_on_page: Ok(BTreeSet::new()),
        outside: Ok(Outside::default()),
    }
}

fn broken() -> Error {
    Error::new(Exit::Repository, "no network")
}

/// What is found once something is damaged: of what, and how it is mended, where it is.
fn found(damage: impl FnOnce(&mut Seen)) -> Vec<(String, Option<Mend>)> {
    let mut seen = whole();
    damage(&mut seen);
    let found = diagnose(&Ok(seen));
    found.into_iter().map(|finding| (finding.what.clone(), finding.mend().cloned())).collect()
}

fn of<'s>(seen: &'s mut Seen, number: &str) -> &'s mut Sight {
    seen.versions.get_mut(&version(number)).unwrap()
}

fn chart<'s>(seen: &'s mut Seen, number: &str) -> &'s mut Chart {
    of(seen, number).archive.as_mut().unwrap().as_mut().unwrap().chart.as_mut().unwrap()
}

fn tags(seen: &mut Seen) -> &mut BTreeMap<String, Digest> {
    seen.tags.as_mut().unwrap()
}

#[test]
fn x8_h6_what_is_whole_is_left_alone() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn x8_h6_a_lost_entry_of_a_signed_archive_that_was_published_is_listed_again() {
    let entry = |number: &str| (number.to_owned(), Some(Mend::Entry(version(number))));
    assert_eq!(found(|seen| of(seen, "1.1.0").entries.clear()), [entry("1.1.0")]);
    // Its tags, too, are mended: floating ones as they will be.
    let both = found(|seen| {
        of(seen, "1.1.0").entries.clear();
        tags(seen).remove("v1.1.0");
        tags(seen).insert("latest".into(), digest("1.0.0"));
    });
    let tag = Mend::VersionTag("v1.1.0".into(), digest("1.1.0"));
    let rest = [("1.1.0".into(), Some(tag)), ("latest".into(), Some(Mend::FloatingTags))];
    assert_eq!(both, [&[entry("1.1.0")][..], &rest].concat());
}

#[test]
fn x8_h15_a_record_that_is_missing_is_written_again_and_one_of_something_else_is_explained() {
    let with = |record: Result<Recorded>| found(|seen| chart(seen, "1.0.0").record = record.clone());
    assert_eq!(with(Ok(Recorded::Missing)), [("1.0.0".to_owned(), Some(Mend::Record(version("1.0.0"))))]);
    assert_eq!(with(Ok(Recorded::Wrong)), [("1.0.0".to_owned(), None)]);
    assert_eq!(with(Err(broken())), [("1.0.0".to_owned(), None)]);
}

#[test]
fn x8_h15_entries_become_short_once_they_are_recorded_and_those_in_doubt_stay() {
    let long = |damage: fn(&mut Seen)| {
        found(|seen| {
            seen.versions.values_mut().for_each(|sight| sight.entries[0].is_long = true);
            damage(seen);
        })
    };
    let entries = ("index.yaml".to_owned(), Some(Mend::Entries));
    assert_eq!(long(|_| {}), std::slice::from_ref(&entries));
    let first = |number: &str| (number.to_owned(), Some(Mend::Record(version(number))));
    assert_eq!(long(|seen| chart(seen, "1.0.0").record = Ok(Recorded::Missing)), [first("1.0.0"), entries]);
    let doubtful = long(|seen| {
        for number in ["1.0.0", "1.1.0"] {
            chart(seen, number).record = Ok(Recorded::Wrong);
        }
    });
    assert_eq!(doubtful, [("1.0.0".to_owned(), None), ("1.1.0".to_owned(), None)]);
}

#[test]
fn x8_i16_what_nobody_signed_is_explained_and_never_listed() {
    let unsigned = |damage: fn(&mut Seen)| {
        found(|seen| {
            of(seen, "1.0.0").entries.clear();
            damage(seen);
        })
    };
    let explained = [("1.0.0".to_owned(), None)];
    assert_eq!(unsigned(|seen| chart(seen, "1.0.0").doubts = Ok(vec!["lacks a signature".into()]))[..1], explained);
    assert_eq!(unsigned(|seen| chart(seen, "1.0.0").doubts = Err(broken()))[..1], explained);
    assert_eq!(unsigned(|seen| of(seen, "1.0.0").chart_tag = Ok(None))[..1], explained, "it may have been yanked");
    assert_eq!(unsigned(|seen| of(seen, "1.0.0").chart_tag = Ok(Some(digest("other"))))[..1], explained);
    assert_eq!(unsigned(|seen| of(seen, "1.0.0").chart_tag = Err(broken()))[..1], explained);
    let unasked = unsigned(|seen| {
        of(seen, "1.0.0").is_signed = false;
        chart(seen, "1.0.0").artifact = None;
    });
    assert_eq!(unasked[..1], explained, "where nobody signs, nothing says where it is from");
}

#[test]
fn x8_h6_a_yanked_version_is_never_listed_again() {
    let yanked = |is_listed: bool| {
        found(|seen| {
            let sight = of(seen, "1.1.0");
            sight.is_yanked = true;
            if !is_listed {
                sight.entries.clear();
            }
        })
    };
    assert!(yanked(false).iter().all(|(what, mend)| what != "1.1.0" && *mend != Some(Mend::Entry(version("1.1.0")))));
    assert_eq!(yanked(true), [("1.1.0".to_owned(), None)]);
}

#[test]
fn x8_h6_where_the_page_alone_knows_what_was_yanked_nothing_is_listed_and_the_page_is_kept() {
    let forgetful = |shown: Result<BTreeSet<String>>| {
        found(|seen| {
            seen.versions.values_mut().for_each(|sight| sight.entries.clear());
            seen.pages = Ok(vec!["index.html".into()]);
            seen.outside.as_mut().unwrap().headers = vec!["no type".into()];
            seen.yanked_on_page = shown;
        })
    };
    for shown in [Ok(["1.1.0".to_owned()].into()), Err(broken())] {
        let found = forgetful(shown);
        let left = found.iter().filter_map(|(_, mend)| mend.as_ref());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<&Mend>::new());
    }
    assert!(forgetful(Ok(BTreeSet::new())).iter().any(|(_, mend)| *mend == Some(Mend::Entry(version("1.1.0")))));
    // One that was put back is listed, whatever an old page says.
    let listed = found(|seen| seen.yanked_on_page = Ok(["1.1.0".to_owned()].into()));
    assert_eq!(listed, [("1.1.0".to_owned(), None)]);
}

#[test]
fn x8_i3_no_floating_tag_moves_while_an_entry_that_leads_is_in_doubt() {
    let found = found(|seen| {
        of(seen, "1.1.0").entries[0].origin = Some("host/demo:1.1.0@sha256:other".into());
        tags(seen).remove("1.0");
    });
    assert_eq!(found, [("1.1.0".to_owned(), None), ("1.0".to_owned(), None)]);
}

#[test]
fn x8_h6_what_contradicts_itself_is_explained() {
    let damages: [fn(&mut Sight); 6] = [
        |sight| sight.archive = Ok(None),
        |sight| sight.archive = Err(broken()),
        |sight| sight.entries[0].sha256 = "other".into(),
        |sight| sight.entries[0].leads_here = false,
        |sight| sight.entries[0].origin = None,
        |sight| sight.archive.as_mut().unwrap().as_mut().unwrap().chart = Err("damaged".into()),
    ];
    for damage in damages {
        assert_eq!(found(|seen| damage(of(seen, "1.1.0"))), [("1.1.0".to_owned(), None)]);
    }
}

#[test]
fn x8_what_cannot_be_read_is_unknown_and_nothing_is_done_about_it() {
    let seen = || Seen { tags: Err(broken()), pages: Err(broken()), outside: Err(broken()), ..whole() };
    let found = diagnose(&Ok(seen()));
    assert_eq!(found.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(), ["tags", "page", "caches"]);
    assert!(found.iter().all(|one| one.cure == Cure::Unknown && one.why == "no network"), "{found:?}");
    let blind = diagnose(&Err(broken()));
    assert_eq!((blind.len(), &blind[0].cure), (1, &Cure::Unknown));
    let mut doubtful = seen();
    chart(&mut doubtful, "1.0.0").doubts = Ok(vec!["the image cannot be pulled".into()]);
    assert_eq!(diagnose(&Ok(doubtful))[0].cure, Cure::Unknown);
}

#[test]
fn x8_x4_mends_are_in_the_order_of_a_release() {
    let (tag, digest) = ("v1.0.0".to_owned(), digest("a"));
    let order = [
        Mend::VersionTag(tag.clone(), digest.clone()),
        Mend::Record(version("1.0.0")),
        Mend::Entry(version("1.0.0")),
        Mend::Entries,
        Mend::Index,
        Mend::Page,
        Mend::Caches("a".into()),
        Mend::ChartTag(tag, digest),
        Mend::FloatingTags,
    ];
    assert!(order.is_sorted(), "{order:?}");
}
