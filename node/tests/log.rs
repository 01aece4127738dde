//! The write-ahead log against openraft's own suite, torn writes, damage, and use of old files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use node::peer::call::Calls;
use node::peer::credentials::{Credentials, Secret};
use node::peer::link::{Class, Hello};
use node::peer::mesh::Mesh;
use node::pool::PoolGroup;
use node::raft::group::{GroupOptions, StartError, Tuning};
use node::raft::log::{Log, LogError, LogOptions};
use node::raft::network::Served;
use node::raft::threads::Threads;
use node::raft::types::{GroupId, Payload, TypeConfig};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt as _};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader as _, Vote};

const SMALL: LogOptions = LogOptions {
    segment_bytes: 1 << 20,
    cache_bytes: 1 << 20,
    on_failure: |why| panic!("the log failed: {why}"),
};

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn entry(index: u64, bytes: usize) -> Entry<TypeConfig> {
    let payload = Payload(Bytes::from(vec![index as u8 | 1; bytes]));
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(payload),
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(task)
}

/// Writes entries one by one, so that each is a batch; returns the segment and where each batch ends.
fn write_batches(dir: &Path, count: u64) -> (PathBuf, Vec<u64>) {
    let (log, _) = Log::open(dir, SMALL).expect("a log");
    let mut group = log.group(GroupId(1));
    let segment = dir.join(format!("{:016x}.log", 1));
    let mut ends = Vec::new();
    for index in 0..count {
        run(group.blocking_append([entry(index, 100)])).expect("appended");
        let bytes = fs::read(&segment).expect("readable");
        ends.push(bytes.iter().rposition(|byte| *byte != 0).expect("data") as u64 + 1);
    }
    (segment, ends)
}

fn indexes(log: &Log) -> Vec<u64> {
    run(log.group(GroupId(1)).try_get_log_entries(..))
        .expect("read")
        .iter()
        .map(|entry| entry.log_id.index)
        .collect()
}

/// A replica that begins anew has nothing, is no founder, and goes on where its leader says; the others of the
/// same log have what they had.
#[test]
fn what_was_forgotten_never_comes_back() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
        let (mut one, mut two) = (log.group(GroupId(1)), log.group(GroupId(2)));
        run(one.save_vote(&Vote::new(3, 1))).expect("saved");
        run(one.blocking_append((0..10).map(|index| entry(index, 50)))).expect("appended");
        run(two.blocking_append((0..5).map(|index| entry(index, 50)))).expect("appended");
        run(one.purge(log_id(2))).expect("purged");
        run(one.forget()).expect("forgotten");
        let state = run(one.get_log_state()).expect("read");
        assert_eq!((state.last_purged_log_id, state.last_log_id), (None, None));
    }
    {
        let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
        let (mut one, mut two) = (log.group(GroupId(1)), log.group(GroupId(2)));
        assert_eq!(indexes(&log), [0; 0]);
        let vote = run(one.read_vote())
            .expect("read")
            .expect("one that makes no founder");
        assert_eq!((vote.leader_id.term, vote.committed), (0, false));
        assert_eq!(run(two.try_get_log_entries(..)).expect("read").len(), 5);
        // As after a snapshot of the leader's.
        run(one.purge(log_id(499))).expect("purged");
        run(one.blocking_append((500..503).map(|index| entry(index, 50)))).expect("appended");
    }
    let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
    assert_eq!(indexes(&log), [500, 501, 502]);
}

/// What it had sent as a leader may not have been in its own log: it may not write another entry in that place.
#[test]
fn who_led_does_not_lead_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let accepted = Vote::new_committed(3, 1);
    {
        let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
        run(log.group(GroupId(1)).save_vote(&accepted)).expect("saved");
    }
    let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
    let vote = |node| run(log.group(GroupId(1)).begun_by(node).read_vote()).expect("read");
    // A follower keeps to its leader, who relies on it; the leader stands for election anew.
    assert_eq!(vote(2), Some(accepted));
    assert_eq!(vote(1), Some(Vote::new(3, 1)));
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (log, recovery) = Log::open(dir.path(), SMALL).expect("a log");
        assert_eq!((recovery.segments, recovery.records), (0, 0));
        let (mut one, mut two) = (log.group(GroupId(1)), log.group(GroupId(2)));
        run(one.save_vote(&Vote::new(3, 1))).expect("saved");
        run(one.blocking_append((0..10).map(|index| entry(index, 50)))).expect("appended");
        run(two.blocking_append((0..5).map(|index| entry(index, 50)))).expect("appended");
        run(one.truncate(log_id(8))).expect("truncated");
        run(one.blocking_append([entry(8, 7)])).expect("appended");
        run(one.purge(log_id(2))).expect("purged");
        log.flush();
    }
    let (log, recovery) = Log::open(dir.path(), SMALL).expect("a log");
    assert_eq!((recovery.segments, recovery.torn), (1, None));
    let (mut one, mut two) = (log.group(GroupId(1)), log.group(GroupId(2)));
    assert_eq!(run(one.read_vote()).expect("read"), Some(Vote::new(3, 1)));
    assert_eq!(indexes(&log), (3..=8).collect::<Vec<_>>());
    let state = run(one.get_log_state()).expect("read");
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(2)), Some(log_id(8)))
    );
    assert_eq!(
        run(one.try_get_log_entries(8..9)).expect("read"),
        [entry(8, 7)]
    );
    assert_eq!(
        run(two.try_get_log_entries(1..3)).expect("read"),
        [entry(1, 50), entry(2, 50)]
    );
}

#[test]
fn a_write_torn_anywhere_leaves_all_that_was_synced() {
    let dir = tempfile::tempdir().expect("a folder");
    let (segment, ends) = write_batches(dir.path(), 4);
    let whole = fs::read(&segment).expect("readable");
    for cut in ends[2]..ends[3] {
        let torn = tempfile::tempdir().expect("a folder");
        let mut bytes = whole.clone();
        bytes[cut as usize..].fill(0);
        fs::write(
            torn.path().join(segment.file_name().expect("a name")),
            &bytes,
        )
        .expect("written");
        let (log, recovery) = Log::open(torn.path(), SMALL).expect("a torn tail is no damage");
        assert_eq!(indexes(&log), [0, 1, 2], "cut at {cut}");
        assert_eq!(
            recovery.torn.is_some(),
            bytes[ends[2] as usize..].iter().any(|byte| *byte != 0),
            "cut at {cut}"
        );
        run(log.group(GroupId(1)).blocking_append([entry(3, 9)])).expect("the log goes on");
        drop(log);
        let (log, recovery) = Log::open(torn.path(), SMALL).expect("a log");
        assert_eq!(
            (indexes(&log), recovery.torn),
            (vec![0, 1, 2, 3], None),
            "cut at {cut}"
        );
    }
}

#[test]
fn damage_to_what_was_durable_is_named_and_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (segment, ends) = write_batches(dir.path(), 3);
    let whole = fs::read(&segment).expect("readable");
    for at in (0..ends[1]).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&segment, &bytes).expect("written");
        match Log::open(dir.path(), SMALL) {
            Err(LogError::Corrupt { path, at: said, .. }) => {
                assert_eq!(path, segment);
                assert!(said <= at, "byte {at}, said {said}");
            }
            other => panic!("byte {at}: {:?}", other.map(|(_, recovery)| recovery)),
        }
    }
}

#[test]
fn segments_are_used_again_and_their_past_is_never_read() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
        let mut group = log.group(GroupId(1));
        run(group.save_vote(&Vote::new(9, 1))).expect("saved");
        for index in 0..60 {
            run(group.blocking_append([entry(index, 100_000)])).expect("appended");
            if index % 10 == 9 {
                run(group.purge(log_id(index - 2))).expect("purged");
                log.flush();
            }
        }
        assert!(log.pinned_by(50).is_empty());
    }
    let segments = fs::read_dir(dir.path())
        .expect("a folder")
        .flatten()
        .count();
    assert!(
        segments <= 5,
        "{segments} files for 60 entries of 100 kB in segments of 1 MiB"
    );
    let (log, recovery) = Log::open(dir.path(), SMALL).expect("a log");
    assert_eq!((indexes(&log), recovery.torn), (vec![58, 59], None));
    assert_eq!(
        run(log.group(GroupId(1)).read_vote()).expect("read"),
        Some(Vote::new(9, 1)),
        "a vote outlives its segment"
    );
}

#[test]
fn a_missing_segment_is_a_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
        let mut group = log.group(GroupId(1));
        for index in 0..40 {
            run(group.blocking_append([entry(index, 100_000)])).expect("appended");
        }
        assert_eq!(log.pinned_by(2), [GroupId(1)]);
    }
    fs::remove_file(dir.path().join(format!("{:016x}.log", 2))).expect("removed");
    assert!(matches!(
        Log::open(dir.path(), SMALL),
        Err(LogError::Gap { .. })
    ));
}

#[test]
fn old_entries_are_read_back_from_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
    let mut group = log.group(GroupId(1));
    for index in 0..100 {
        run(group.blocking_append([entry(index, 30_000)])).expect("appended");
    }
    let all = run(group.try_get_log_entries(0..100)).expect("read");
    assert!(
        all.iter()
            .zip(0..)
            .all(|(read, index)| *read == entry(index, 30_000))
    );
    let reads = log
        .stats()
        .list()
        .find(|(name, ..)| *name == "reads_from_disk")
        .expect("counted")
        .2;
    assert!(reads > 0, "3 MB do not fit into a cache of 1 MiB");
}

#[test]
fn many_groups_share_a_sync() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, _) = Log::open(dir.path(), SMALL).expect("a log");
    std::thread::scope(|scope| {
        for number in 1..=16 {
            let mut group = log.group(GroupId(number));
            scope.spawn(move || {
                for index in 0..50 {
                    run(group.blocking_append([entry(index, 100)])).expect("appended");
                }
            });
        }
    });
    let count = |of: &str| {
        log.stats()
            .list()
            .find(|(name, ..)| *name == of)
            .expect("counted")
            .2
    };
    assert_eq!(count("records"), 800);
    assert!(count("batches") < 800, "{} batches", count("batches"));
}

#[test]
fn a_foreign_file_is_no_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = File::create(dir.path().join(format!("{:016x}.log", 1))).expect("made");
    file.write_all_at(
        b"something else entirely, longer than the head of a batch",
        0,
    )
    .expect("written");
    // It cannot be told from a first write that did not get through: it is cut, and said so.
    let (_, recovery) = Log::open(dir.path(), SMALL).expect("a log");
    assert!(recovery.torn.is_some());
}

/// openraft would take what is missing for nothing, and show it to clients.
#[test]
fn a_log_whose_snapshot_is_missing_begins_no_group() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, _) = Log::open(&dir.path().join("log"), SMALL).expect("a log");
    let mut entries = log.group(GroupId::POOL);
    run(entries.blocking_append((0..10).map(|index| entry(index, 50)))).expect("appended");
    run(entries.purge(log_id(4))).expect("purged");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let credentials = Secret::draw().and_then(|secret| Credentials::of(&secret, 1));
    let hello = Hello {
        class: Class::Raft,
        node: 1,
        life: 1,
        pool: "test".to_owned(),
        lineage: 1,
    };
    let mesh = Mesh::new(
        runtime.handle().clone(),
        hello,
        credentials.expect("of chance"),
    );
    let options = GroupOptions {
        group: GroupId::POOL,
        node: 1,
        life: 1,
        snapshots: dir.path().join("snapshots"),
        tuning: Tuning::default(),
        calls: Calls::over(mesh, runtime.handle().clone()),
        served: Served::default(),
        workforce: Arc::new(Threads),
    };
    let begun = runtime.block_on(PoolGroup::start(&options, &log));
    let Some(StartError::Snapshot { group, why }) = begun.err() else {
        panic!("it begins with a hole");
    };
    assert_eq!(group, GroupId::POOL);
    assert_eq!(
        why.kind(),
        std::io::ErrorKind::InvalidData,
        "as damage: {why}"
    );
    assert!(why.to_string().contains("after entry 4"), "{why}");
}
