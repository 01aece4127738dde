//! A pool whose nodes prove themselves with certificates of the operator's own authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use transport::sip::StatusCode;

use super::phone::{Phone, Publisher, document};
use super::pool::free_ports;
use super::server::{PATIENCE, Server};

/// An authority that a test makes.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Files with a certificate for a host: certificate, key, authority.
    fn issue(&self, folder: &Path, host: &str, last_year: i32) -> [PathBuf; 3] {
        fs::create_dir_all(folder).expect("made");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files =
            ["certificate", "key", "authority"].map(|name| folder.join(format!("{name}.pem")));
        fs::write(&files[0], certificate.pem()).expect("written");
        fs::write(&files[1], key.serialize_pem()).expect("written");
        fs::write(&files[2], &self.pem).expect("written");
        files
    }
}

/// Starts a node at this host with these files; the port of its peers, or what it said.
fn start(
    data: &Path,
    host: &str,
    files: &[PathBuf; 3],
    join: Option<&str>,
) -> Result<(Server, String), String> {
    let [sip, admin, peers] = free_ports();
    let peers = format!("{host}:{peers}");
    let admin = format!("127.0.0.1:{admin}");
    let files = files.each_ref().map(|file| file.to_str().expect("text"));
    let mut arguments = vec![
        "--admin",
        &admin,
        "--peers",
        &peers,
        "--shards",
        "1",
        "--peer-certificate",
        files[0],
        "--peer-key",
        files[1],
        "--peer-authority",
        files[2],
    ];
    arguments.extend(join.into_iter().flat_map(|seed| ["--join", seed]));
    let server = Server::try_start(
        data,
        &format!("udp:127.0.0.1:{sip}"),
        &format!("tcp:127.0.0.1:{sip}"),
        &arguments,
    )?;
    Ok((server, peers))
}

fn last_line(result: Result<(Server, String), String>) -> String {
    let said = result.err().expect("it does not start");
    said.lines().last().unwrap_or_default().to_owned()
}

fn nodes_linked(server: &Server) -> usize {
    let seen: serde_json::Value = serde_json::from_str(&server.get("/pool").1).expect("JSON");
    let nodes = seen["nodes"].as_array().expect("nodes").clone();
    nodes.iter().filter(|node| node["linked"] == true).count()
}

#[test]
fn nodes_prove_themselves_with_certificates_of_the_operators_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    let first_files = ours.issue(&at("c1"), "127.0.0.1", 2090);
    let (first, seed) = start(&at("n1"), "127.0.0.1", &first_files, None).expect("it founds");
    assert!(
        !at("n1").join("pool-secret").exists(),
        "nobody needs a secret"
    );
    let second_files = ours.issue(&at("c2"), "127.0.0.2", 2090);
    let (second, _) = start(&at("n2"), "127.0.0.2", &second_files, Some(&seed)).expect("it joins");

    // Both hold the shard, so a publication needs both.
    let until = Instant::now() + PATIENCE;
    while nodes_linked(&first) < 2 || nodes_linked(&second) < 2 {
        assert!(Instant::now() < until, "{}", first.get("/pool").1);
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut phone = Phone::udp(second.udp);
    let body = document("alice", "open", "proven");
    let answer = Publisher::new("alice").publish(&mut phone, Some(600), &body);
    assert_eq!(answer.status(), StatusCode::OK);

    // Each mistake is refused, where it can be mended, with what to do.
    let strange = theirs.issue(&at("c3"), "127.0.0.3", 2090);
    let said = last_line(start(&at("n3"), "127.0.0.3", &strange, Some(&seed)));
    assert!(said.contains("not of the same authority"), "{said}");
    let mut mixed = theirs.issue(&at("c4"), "127.0.0.3", 2090);
    mixed[2].clone_from(&first_files[2]);
    let said = last_line(start(&at("n3"), "127.0.0.3", &mixed, Some(&seed)));
    assert!(said.contains("must be of the authority in"), "{said}");
    let old = ours.issue(&at("c5"), "127.0.0.3", 2021);
    let said = last_line(start(&at("n3"), "127.0.0.3", &old, Some(&seed)));
    assert!(said.contains("valid now"), "{said}");
    let elsewhere = ours.issue(&at("c6"), "127.0.0.9", 2090);
    let said = last_line(start(&at("n3"), "127.0.0.3", &elsewhere, Some(&seed)));
    assert!(
        said.contains("subject alternative names") && said.contains("127.0.0.3"),
        "{said}"
    );
    let missing = [at("nowhere.pem"), at("nowhere.key"), first_files[2].clone()];
    let said = last_line(start(&at("n3"), "127.0.0.3", &missing, Some(&seed)));
    assert!(said.contains("nowhere.pem"), "{said}");

    // The authority is replaced: both are trusted first, then the certificates are of the new one.
    let both = format!("{}{}", ours.pem, theirs.pem);
    for (files, server) in [(&first_files, &first), (&second_files, &second)] {
        fs::write(&files[2], &both).expect("written");
        server.signal("HUP");
    }
    std::thread::sleep(Duration::from_millis(500));
    let renewed = theirs.issue(&at("c7"), "127.0.0.1", 2090);
    fs::copy(&renewed[0], &first_files[0]).expect("copied");
    fs::copy(&renewed[1], &first_files[1]).expect("copied");
    first.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    fs::write(&strange[2], &both).expect("written");
    let (third, _) = start(&at("n3"), "127.0.0.3", &strange, Some(&seed)).expect("it joins now");
    let until = Instant::now() + PATIENCE;
    while nodes_linked(&third) < 3 {
        assert!(Instant::now() < until, "{}", third.get("/pool").1);
        std::thread::sleep(Duration::from_millis(50));
    }
}
