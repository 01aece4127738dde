//! The log's format: golden entries that every release must read, the fuzz corpus replayed, and
//! damage of every kind.
//!
//! A fixture is never changed or removed: pools have such entries in their logs. A new field or
//! command brings a new fixture; `LAMPLIGHT_NEW_FIXTURES=1` writes those that do not exist yet.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use shard::category::Category;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_batch, encode_entry, encode_request};
use shard::machine::command::{
    Abroad, Act, Binding, Bindings, Command, Elsewhere, Entry, Extras, Leader, Publish, Register,
    RelayWatch, Relayed, Request, Resubscribe, SetDocument, Sink, Subscribe, Ticket,
};
use shard::machine::moves::{Step, sum_of};
use shard::machine::outcome::RequestKey;
use shard::presence::call::{Call, CallState, Calls, Direction, Party, Scope};
use shard::presence::container::Network;
use shard::presence::documents::{Application, Expected, Keeper};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::presence::rules::{
    Except, Handling, Identity, Permissions, Rule, Rules, Selector, UserInput, Which,
};
use shard::slot::Slot;
use shard::subscription::dialog::{
    Away, Delivery, DialogKey, EndReason, Format, LocalTag, Package,
};
use shard::subscription::filter::{
    Filter, Name, Path as Route, Selection, Step as Along, Test, Trigger,
};
use shard::subscription::savers::{Asked, Condition, Wanted};
use shard::subscription::watch::Wish;
use shard::time::Timestamp;

const AT: Timestamp = Timestamp(1_763_692_228_000);
const ALICE: &str = "alice@example.com";
const KEY: u128 = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn request(command: Command<'static>) -> Request<'static> {
    Request {
        key: RequestKey(KEY),
        ticket: Ticket(0x1122_3344_5566_7788),
        command,
    }
}

fn one(command: Command<'static>) -> Act<'static> {
    Act::Requests(vec![request(command)])
}

fn slot() -> Slot {
    Slot::of(ALICE)
}

fn register(bindings: Bindings<'static>) -> Command<'static> {
    Command::Register(Register {
        aor: ALICE,
        call_id: 0xca11,
        cseq: 1_826,
        bindings,
        profile: None,
    })
}

fn binding(number: u64, expires_s: u32) -> Binding<'static> {
    Binding {
        binding: number,
        contact: "sip:alice@192.0.2.4:5060;transport=tcp",
        instance: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        q: 700,
        path: "<sip:edge.example.com;lr>",
        expires_s,
        target: b"\x01flow\x00\xff",
        endpoint_id: None,
    }
}

fn publish(
    if_match: bool,
    content: Option<&'static [u8]>,
    tag_policy: TagPolicy,
) -> Command<'static> {
    Command::Publish(Publish {
        presentity: ALICE,
        package: Package::Presence,
        if_match: if_match.then_some(EntityTag {
            salt: 0xabcd,
            index: 1 << 40,
            position: 511,
        }),
        content,
        expires_s: 600,
        tag_policy,
        bearing: Default::default(),
    })
}

fn end(reason: EndReason) -> Command<'static> {
    Command::EndDialog {
        slot: slot(),
        dialog: DialogKey(!KEY),
        reason,
    }
}

fn moves(step: Step<'static>) -> Command<'static> {
    Command::MoveSlot {
        slot: slot(),
        number: 0x0123_4567_89ab,
        step,
    }
}

/// Every golden entry by the name of its file.
fn golden() -> Vec<(&'static str, Act<'static>)> {
    use TagPolicy::{Keep, Renew};
    vec![
        (
            "v1-term-start",
            Act::TermStart {
                leader: Leader {
                    node: 3,
                    life: 0xfeed_beef,
                },
                salt: 0xabcd,
            },
        ),
        ("v1-empty", Act::Requests(Vec::new())),
        (
            "v1-attest",
            Act::Attest {
                slot: slot(),
                slot_digest: u64::MAX - 1,
                history_digest: 0x5eed,
            },
        ),
        ("v1-register-query", one(register(Bindings::Nothing))),
        ("v1-register-remove-all", one(register(Bindings::RemoveAll))),
        (
            "v1-register-each",
            one(register(Bindings::Each(vec![
                binding(7, 3_600),
                binding(8, 0),
            ]))),
        ),
        (
            "v1-publish-create",
            one(publish(false, Some(b"\x01<tuple/>"), Renew)),
        ),
        ("v1-publish-refresh", one(publish(true, None, Renew))),
        ("v1-publish-keep", one(publish(true, None, Keep))),
        ("v1-publish-modify", one(publish(true, Some(b""), Renew))),
        (
            "v1-subscribe",
            one(Command::Subscribe(Subscribe {
                presentity: ALICE,
                watcher: "tel:+15551234",
                package: Package::Presence,
                format: Format::Pidf,
                dialog: DialogKey(!KEY),
                local_tag: LocalTag::new(slot(), 0x0abc_def0_1234_5678),
                cseq: 17_766,
                expires_s: 3_600,
                route: b"\x01tags and routes",
                target: b"\x01target",
                extras: None,
                savers: None,
            })),
        ),
        (
            "v1-resubscribe",
            one(Command::Resubscribe(Resubscribe {
                slot: slot(),
                dialog: DialogKey(!KEY),
                cseq: 17_767,
                expires_s: 0,
                target: b"\x01target",
                extras: None,
                savers: None,
            })),
        ),
        ("v1-end-timeout", one(end(EndReason::Timeout))),
        ("v1-end-deactivated", one(end(EndReason::Deactivated))),
        ("v1-end-rejected", one(end(EndReason::Rejected))),
        ("v1-end-noresource", one(end(EndReason::Noresource))),
        ("v1-end-unreachable", one(end(EndReason::Unreachable))),
        ("v2-move-freeze", one(moves(Step::Freeze))),
        ("v2-move-thaw", one(moves(Step::Thaw))),
        ("v2-move-drop", one(moves(Step::Drop))),
        (
            "v2-move-import",
            one(moves(Step::Import {
                part: 1,
                parts: 3,
                sum: 0xc0ff_ee11,
                bytes: b"\x01part",
            })),
        ),
        ("v2-move-open", one(moves(Step::Open))),
        ("v2-move-abandon", one(moves(Step::Abandon))),
        (
            "v1-batch",
            Act::Requests(vec![
                request(register(Bindings::Each(vec![binding(7, 3_600)]))),
                request(publish(false, Some(b"\x01<tuple/>"), Keep)),
                request(end(EndReason::Unreachable)),
            ]),
        ),
        // What crosses shards came later.
        (
            "v3-endpoint-gone",
            one(Command::EndpointGone {
                watcher: ALICE,
                endpoint: ENDPOINT,
                at: AT,
            }),
        ),
        (
            "v3-relay-end",
            one(Command::RelayEnd {
                presentity: ALICE,
                sink: sink(),
                generation: 41,
            }),
        ),
        (
            "v3-relay-watch",
            one(Command::RelayWatch(RelayWatch {
                presentity: ALICE,
                sink: sink(),
                generation: 42,
                watcher: "bob@example.com",
                network: Network::Federated,
                display_name: "Bob",
                context: Some(b"<why/>"),
                format: Format::Categories,
                categories: vec![Category::Note, Category::State],
                expires_s: 660,
                watchers_max: 1_000,
            })),
        ),
        (
            "v3-relayed",
            one(Command::Relayed(Relayed {
                sink: sink(),
                presentity: ALICE,
                generation: 42,
                revision: 7,
                view: Some(b"\x01view"),
            })),
        ),
        (
            "v3-delivered",
            one(Command::Delivered {
                parcels: vec![(slot(), 1 << 40), (Slot::of("bob@example.com"), 9)],
            }),
        ),
        (
            "v3-subscribe-abroad",
            one(Command::Subscribe(Subscribe {
                presentity: "bob@example.com",
                watcher: "bob@example.com",
                package: Package::Categories,
                format: Format::Categories,
                dialog: DialogKey(KEY),
                local_tag: LocalTag::new(Slot::of("bob@example.com"), 7),
                cseq: 1,
                expires_s: 600,
                route: b"route",
                target: b"target",
                extras: Some(Box::new(abroad())),
                savers: None,
            })),
        ),
        ("v4-set-document", one(document(Some(b"<ruleset/>")))),
        ("v4-remove-document", one(document(None))),
        // So did what saves traffic.
        (
            "v5-subscribe-savers",
            one(Command::Subscribe(Subscribe {
                presentity: ALICE,
                watcher: ALICE,
                package: Package::Presence,
                format: Format::Pidf,
                dialog: DialogKey(KEY + 4),
                local_tag: LocalTag::new(slot(), 9),
                cseq: 1,
                expires_s: 600,
                route: b"route",
                target: b"target",
                extras: None,
                savers: Some(Box::new(Asked {
                    condition: Some(Condition::Is(0x1234)),
                    min_interval_s: 10,
                    max_interval_s: 60,
                    partial: Some(true),
                    gzip: Some(true),
                    filter: Wanted::This(saved()),
                })),
            })),
        ),
        (
            "v5-resubscribe-savers",
            one(Command::Resubscribe(Resubscribe {
                slot: slot(),
                dialog: DialogKey(KEY + 5),
                cseq: 2,
                expires_s: 0,
                target: b"target",
                extras: None,
                savers: Some(Box::new(Asked {
                    condition: Some(Condition::Any),
                    gzip: Some(false),
                    filter: Wanted::Nothing,
                    ..Asked::default()
                })),
            })),
        ),
    ]
}

/// Entries about the packages beside presence, which came after those.
fn golden_packages() -> Vec<(&'static str, Act<'static>)> {
    let dialog = |package, format, number| {
        one(Command::Subscribe(Subscribe {
            presentity: ALICE,
            watcher: ALICE,
            package,
            format,
            dialog: DialogKey(number),
            local_tag: LocalTag::new(slot(), 7),
            cseq: 1,
            expires_s: 600,
            route: b"route",
            target: b"target",
            extras: None,
            savers: None,
        }))
    };
    let calls = |state, id| {
        let party = Party {
            display: "Bob",
            identity: "sip:bob@example.com",
            target: "sip:bob@192.0.2.1",
            params: vec![("+sip.rendering", "yes")],
        };
        let call = Call {
            id,
            call_id: "call",
            local_tag: id,
            remote_tag: "remote",
            direction: Some(Direction::Recipient),
            state,
            clock: 11,
            local: Party::default(),
            remote: party,
        };
        let calls = Calls {
            scope: Scope::Full,
            line: "200",
            each: vec![call],
        };
        let content: &'static [u8] = calls.write().leak();
        one(Command::Publish(Publish {
            presentity: ALICE,
            package: Package::Dialog,
            if_match: None,
            content: Some(content),
            expires_s: 60,
            tag_policy: TagPolicy::Renew,
            bearing: Default::default(),
        }))
    };
    vec![
        ("v3-publish-calls", calls(CallState::Early, "a")),
        ("v3-publish-ended-calls", calls(CallState::Terminated, "b")),
        (
            "v3-subscribe-calls",
            dialog(Package::Dialog, Format::DialogInfo, 1),
        ),
        (
            "v3-subscribe-lamp",
            dialog(Package::Dialog, Format::DialogLamp, 2),
        ),
        (
            "v3-subscribe-messages",
            dialog(Package::MessageSummary, Format::MessageSummary, 3),
        ),
        (
            "v3-subscribe-registration",
            dialog(Package::Reg, Format::RegInfo, 4),
        ),
    ]
}

/// A filter with something of each kind.
fn saved() -> Filter {
    let name = |local: &str| Name {
        namespace: "urn:ietf:params:xml:ns:pidf".into(),
        local: local.into(),
    };
    let basic = Route(vec![Along {
        deep: true,
        name: Some(name("basic")),
        tests: Vec::new(),
    }]);
    let tuple = Route(vec![Along {
        deep: false,
        name: None,
        tests: vec![
            Test::Element(Route::default(), Some("open".into())),
            Test::Attribute(name("id"), None),
            Test::Place(2),
        ],
    }]);
    Filter {
        include: vec![Selection::Path(tuple.clone())],
        exclude: vec![Selection::Namespace("urn:x".into())],
        triggers: vec![vec![
            Trigger::Changed {
                path: basic,
                from: Some("open".into()),
                to: None,
                by: Some(1_500),
            },
            Trigger::Added(tuple.clone()),
            Trigger::Removed(tuple),
        ]],
    }
}

const ENDPOINT: EndpointId = EndpointId([9; 16]);

fn sink() -> Sink {
    Sink {
        slot: Slot::of("bob@example.com"),
        dialog: DialogKey(KEY),
    }
}

/// A document with everything that a rule may say.
fn document(content: Option<&'static [u8]>) -> Command<'static> {
    let permissions = Permissions {
        services: Which::Some(vec![
            Selector::Uri("sip:a".into()),
            Selector::Scheme("sip".into()),
            Selector::Occurrence("t1".into()),
            Selector::Class("work".into()),
        ]),
        persons: Which::All,
        devices: Which::Some(vec![Selector::DeviceId("urn:d".into())]),
        attributes: 0x0801,
        user_input: UserInput::Thresholds,
        unknown: vec![("urn:x".into(), "y".into())],
    };
    let rule = Rule {
        id: "a".into(),
        identity: Some(vec![
            Identity::One("tel:+15551234".into()),
            Identity::Many {
                domain: Some("example.net".into()),
                except: vec![
                    Except::User("eve@example.net".into()),
                    Except::Domain("example.org".into()),
                ],
            },
        ]),
        validity: Some(vec![(Timestamp(1), Timestamp(1 << 50))]),
        foreign: false,
        handling: Some(Handling::Allow),
        permissions,
    };
    let other = Rule {
        id: "b".into(),
        foreign: true,
        ..Rule::default()
    };
    Command::SetDocument(SetDocument {
        presentity: ALICE,
        application: Application::Rules,
        name: "index",
        keeper: Keeper::User,
        expected: match content {
            Some(_) => Expected::Nothing,
            None => Expected::OneOf(vec![EntityTag {
                salt: 0xabcd,
                index: 1 << 40,
                position: 511,
            }]),
        },
        content,
        rules: match content {
            Some(_) => Rules(vec![rule, other]),
            None => Rules::default(),
        },
    })
}

/// A batch with resources of other shards.
fn abroad() -> Extras<'static> {
    let resource = |context, deed| Elsewhere {
        address: ALICE,
        context,
        deed,
    };
    let categories = vec![Category::Note];
    Extras {
        network: Network::SameEnterprise,
        delivery: Delivery::Benotify,
        piggyback: true,
        endpoint: Some(ENDPOINT),
        registered: false,
        display_name: "Bob",
        wish: Wish::Categories(Vec::new()),
        watchers_max: 1_000,
        abroad: Abroad {
            registered_at: Some(AT),
            resources: vec![
                resource(Some(&b"<why/>"[..]), Away::Hinted),
                resource(None, Away::Watch(categories.clone())),
                resource(None, Away::Unwatch(vec![Category::State])),
            ],
        },
    }
}

fn encoded(act: &Act<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    encode_entry(AT, act, &mut bytes);
    bytes.to_vec()
}

#[test]
fn golden_entries_are_read_for_ever() {
    let folder = folder("tests/fixtures/codec");
    for (name, act) in golden().into_iter().chain(golden_packages()) {
        // What the first release wrote means what it meant; what was appended since is not there.
        let first = folder.join(format!("{name}.bin"));
        if let Ok(bytes) = fs::read(&first) {
            let act = act.clone();
            assert_eq!(decode_entry(&bytes), Ok(Entry { at: AT, act }), "{name}");
        }
        let path = folder.join(format!("{}.bin", name.replace("v1-", "v2-")));
        if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
            fs::write(&path, encoded(&act)).expect("the fixture folder is writable");
        }
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            decode_entry(&bytes),
            Ok(Entry {
                at: AT,
                act: act.clone()
            }),
            "{name}"
        );
        assert_eq!(encoded(&act), bytes, "{name} is written as it was");
    }
}

/// A machine that has applied every golden entry that a release knows and that ends no dialog.
fn golden_machine(release: u32) -> Machine {
    let mut machine = Machine::default();
    for (index, (name, mut act)) in (1..).zip(golden()) {
        let newer = |of: u32| name.starts_with(&format!("v{of}-")) && release < of;
        if newer(3) || newer(4) || newer(5) {
            continue;
        }
        if let Act::Requests(requests) = &mut act {
            // Each is new: the golden entries all have the same key.
            let ends = |command: &Command<'_>| {
                matches!(
                    command,
                    Command::EndDialog { .. } | Command::MoveSlot { .. }
                )
            };
            requests.retain(|request| !ends(&request.command));
            for (place, request) in (0..).zip(requests) {
                request.key = RequestKey(u128::from(index * 16 + place));
            }
        }
        if !matches!(act, Act::Attest { .. }) && name != "v1-resubscribe" {
            machine.apply(index, &Entry { at: AT, act }, &mut Vec::new());
        }
    }
    machine
}

#[test]
fn a_golden_snapshot_is_read_for_ever() {
    let first = fs::read(folder("tests/fixtures/snapshot/v1.bin")).expect("it is there");
    let restored =
        Machine::restore(&mut &first[..]).expect("a snapshot of the first release is read");
    let machine = golden_machine(1);
    assert_eq!(restored.counts().dialogs, machine.counts().dialogs);
    assert_eq!(restored.counts().endpoints, machine.counts().endpoints);
    let second = fs::read(folder("tests/fixtures/snapshot/v2.bin")).expect("it is there");
    let restored = Machine::restore(&mut &second[..]).expect("one of the second is read");
    assert_eq!(restored.counts(), machine.counts());

    let machine = golden_machine(3);
    assert!(machine.counts().parcels > 1, "parcels are in it");
    let path = folder("tests/fixtures/snapshot/v3.bin");
    let mut written = Vec::new();
    machine
        .snapshot()
        .write(&mut written)
        .expect("memory takes all");
    if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
        fs::write(&path, &written).expect("the fixture folder is writable");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let restored = Machine::restore(&mut &bytes[..]).expect("an old snapshot is read");
    assert_eq!(restored.counts(), machine.counts());
    assert!(machine.counts().dialogs > 0 && machine.counts().endpoints > 0);
    let audit = u64::from(slot().number()) * 4_096;
    assert_eq!(restored.attest(audit), machine.attest(audit));
    assert_eq!(written, bytes, "and written as it was");
}

/// Calls, what is remembered of ended ones, and subscriptions to each package.
#[test]
fn a_golden_snapshot_of_packages_is_read_for_ever() {
    let mut machine = golden_machine(3);
    for (place, (_, mut act)) in (0..).zip(golden_packages()) {
        let index = machine.applied() + 1;
        if let Act::Requests(requests) = &mut act {
            requests[0].key = RequestKey(1 << 90 | place);
        }
        machine.apply(index, &Entry { at: AT, act }, &mut Vec::new());
    }
    // The publications end, and the call that ended is kept in mind.
    let (index, at) = (machine.applied() + 1, AT.plus_s(20));
    let tag = machine.report(ALICE).expect("kept").publications;
    let (_, ended) = tag.last().expect("a publication of calls");
    let remove = Publish {
        presentity: ALICE,
        package: Package::Dialog,
        if_match: Some(ended.tag),
        content: None,
        expires_s: 0,
        tag_policy: TagPolicy::Renew,
        bearing: Default::default(),
    };
    let act = Act::Requests(vec![Request {
        key: RequestKey(1 << 91),
        ticket: Ticket(0),
        command: Command::Publish(remove),
    }]);
    machine.apply(index, &Entry { at, act }, &mut Vec::new());
    let mut written = Vec::new();
    machine
        .snapshot()
        .write(&mut written)
        .expect("memory takes all");
    let path = folder("tests/fixtures/snapshot/v3-packages.bin");
    if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
        fs::write(&path, &written).expect("the fixture folder is writable");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let restored = Machine::restore(&mut &bytes[..]).expect("an old snapshot is read");
    assert_eq!(restored.counts(), machine.counts());
    let audit = u64::from(slot().number()) * 4_096;
    assert_eq!(restored.attest(audit), machine.attest(audit));
    assert_eq!(written, bytes, "and written as it was");
    let kept = restored.report(ALICE).expect("kept");
    let of_calls = |(package, _): &&(Package, _)| *package == Package::Dialog;
    assert_eq!(
        kept.publications.iter().filter(of_calls).count(),
        1,
        "a memory is none"
    );
    let packages = [Package::Dialog, Package::MessageSummary, Package::Reg];
    for package in packages {
        let mut watchers = kept.watchers.iter();
        assert!(watchers.any(|(_, dialog)| dialog.package == package));
    }
}

/// The newest release: documents, and what their rules say to watchers.
#[test]
fn a_golden_snapshot_with_documents_is_read_for_ever() {
    let machine = golden_machine(4);
    let path = folder("tests/fixtures/snapshot/v4.bin");
    let mut written = Vec::new();
    machine
        .snapshot()
        .write(&mut written)
        .expect("memory takes all");
    assert_eq!(written[8], 4);
    if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
        fs::write(&path, &written).expect("the fixture folder is writable");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let restored = Machine::restore(&mut &bytes[..]).expect("an old snapshot is read");
    let documents = |machine: &Machine| machine.report(ALICE).and_then(|report| report.documents);
    assert!(documents(&machine).is_some());
    assert_eq!(documents(&restored), documents(&machine));
    assert_eq!(restored.counts(), machine.counts());
    let audit = u64::from(slot().number()) * 4_096;
    assert_eq!(restored.attest(audit), machine.attest(audit));
    assert_eq!(written, bytes, "and written as it was");
}

/// What saves traffic came into dialogs without another version of snapshots.
#[test]
fn a_golden_snapshot_with_savers_is_read_for_ever() {
    let machine = golden_machine(5);
    assert_eq!(
        machine.counts().dialogs,
        golden_machine(4).counts().dialogs + 1
    );
    let mut written = Vec::new();
    machine
        .snapshot()
        .write(&mut written)
        .expect("memory takes all");
    let path = folder("tests/fixtures/snapshot/v4-savers.bin");
    if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
        fs::write(&path, &written).expect("the fixture folder is writable");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let restored = Machine::restore(&mut &bytes[..]).expect("an old snapshot is read");
    let audit = u64::from(slot().number()) * 4_096;
    assert_eq!(restored.attest(audit), machine.attest(audit));
    assert_eq!(written, bytes, "and written as it was");
}

/// A machine in the middle of two moves: Alice's slot is frozen, and half of another one has arrived.
fn moving_machine() -> Machine {
    let mut machine = golden_machine(3);
    let step = |machine: &mut Machine, slot: Slot, step: Step<'_>| {
        let index = machine.applied() + 1;
        let command = Command::MoveSlot {
            slot,
            number: 7,
            step,
        };
        let request = Request {
            key: RequestKey(1 << 100),
            ticket: Ticket(0),
            command,
        };
        let act = Act::Requests(vec![request]);
        machine.apply(index, &Entry { at: AT, act }, &mut Vec::new());
    };
    step(&mut machine, slot(), Step::Freeze);
    let parcel = machine.export(slot(), 7).expect("it is frozen").pack();
    let (part, _) = parcel.split_at(parcel.len() / 2);
    let import = Step::Import {
        part: 0,
        parts: 2,
        sum: sum_of(&parcel),
        bytes: part,
    };
    let other = Slot::new(slot().number() + 1).expect("a slot");
    step(&mut machine, other, import);
    machine
}

#[test]
fn a_golden_snapshot_in_the_middle_of_a_move_is_read_for_ever() {
    let machine = moving_machine();
    let mut written = Vec::new();
    machine
        .snapshot()
        .write(&mut written)
        .expect("memory takes all");
    let path = folder("tests/fixtures/snapshot/v3-moving.bin");
    if !path.exists() && std::env::var_os("LAMPLIGHT_NEW_FIXTURES").is_some() {
        fs::write(&path, &written).expect("the fixture folder is writable");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let restored = Machine::restore(&mut &bytes[..]).expect("an old snapshot is read");
    assert_eq!(restored.counts(), machine.counts());
    let all = golden_machine(3).counts().dialogs;
    assert!(
        machine.counts().dialogs < all,
        "what is frozen is not counted"
    );
    let standings = |machine: &Machine| machine.standings().collect::<Vec<_>>();
    assert_eq!(standings(&restored), standings(&machine));
    for number in [slot().number(), slot().number() + 1] {
        let audit = u64::from(number) * 4_096;
        assert_eq!(restored.attest(audit), machine.attest(audit));
    }
    assert_eq!(written, bytes, "and written as it was");
}

#[test]
fn joined_requests_are_one_entry() {
    let requests: Vec<Request<'_>> = golden()
        .into_iter()
        .filter_map(|(_, act)| match act {
            Act::Requests(requests) => Some(requests),
            _ => None,
        })
        .flatten()
        .collect();
    let parts: Vec<BytesMut> = requests
        .iter()
        .map(|request| {
            let mut part = BytesMut::new();
            encode_request(request, &mut part);
            part
        })
        .collect();
    let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
    let mut joined = BytesMut::new();
    encode_batch(AT, requests.len() as u16, &slices, &mut joined);
    assert_eq!(joined, encoded(&Act::Requests(requests)));
}

/// House D19: a later release appends fields; this one skips them.
#[test]
fn unknown_fields_behind_the_known_ones_are_skipped() {
    for (name, act) in golden() {
        let Act::Requests(requests) = &act else {
            let mut longer = encoded(&act);
            longer.extend_from_slice(b"of a later release");
            assert_eq!(
                decode_entry(&longer),
                Ok(Entry {
                    at: AT,
                    act: act.clone()
                }),
                "{name}"
            );
            continue;
        };
        let longer: Vec<BytesMut> = requests
            .iter()
            .map(|request| {
                let mut bytes = BytesMut::new();
                encode_request(request, &mut bytes);
                bytes.extend_from_slice(b"of a later release");
                let length = (bytes.len() - 4) as u32;
                bytes[..4].copy_from_slice(&length.to_le_bytes());
                bytes
            })
            .collect();
        let slices: Vec<&[u8]> = longer.iter().map(|bytes| &bytes[..]).collect();
        let mut entry = BytesMut::new();
        encode_batch(AT, requests.len() as u16, &slices, &mut entry);
        assert_eq!(
            decode_entry(&entry),
            Ok(Entry {
                at: AT,
                act: act.clone()
            }),
            "{name}"
        );
    }
}

/// What the fuzz target `codec` does with its input.
fn digest(bytes: &[u8]) {
    if let Ok(entry) = decode_entry(bytes) {
        let mut again = BytesMut::new();
        encode_entry(entry.at, &entry.act, &mut again);
        assert_eq!(
            decode_entry(&again).as_ref(),
            Ok(&entry),
            "what was read is written alike"
        );
        if !matches!(entry.act, Act::Attest { .. }) {
            let (mut machine, mut effects) = (Machine::default(), Vec::new());
            machine.apply(1, &entry, &mut effects);
            assert!(
                machine
                    .next_deadline()
                    .is_none_or(|deadline| deadline >= machine.now())
            );
        }
    }
    if let Ok(machine) = Machine::restore(&mut &bytes[..]) {
        let mut again = Vec::new();
        machine
            .snapshot()
            .write(&mut again)
            .expect("memory takes all");
        // The ninth byte is the version: older snapshots are written as this release writes them.
        // One of the third may have less in it than the newest has room for.
        assert!(
            bytes[8] < 3 || bytes.starts_with(&again),
            "a snapshot is read as it was written"
        );
    }
}

#[test]
fn the_corpus_is_digested() {
    let mut files = 0;
    for name in [
        "fuzz/corpus/codec",
        "tests/fixtures/codec",
        "tests/fixtures/snapshot",
    ] {
        let folder = folder(name);
        for file in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = file.expect("the folder can be listed").path();
            digest(&fs::read(&path).expect("the file can be read"));
            files += 1;
        }
    }
    println!("{files} files");
}

#[test]
fn damaged_entries_are_refused_or_mean_something_else() {
    for (name, act) in golden() {
        let bytes = encoded(&act);
        for length in 0..bytes.len() {
            assert!(
                decode_entry(&bytes[..length]).is_err(),
                "{name} cut to {length} bytes"
            );
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                digest(&damaged);
            }
        }
    }
}

#[test]
fn a_refusal_says_where() {
    let mut bytes = encoded(&one(publish(true, None, TagPolicy::Renew)));
    for (name, at, value, expected) in [
        ("version", 0, 2, "byte 1: version 1 before here"),
        ("act", 9, 9, "byte 10: an act's number before here"),
        ("command", 16, 99, "a command's number"),
    ] {
        let before = std::mem::replace(&mut bytes[at], value);
        let error = decode_entry(&bytes).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        bytes[at] = before;
    }
}
